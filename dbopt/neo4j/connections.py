"""The graphs of ``DBOPT["NEO4J"]``: ``graphs["alias"]``, and ``graph`` for the alias "default"."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from dbopt.conf import Neo4jSettings, dbopt_settings
from dbopt.exceptions import ConfigurationError
from dbopt.neo4j.drivers import registry
from dbopt.neo4j.leases import PoolStats
from dbopt.neo4j.plans import Explanation, explain_query, profile_query
from dbopt.neo4j.probe import Probe, ServerAnswer
from dbopt.neo4j.queries import Parameters, Query, WriteSummary, counters_of, execute, open_session

if TYPE_CHECKING:
    import neo4j

DEFAULT_ALIAS = "default"


class Graph:
    """One alias of ``DBOPT["NEO4J"]``.

    Connects at the first query. May be shared by threads, and used on both sides of a fork: each process has its
    own driver. Aliases that differ only in their database share one.
    """

    def __init__(self, alias: str, *, is_maintenance: bool = False) -> None:
        self.alias = alias
        self._is_maintenance = is_maintenance
        self._probe = Probe()

    def __repr__(self) -> str:
        return f"<Graph {self.alias!r}>"

    @property
    def settings(self) -> Neo4jSettings:
        """The alias's settings, read anew each time.

        Raises:
            ConfigurationError: ``DBOPT["NEO4J"]`` does not have the alias.
        """
        try:
            return dbopt_settings.neo4j[self.alias]
        except KeyError:
            known = ", ".join(map(repr, dbopt_settings.neo4j)) or "none"
            raise ConfigurationError(f'DBOPT["NEO4J"] has no alias {self.alias!r}. Known aliases: {known}.') from None

    def read(
        self, cypher: str, params: Parameters | None = None, *, timeout: float | None = None, name: str | None = None
    ) -> list[neo4j.Record]:
        """Run a reading query and return all its rows.

        The server refuses to write in it. Passing failures are retried for RETRY_TIME seconds.

        Args:
            cypher: a constant text; values belong into params.
            params: never logged.
            timeout: seconds after which the server ends the query; None: QUERY_TIMEOUT.
            name: what logs, errors and metrics call it; a constant, never a value.

        Raises:
            GraphError: one of its classes says what happened.
        """
        return execute(self.alias, self.settings, self._query("read", cypher, params, timeout, name)).records

    def write(
        self, cypher: str, params: Parameters | None = None, *, timeout: float | None = None, name: str | None = None
    ) -> WriteSummary:
        """Run a query in a transaction that may write, and return what it changed.

        Retried like a read, so the query may reach the server more than once; only one run is committed, except after
        GraphCommitUnknownError, where the outcome must be looked up.

        Raises:
            GraphError: one of its classes says what happened.
        """
        began = time.perf_counter()
        settings = self.settings
        outcome = execute(self.alias, settings, self._query("write", cypher, params, timeout, name))
        return WriteSummary(
            counters=counters_of(outcome.summary),
            records=outcome.records,
            database=settings.database,
            seconds=time.perf_counter() - began,
        )

    def explain(self, cypher: str, params: Parameters | None = None, *, timeout: float | None = None) -> Explanation:
        """Return the plan of a query with what is suspicious in it; the query is not run, so writes are safe."""
        return explain_query(self.alias, self.settings, self._query("read", cypher, params, timeout, "explain"))

    def profile(self, cypher: str, params: Parameters | None = None, *, timeout: float | None = None) -> Explanation:
        """Run a reading query, and return its plan with real rows and database hits.

        Raises:
            GraphQueryError: the query writes.
        """
        return profile_query(self.alias, self.settings, self._query("read", cypher, params, timeout, "profile"))

    def session(self, access: str = "r") -> AbstractContextManager[neo4j.Session]:
        """Lend the driver's own session, for what the other methods do not cover; use it in ``with``.

        Not retried, not measured. It belongs to one thread, and its results end with the block.

        Args:
            access: "r" or "w".
        """
        if access not in ("r", "w"):
            raise ValueError(f'access is {access!r}; it must be "r" or "w".')
        return open_session(self.alias, self.settings, "read" if access == "r" else "write")

    def verify(self, timeout: float = 2.0) -> ServerAnswer:
        """Ask the alias's database for ``RETURN 1``, once, and return who answered.

        Args:
            timeout: seconds; the call never takes longer, even where the server accepts but does not answer.

        Raises:
            GraphError: it did not answer.
        """
        return self._probe.ask(self.alias, self.settings, timeout=timeout)

    def pool_stats(self) -> PoolStats:
        """Return what this process has lent out of the pool; opens nothing."""
        settings = self.settings
        pooled = registry.existing(settings)
        if pooled is None:
            return PoolStats(alias=self.alias, size=settings.max_connection_pool_size)
        return pooled.leases.stats(self.alias, pooled.driver)

    def for_maintenance(self) -> Graph:
        """Return the same graph for work that no log, listener or notification should hear of: schema, long copies."""
        return Graph(self.alias, is_maintenance=True)

    def close(self) -> None:
        """Close this process's driver for the alias, also for aliases that share it; the next use makes a new one."""
        registry.close(self.settings)

    def _query(
        self, access: str, cypher: str, params: Parameters | None, timeout: float | None, name: str | None
    ) -> Query:
        settings = self.settings
        seconds = settings.query_timeout if timeout is None else timeout
        if not seconds > 0:
            # Zero would mean "no limit" to the server.
            raise ValueError(f"timeout is {seconds!r}; it must be more than 0 seconds.")
        return Query(
            cypher,
            params or {},
            access,
            timeout=seconds,
            retry_time=settings.retry_time,
            name=name,
            notifications="OFF" if self._is_maintenance else None,
            measured=not self._is_maintenance,
        )


class Graphs:
    """All aliases of ``DBOPT["NEO4J"]``, by name, as ``django.db.connections`` does it for databases."""

    def __init__(self) -> None:
        self._graphs: dict[str, Graph] = {}

    def __getitem__(self, alias: str) -> Graph:
        """Return the graph of an alias.

        Raises:
            ConfigurationError: ``DBOPT["NEO4J"]`` does not have the alias.
        """
        found = self.of(alias)
        _ = found.settings
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dbopt_settings.neo4j)

    def __len__(self) -> int:
        return len(dbopt_settings.neo4j)

    def __contains__(self, alias: object) -> bool:
        return alias in dbopt_settings.neo4j

    def of(self, alias: str) -> Graph:
        """Return the graph of an alias without looking whether the settings have it."""
        return self._graphs.get(alias) or self._graphs.setdefault(alias, Graph(alias))

    def close(self) -> None:
        """Close every driver of this process."""
        registry.close()


graphs = Graphs()
graph = graphs.of(DEFAULT_ALIAS)
