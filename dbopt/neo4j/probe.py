"""Ask a server for one answer, within a time that is never exceeded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from dbopt.exceptions import GraphError, GraphUnavailableError
from dbopt.neo4j.drivers import address_of
from dbopt.neo4j.queries import open_session

if TYPE_CHECKING:
    from dbopt.conf import Neo4jSettings

_QUERY = "RETURN 1"


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """Who answered.

    Attributes:
        agent: product and version, such as "Neo4j/5.26.31".
        protocol: version of Bolt, such as "5.8".
    """

    agent: str
    protocol: str
    seconds: float


class Probe:
    """One alias's probe: at most one question is open at a time, so that a hung server costs one thread."""

    def __init__(self) -> None:
        self._thread: Thread | None = None

    def ask(self, alias: str, settings: Neo4jSettings, *, timeout: float) -> ServerAnswer:
        """Return the server's answer, or raise within timeout seconds."""
        if self._thread is not None and self._thread.is_alive():
            raise _silent(alias, settings, "still has not answered the question before")
        answers: list[ServerAnswer | GraphError] = []
        # A thread, because the driver waits for an answer as long as the connection lives.
        self._thread = Thread(
            target=lambda: answers.append(_ask(alias, settings, timeout)), name=f"dbopt-probe-{alias}", daemon=True
        )
        self._thread.start()
        self._thread.join(timeout)
        if not answers:
            raise _silent(alias, settings, f"did not answer within {timeout:g} s")
        self._thread = None
        if isinstance(answers[0], GraphError):
            raise answers[0]
        return answers[0]


def _silent(alias: str, settings: Neo4jSettings, what: str) -> GraphUnavailableError:
    place = f"Neo4j {alias!r} (database {settings.database!r} at {address_of(settings.uri)})"
    return GraphUnavailableError(f"{place} {what}.", alias=alias)


def _ask(alias: str, settings: Neo4jSettings, timeout: float) -> ServerAnswer | GraphError:
    began = time.perf_counter()
    try:
        with (
            open_session(alias, settings, "read", connection_acquisition_timeout=timeout) as session,
            session.begin_transaction(timeout=timeout) as transaction,
        ):
            result = transaction.run(_QUERY)
            server = result.consume().server
    except GraphError as error:
        return error
    version = ".".join(map(str, server.protocol_version))
    return ServerAnswer(agent=server.agent, protocol=version, seconds=time.perf_counter() - began)
