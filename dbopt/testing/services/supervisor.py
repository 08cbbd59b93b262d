"""Run one server for as long as its owner lives. A program of its own: `python -I -S supervisor.py`.

The owner writes one line of JSON to standard input and keeps the pipe open. Its end means that the owner is done or
dead, however it died: the server is then stopped and its folder removed. A parent-death signal alone cannot do that:
it fires when the starting thread ends, and a change of user clears it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
OWNER_CHECK_SECONDS = 1.0


def main() -> int:
    """Start the server of the specification, print its pid, wait, stop it."""
    specification = json.loads(_line())
    wake = _wake_on_signals()
    try:
        server = _start(specification)
    except OSError as error:
        os.write(1, f"error {error}\n".encode())
        return 127
    Path(specification["record"]).write_text(json.dumps(_identity(server.pid)))
    os.write(1, f"started {server.pid}\n".encode())
    _wait(server, wake=wake, owner=specification["owner"])
    if server.poll() is None:
        _stop(server, specification["stop"])
        shutil.rmtree(specification["folder"], ignore_errors=True)
    code = server.poll()
    return 1 if code is None else code if code >= 0 else 128 - code


def process_started_at(pid: int) -> str | None:
    """Return a mark of the moment a process started, None when there is no such process: pids are used again."""
    try:
        # The name of the program, in parentheses, may hold spaces; field 22 is counted from the start of the line.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        if sys.platform == "linux":
            return None
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603,S607
    return found.stdout.strip() or None


def _identity(pid: int) -> dict[str, Any]:
    return {"pid": pid, "started_at": process_started_at(pid)}


def _line() -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        chunk = os.read(0, 65536)
        if not chunk:
            raise SystemExit(0)
        received += chunk
    return received


def _wake_on_signals() -> int:
    """Return a descriptor that becomes readable on any of the signals, so that one select waits for everything."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.close(0))
    return reader


def _start(specification: dict[str, Any]) -> subprocess.Popen[bytes]:
    account = specification["account"]
    become: dict[str, Any] = {"user": account[0], "group": account[1], "extra_groups": []} if account else {}
    log = os.open(specification["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return subprocess.Popen(  # noqa: S603
        specification["argv"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=specification["cwd"],
        env=specification["environment"],
        start_new_session=True,
        preexec_fn=_die_with_me(specification["stop"]),  # noqa: PLW1509 - this process has one thread
        **become,
    )


def _die_with_me(stop: int) -> Callable[[], None] | None:
    """Ask Linux to stop the server when this supervisor is killed; elsewhere the next start sweeps it."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, stop)


def _wait(server: subprocess.Popen[bytes], *, wake: int, owner: int) -> None:
    while server.poll() is None and os.getppid() == owner:
        try:
            readable = select.select([0, wake], [], [], OWNER_CHECK_SECONDS)[0]
            if wake in readable:
                os.read(wake, 512)
            if 0 in readable and not os.read(0, 512):
                return
        except OSError:  # standard input was closed by SIGTERM
            return


def _stop(server: subprocess.Popen[bytes], stop: int) -> None:
    for number, seconds in ((stop, 2.0), (int(signal.SIGKILL), 5.0)):
        server.send_signal(number)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    sys.exit(main())
