"""Several servers, started side by side and stopped together."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.folders import sweep
from dbopt.testing.services.outside import ALLOW_WIPE, outside_server
from dbopt.testing.services.server import VARIABLES, Server, known
from dbopt.testing.services.startup import Options, Report, Startup


class Running:
    """Servers that were asked for. They end with `stop`, with the `with` block, and with this process."""

    def __init__(self, startups: Mapping[str, Startup]) -> None:
        self._startups = dict(startups)

    @property
    def names(self) -> tuple[str, ...]:
        """The servers that were asked for."""
        return tuple(self._startups)

    @property
    def servers(self) -> dict[str, Server]:
        """Name -> version, port, start_seconds; waits until all answer.

        Raises:
            ServerStartError: one of them cannot be had.
        """
        return {name: startup.server() for name, startup in self._startups.items()}

    def server(self, name: str) -> Server:
        """Return one server as soon as it answers.

        Raises:
            ServerStartError: it cannot be had; the message says why.
        """
        return self._startups[name].server()

    @property
    def urls(self) -> dict[str, str]:
        """Name -> URL, known before the servers answer."""
        found = self.environment
        return {name: found[VARIABLES[name]] for name in self._startups if VARIABLES[name] in found}

    def is_done(self, name: str) -> bool:
        """Whether `server(name)` returns or raises without waiting."""
        return self._startups[name].is_done

    def is_ours(self, name: str) -> bool:
        """Whether we run that server, so that what is in it may be wiped."""
        return self._startups[name].is_ours

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead programs and tests to the servers.

        Servers of our own may be wiped, which is said where there is none of somebody else beside them.
        """
        found: dict[str, str] = {}
        for startup in self._startups.values():
            found |= startup.environment()
        if self._startups and all(startup.is_ours for startup in self._startups.values()):
            found[ALLOW_WIPE] = "1"
        return found

    def begin(self) -> None:
        """Begin to start all servers, side by side. Whoever calls this is who stops them when it is interrupted."""
        for startup in self._startups.values():
            startup.begin()

    def stop(self) -> None:
        """Stop all servers of our own at once and remove their data. May be called twice, and while they start."""
        for startup in self._startups.values():
            startup.end()
        for startup in self._startups.values():
            startup.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def launch(
    names: Iterable[str],
    *,
    neo4j_password: str | None = None,
    report: Report | None = None,
    progress: Report | None = None,
) -> Running:
    """Begin to start servers and return at once: ports are fixed, `Running.server(name)` waits.

    Args:
        names: of postgres, redis, neo4j.
        neo4j_password: at least 8 characters; None starts Neo4j without any.
        report: gets a line for each server that answers, from other threads, one call at a time.
        progress: gets the lines about downloads; None sends them to report.

    Raises:
        ValueError: a name is unknown.
        ConfigurationError: the environment names a server for tests that is not empty.
        ServerStartError: the temporary folder cannot be used.
    """
    running = _prepared(names, neo4j_password=neo4j_password, report=report, progress=progress)
    try:
        running.begin()
    except BaseException:
        running.stop()
        raise
    return running


def _prepared(
    names: Iterable[str], *, neo4j_password: str | None, report: Report | None, progress: Report | None = None
) -> Running:
    """Return servers of which nothing runs yet: who is interrupted while they begin has what to stop."""
    chosen = known(names)
    outside = {name: _outside(name) for name in chosen}
    options = Options(
        neo4j_password=neo4j_password, report=_one_at_a_time(report), progress=_one_at_a_time(progress or report)
    )
    sweep()
    return Running({name: Startup(name, options, outside=outside[name]) for name in chosen})


def start(names: Iterable[str], *, neo4j_password: str | None = None, report: Report | None = None) -> Running:
    """Start servers side by side and wait until all answer. For the arguments see `launch`.

    Raises:
        ServerStartError: one of them cannot be had; the others are stopped again.
    """
    running = _prepared(names, neo4j_password=neo4j_password, report=report)
    try:
        running.begin()
        _await_all(running)
    except BaseException:
        running.stop()
        raise
    return running


def _outside(name: str) -> Server | ServerStartError | None:
    try:
        return outside_server(name)
    except ServerStartError as error:
        return error


def _await_all(running: Running) -> None:
    reasons = []
    for name in running.names:
        try:
            running.server(name)
        except ServerStartError as error:
            reasons.append(str(error))
    if reasons:
        raise ServerStartError("\n".join(reasons))


def _one_at_a_time(report: Report | None) -> Report:
    lock = threading.Lock()

    def forward(line: str) -> None:
        if report is not None:
            with lock:
                report(line)

    return forward
