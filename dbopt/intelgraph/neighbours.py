"""Neighbours of many entities in one question to Neo4j."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dbopt.neo4j import graphs

MAX_KEYS = 1000

# One subquery a key: the limit holds for each of them, not for all together.
_CYPHER = """
UNWIND $keys AS key
MATCH (e:Entity {id: key, tenantId: $tenant})
CALL (e) {
  MATCH (e)-[r:RELATED_TO {tenantId: $tenant}]-(n:Entity {tenantId: $tenant})
  RETURN r, n, startNode(r) = e AS is_outgoing
  ORDER BY r.confidence DESC, r.id
  LIMIT $limit
}
RETURN key, n.id AS id, n.type AS type, n.name AS name, r.id AS relationship_id, r.type AS relationship_type,
  r.confidence AS confidence, is_outgoing
ORDER BY confidence DESC, relationship_id
"""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entity at the other end of a relationship.

    Attributes:
        id: primary key of the entity.
        is_outgoing: whether the relationship begins at the entity that was asked about.
    """

    id: int
    type: str
    name: str
    relationship_id: int
    relationship_type: str
    confidence: float | None
    is_outgoing: bool


def neighbours(
    keys: Iterable[int], *, tenant: int, limit: int, alias: str = "default", timeout: float | None = None
) -> dict[int, list[Neighbour]]:
    """Return the neighbours of each entity, the surest relationship first, at most limit for each.

    One query for up to 1,000 entities. Entities of another tenant, and entities that the graph does not have, have no
    neighbours. Parallel relationships give a neighbour once for each of them.

    Args:
        keys: primary keys of entities; may repeat.
        tenant: primary key of the tenant; required, so that nobody asks over all of them.
        limit: at least 1.
        alias: of ``DBOPT["NEO4J"]``.
        timeout: seconds after which the server ends a query; None: QUERY_TIMEOUT.

    Raises:
        GraphError: Neo4j did not answer.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    found: dict[int, list[Neighbour]] = {key: [] for key in keys}
    graph = graphs[alias]
    for chunk in _chunks(found):
        params: dict[str, Any] = {"keys": chunk, "tenant": tenant, "limit": limit}
        for record in graph.read(_CYPHER, params, timeout=timeout, name="intelgraph.neighbours"):
            facts = dict(record)
            found[facts.pop("key")].append(Neighbour(**facts))
    return found


def _chunks(keys: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, MAX_KEYS)):
        yield chunk
