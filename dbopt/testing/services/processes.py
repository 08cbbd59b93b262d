"""Server processes, each below a supervisor, and the reserved ports they listen on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbopt.exceptions import ServerStartError
from dbopt.testing.services import supervisor

if TYPE_CHECKING:
    from dbopt.testing.services.folders import Account, Folder

PORT_TAKEN = ("could not create any tcp/ip sockets", "address already in use", "address in use")
LOG_TAIL = 1500
POLL_SECONDS = 0.01

# How often a server is started anew because somebody else took its port.
PORT_ATTEMPTS = 4


class PortTakenError(ServerStartError):
    """Somebody else took the port between its choice and the start of the server."""


@dataclass(frozen=True)
class Program:
    """What to run: `stop` is the signal that ends it best."""

    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop: signal.Signals = signal.SIGTERM
    account: Account | None = None


class Process:
    """A program that ends with its owner: when stopped, and when the owner dies in any way."""

    def __init__(self, program: Program, folder: Folder) -> None:
        self.folder = folder
        self._supervisor = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", supervisor.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            pass_fds=(folder.lock,),
        )
        self._supervisor.stdin.write(_specification(program, folder))  # type: ignore[union-attr]
        self._supervisor.stdin.flush()  # type: ignore[union-attr]
        word, _, rest = self._supervisor.stdout.readline().decode().strip().partition(" ")  # type: ignore[union-attr]
        if word != "started":
            self.end()
            self.wait()
            raise ServerStartError(f"{Path(program.argv[0]).name} could not be started: {rest or 'no reason given'}")
        self.pid = int(rest)

    @property
    def supervisor_pid(self) -> int:
        """Pid of the small process that watches over the server."""
        return self._supervisor.pid

    def returncode(self) -> int | None:
        """Return the exit status, None while the program runs."""
        return self._supervisor.poll()

    def output(self) -> str:
        """Return all that the program printed."""
        with suppress(OSError):
            return self.folder.log.read_text(errors="replace")
        return ""

    def end(self) -> None:
        """Begin to stop; return at once."""
        with suppress(OSError):
            self._supervisor.stdin.close()  # type: ignore[union-attr]

    def wait(self) -> None:
        """Wait until the program is gone, and remove its folder."""
        self._supervisor.wait()
        self._supervisor.stdout.close()  # type: ignore[union-attr]
        self.folder.remove()


def _specification(program: Program, folder: Folder) -> bytes:
    account = program.account
    content = {
        "argv": [str(part) for part in program.argv],
        "environment": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **program.environment},
        "stop": int(program.stop),
        "account": [account.uid, account.gid] if account else None,
        "cwd": str(folder.data),
        "folder": str(folder.path),
        "log": str(folder.log),
        "record": str(folder.record),
        "owner": os.getpid(),
    }
    return json.dumps(content).encode() + b"\n"


class Lifetime:
    """The processes of one start-up, which may be ended from another thread at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False
        self._processes: list[Process] = []

    @property
    def ended(self) -> bool:
        """Whether the end was asked for."""
        return self._ended

    def run(self, program: Program, folder: Folder) -> Process:
        """Start a program, unless the end has come.

        Raises:
            ServerStartError: the lifetime was ended, or the program cannot be started.
        """
        with self._lock:
            if self._ended:
                raise ServerStartError("The start was called off.")
            process = Process(program, folder)
            self._processes.append(process)
        return process

    def end(self) -> None:
        """Begin to stop all processes; later starts are refused."""
        with self._lock:
            self._ended = True
            for process in self._processes:
                process.end()

    def wait(self) -> None:
        """Wait until all processes are gone. Call `end` first."""
        with self._lock:
            gone, self._processes = self._processes, []
        for process in gone:
            process.wait()

    def discard(self, folder: Folder) -> None:
        """Stop the process that lives in a folder, if it has come to that, and remove the folder."""
        with self._lock:
            lost = [process for process in self._processes if process.folder == folder]
            self._processes = [process for process in self._processes if process.folder != folder]
        for process in lost:
            process.end()
            process.wait()
        if not lost:
            folder.remove()


def await_ready(process: Process, is_ready: Callable[[], bool], *, label: str, seconds: float) -> None:
    """Wait until a server answers.

    Raises:
        PortTakenError: it ended because its port was taken.
        ServerStartError: it ended, or did not answer in time; the message ends with what it printed last.
    """
    deadline = time.monotonic() + seconds
    while not is_ready():
        code = process.returncode()
        if code is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            continue
        printed = process.output()
        if any(phrase in printed.lower() for phrase in PORT_TAKEN):
            raise PortTakenError(f"{label} found its port taken.")
        fault = f"did not answer within {seconds:g} s" if code is None else f"ended with status {code} while starting"
        raise ServerStartError(f"{label} {fault}. Its last words:\n{printed[-LOG_TAIL:].strip()}")


class Port:
    """A free port of 127.0.0.1, kept from others until the server listens on it.

    Linux lets a server listen on a port that a socket holds without listening, when both ask for SO_REUSEADDR, and
    gives that port to nobody who asks for any. Elsewhere the port is let go just before the server starts.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def about_to_listen(self) -> int:
        """Return the number, for a server that starts now."""
        if sys.platform != "linux":
            self.release()
        return self.number

    def release(self) -> None:
        """Let go of the port."""
        self._socket.close()
