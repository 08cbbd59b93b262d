"""Loaders over Neo4j: one Cypher query a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dbopt.graphql.loading.loaders import DataLoader
from dbopt.neo4j import graphs


class CypherLoader(DataLoader[Any, Any]):
    """Load values with one read query a batch, over ``UNWIND $keys AS key``.

    The query returns ``key`` and ``value``; it also gets ``$tenant`` and what `parameters` adds.
    For so many rows a key, put the LIMIT into a subquery: ``CALL (key) { ... LIMIT $limit } RETURN key, value``.

    Attributes:
        query: constant Cypher.
        many: True gives a list of values a key, False the last value, None where there is none.
        alias: alias of ``DBOPT["NEO4J"]``.
        timeout: seconds.
    """

    query: str
    many: bool = False
    alias: str = "default"
    timeout: float = 5.0

    def parameters(self) -> Mapping[str, Any]:
        """Return more parameters of the query."""
        return {}

    def batch_load(self, keys: list[Any]) -> dict[Any, Any]:
        """Run the query."""
        rows = graphs[self.alias].read(
            self.query,
            {**self.parameters(), "keys": keys, "tenant": self.tenant},
            timeout=self.timeout,
            name=type(self).__name__,
        )
        if not self.many:
            return {row["key"]: row["value"] for row in rows}
        found: dict[Any, list[Any]] = {key: [] for key in keys}
        for row in rows:
            found[row["key"]].append(row["value"])
        return found
