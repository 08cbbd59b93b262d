"""Neo4j Community: its official jars on a Java of our own, a process like any other server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.java import java_for
from dbopt.testing.services.processes import Lifetime, Port, Process, Program, await_ready
from dbopt.testing.services.versions import neo4j_main_class

if TYPE_CHECKING:
    from dbopt.testing.services.folders import Folder

USER = "neo4j"
START_SECONDS = 120.0
PASSWORD_LENGTH = 8
# Neo4j's own start script passes these; without them Netty and the page cache fall back or refuse.
OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
JAVA_OPTIONS = (
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
    "--enable-native-access=ALL-UNNAMED",
    "-Dlog4j2.disable.jmx=true",
    "-Djol.skipHotspotSAAttach=true",
    "-Dfile.encoding=UTF-8",
    # The server lives for minutes: without the optimising compiler it starts in 7 s instead of 11 s, for 60 % of the work.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xms128m",
    "-Xmx512m",
)
SETTINGS = {
    "server.http.enabled": "false",
    "server.https.enabled": "false",
    "server.memory.pagecache.size": "64m",
    "dbms.usage_report.enabled": "false",
    "db.transaction.timeout": "30s",
    # Without it stopping takes 10 s.
    "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
}


def start(  # noqa: PLR0913 - keyword-only facts of one server
    folder: Folder, port: Port, *, version: str, jars: Path, password: str | None, lifetime: Lifetime
) -> Process:
    """Start Neo4j, with a password for the user `neo4j` or without any, and wait until it answers."""
    java = java_for(version)
    home = folder.data
    (home / "conf").mkdir()
    (home / "conf" / "neo4j.conf").write_text(_settings(home, version=version, port=port.number, password=password))
    classpath = os.pathsep.join(str(jar) for jar in sorted(jars.glob("*.jar")))
    if password is not None:
        _set_password(java, classpath, folder=folder, password=password)
    arguments = [*JAVA_OPTIONS, "-cp", classpath, neo4j_main_class(version)]
    arguments += [f"--home-dir={home}", f"--config-dir={home / 'conf'}", "--console-mode"]
    port.about_to_listen()
    program = Program(
        argv=[java, _argument_file(folder.path / "server.args", arguments)],
        environment={"HOME": str(home)},
        stop=signal.SIGTERM,
    )
    process = lifetime.run(program, folder)
    await_ready(process, lambda: "Started." in process.output(), label=f"Neo4j {version}", seconds=START_SECONDS)
    return process


def url(port: int) -> str:
    """Return the Bolt address."""
    return f"bolt://127.0.0.1:{port}"


def _settings(home: Path, *, version: str, port: int, password: str | None) -> str:
    folders = {name: home / name for name in ("data", "logs", "run", "plugins", "import")}
    lines = [f"server.directories.{name}={path}" for name, path in folders.items()]
    lines += [f"{name}={value}" for name, value in SETTINGS.items()]
    lines += [
        f"server.directories.transaction.logs.root={home / 'transactions'}",
        f"server.bolt.listen_address=127.0.0.1:{port}",
        f"server.bolt.advertised_address=127.0.0.1:{port}",
        f"dbms.security.auth_enabled={'false' if password is None else 'true'}",
    ]
    if not version.startswith("5."):
        # What the configuration file of a new installation says; without it the server would speak Cypher 5.
        lines.append("db.query.default_language=CYPHER_25")
    return "\n".join(lines) + "\n"


def _set_password(java: Path, classpath: str, *, folder: Folder, password: str) -> None:
    """Set the first password, which is possible only before the first start."""
    if len(password) < PASSWORD_LENGTH:
        raise ServerStartError(f"Neo4j wants passwords of at least {PASSWORD_LENGTH} characters.")
    arguments = ["-cp", classpath, "org.neo4j.cli.AdminTool", "dbms", "set-initial-password", password]
    file = folder.path / "password.args"
    home = folder.data
    try:
        done = subprocess.run(  # noqa: S603
            [java, _argument_file(file, arguments)],
            env={"PATH": os.defpath, "HOME": str(home), "NEO4J_HOME": str(home), "NEO4J_CONF": str(home / "conf")},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
    finally:
        file.unlink(missing_ok=True)
    if done.returncode:
        raise ServerStartError(
            f"Neo4j's AdminTool ended with status {done.returncode} and did not set the password: "
            + (done.stderr or done.stdout).replace(password, "***").strip()[-500:]
        )


def _argument_file(path: Path, arguments: Sequence[str]) -> str:
    """Write arguments where only we can read them: a command line is open to every user of the machine."""
    quoted = ('"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"' for argument in arguments)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(quoted) + "\n")
    return f"@{path}"
