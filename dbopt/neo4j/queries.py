"""Run Cypher: rows are read inside the transaction, failures are retried for a bounded time, slow queries are told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from dbopt.exceptions import GraphPoolTimeoutError, GraphQueryError
from dbopt.neo4j.cypher import read_statement
from dbopt.neo4j.drivers import PooledDriver, address_of, registry
from dbopt.neo4j.errors import Place, driver_errors, is_driver_closed, translate
from dbopt.neo4j.retry import retrying
from dbopt.signals import announce, cypher_executed

if TYPE_CHECKING:
    import neo4j

    from dbopt.conf import Neo4jSettings

T = TypeVar("T")
Parameters = Mapping[str, Any]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Query:
    """A Cypher text with all that decides how it runs.

    Attributes:
        access: "read" or "write"; the server refuses writes in a read.
        timeout: seconds after which the server ends it.
        name: what logs, errors and metrics call it; None: its fingerprint.
        notifications: the lowest severity that the server reports; None: as the driver is set.
        measured: whether logs and listeners hear of it.
    """

    cypher: str
    params: Parameters
    access: str
    timeout: float
    retry_time: float
    name: str | None = None
    notifications: str | None = None
    measured: bool = True

    @property
    def label(self) -> str:
        """What a person finds this query by."""
        return repr(self.name) if self.name else read_statement(self.cypher).fingerprint


@dataclass(frozen=True, slots=True)
class Outcome:
    """All rows of a query, and what the driver tells about its run."""

    records: list[neo4j.Record]
    summary: neo4j.ResultSummary


@dataclass(frozen=True, slots=True)
class Counters:
    """What a write changed."""

    nodes_created: int = 0
    nodes_deleted: int = 0
    relationships_created: int = 0
    relationships_deleted: int = 0
    properties_set: int = 0
    labels_added: int = 0
    labels_removed: int = 0
    indexes_added: int = 0
    indexes_removed: int = 0
    constraints_added: int = 0
    constraints_removed: int = 0

    @property
    def contains_updates(self) -> bool:
        """Whether anything changed."""
        return any(getattr(self, item.name) for item in fields(self))


@dataclass(frozen=True, slots=True)
class WriteSummary:
    """What a write did.

    Attributes:
        records: the rows that it returned.
        seconds: from the call to the answer, retries and waiting for a connection included.
    """

    counters: Counters
    records: list[neo4j.Record]
    database: str
    seconds: float


def counters_of(summary: neo4j.ResultSummary) -> Counters:
    """Copy the driver's counters."""
    return Counters(**{item.name: getattr(summary.counters, item.name) for item in fields(Counters)})


def place_of(alias: str, settings: Neo4jSettings, query: str) -> Place:
    """Name the place where a query runs, for messages."""
    return Place(alias=alias, database=settings.database, address=address_of(settings.uri), query=query)


def execute(alias: str, settings: Neo4jSettings, query: Query) -> Outcome:
    """Run a query in a transaction of its own, and tell listeners about it.

    Raises:
        GraphError: one of its classes says what happened.
    """
    began = time.perf_counter()
    outcome = None
    try:
        outcome = retrying(lambda: _attempt(settings, query), seconds=query.retry_time)
    except driver_errors() as error:
        translated = translate(error, place_of(alias, settings, query.label))
        if isinstance(translated, GraphPoolTimeoutError):
            registry.get(settings).leases.count_timeout()
        raise translated from error
    except _WrongParameterError as error:
        raise GraphQueryError(
            f"Query {query.label} for Neo4j {alias!r} has a parameter that the driver cannot send: "
            "use numbers, strings, booleans, dates, lists and maps of these.",
            alias=alias,
        ) from error.__cause__
    finally:
        rows = 0 if outcome is None else len(outcome.records)
        if query.measured:
            _tell(alias, settings, query, seconds=time.perf_counter() - began, rows=rows, failed=outcome is None)
    return outcome


@contextmanager
def open_session(alias: str, settings: Neo4jSettings, access: str, **config: Any) -> Iterator[neo4j.Session]:
    """Lend a session of the driver; its errors leave the block as those of dbopt."""
    pooled = registry.get(settings)
    try:
        with pooled.leases.lease(), pooled.driver.session(**session_config(pooled, settings, access), **config) as it:
            yield it
    except driver_errors() as error:
        translated = translate(error, place_of(alias, settings, "in a session"))
        if isinstance(translated, GraphPoolTimeoutError):
            pooled.leases.count_timeout()
        raise translated from error


def session_config(pooled: PooledDriver, settings: Neo4jSettings, access: str) -> dict[str, Any]:
    """Return what every session gets: an explicit database, an access mode, and bookmarks where there are members."""
    config: dict[str, Any] = {
        # Explicit, or each session would first ask the server which database is the user's own.
        "database": settings.database,
        "default_access_mode": "READ" if access == "read" else "WRITE",
        "fetch_size": settings.fetch_size,
    }
    if settings.uri.startswith("neo4j"):
        # Members of a cluster lag behind each other; a single server does not, and a bookmark from before it
        # was restored would make it wait in vain.
        config["bookmark_manager"] = pooled.driver.execute_query_bookmark_manager
    return config


class _WrongParameterError(Exception):
    pass


def _attempt(settings: Neo4jSettings, query: Query) -> Outcome:
    pooled = registry.get(settings)
    try:
        return _run(pooled, settings, query)
    except driver_errors() as error:
        # Another thread closed the driver between our getting it and our using it.
        if not is_driver_closed(error):
            raise
    registry.forget(pooled)
    return _run(registry.get(settings), settings, query)


def _run(pooled: PooledDriver, settings: Neo4jSettings, query: Query) -> Outcome:
    config = session_config(pooled, settings, query.access)
    if query.notifications is not None:
        config["notifications_min_severity"] = query.notifications
    with pooled.driver.session(**config) as session:
        with pooled.leases.waiting():
            transaction = session.begin_transaction(metadata={"dbopt": query.label}, timeout=query.timeout)
        with pooled.leases.lease(), transaction:
            result = _sending(lambda: transaction.run(query.cypher, dict(query.params)))
            # Read to the end in here: a row left in the stream would pin the connection.
            records = list(result)
            summary = result.consume()
            transaction.commit()
    return Outcome(records, summary)


def _sending(send: Callable[[], T]) -> T:
    try:
        return send()
    except (TypeError, ValueError, OverflowError) as error:
        raise _WrongParameterError from error


def _tell(  # noqa: PLR0913 (by keyword)
    alias: str, settings: Neo4jSettings, query: Query, *, seconds: float, rows: int, failed: bool
) -> None:
    slow = seconds * 1000 >= settings.slow_query_ms
    statement = read_statement(query.cypher)
    if slow:
        logger.warning(
            "Slow Cypher on %s/%s: %.0f ms, %d rows, %s, %s, fingerprint %s: %s",
            alias,
            settings.database,
            seconds * 1000,
            rows,
            query.access + (", failed" if failed else ""),
            query.name or "unnamed",
            statement.fingerprint,
            statement.text[:500],
        )
    announce(
        cypher_executed,
        sender=Query,
        alias=alias,
        database=settings.database,
        access=query.access,
        name=query.name,
        fingerprint=statement.fingerprint,
        seconds=seconds,
        rows=rows,
        slow=slow,
        failed=failed,
    )
