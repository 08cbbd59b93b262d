"""The Cypher of a projection: rows are compared with the graph, and what differs is written, in one statement.

A row is a list: the key, the two ends of a relationship, then the properties in the order of the projection.
"""

from __future__ import annotations

from dbopt.neo4j.projections.declare import NodeProjection, Projection, RelationshipProjection
from dbopt.neo4j.schema.identifiers import quote

_FIRST_OF_NODE = 1
_FIRST_OF_RELATIONSHIP = 3


def syncing(projection: Projection) -> str:
    """Return the statement that brings ``$rows`` into the graph; it yields how many rows are in which state.

    States: "new", "changed", "moved" (a relationship with other ends), "same", "unconnected" (an end is missing, or
    belongs to another tenant; not written).
    """
    if isinstance(projection, RelationshipProjection):
        return _relationships(projection)
    return _nodes(projection)


def _nodes(projection: NodeProjection) -> str:
    return (
        "UNWIND $rows AS row "
        f"OPTIONAL MATCH {_node('n', projection)} "
        f"WITH row, CASE WHEN n IS NULL THEN 'new' WHEN {_differs('n', projection)} THEN 'changed' "
        "ELSE 'same' END AS state "
        "CALL (row, state) { WITH row, state WHERE state <> 'same' "
        f"MERGE {_node('m', projection)} {_assigning('m', projection)} }} "
        "RETURN state, count(*) AS row_count"
    )


def _relationships(projection: RelationshipProjection) -> str:
    kind, key = quote(projection.target), quote(projection.key)
    return (
        "UNWIND $rows AS row "
        # While statistics are young, the planner would rather read the whole index for each row.
        f"OPTIONAL MATCH (x)-[r:{kind} {{{key}: row[0]}}]->(y) USING INDEX SEEK r:{kind}({key}) "
        f"OPTIONAL MATCH {_end('a', projection, projection.start, 'row[1]')} "
        f"OPTIONAL MATCH {_end('b', projection, projection.end, 'row[2]')} "
        "WITH row, a, b, r, CASE WHEN a IS NULL OR b IS NULL THEN 'unconnected' WHEN r IS NULL THEN 'new' "
        f"WHEN x <> a OR y <> b THEN 'moved' WHEN {_differs('r', projection)} THEN 'changed' ELSE 'same' END AS state "
        # A relationship cannot be given other ends: it goes, and comes back under the same key.
        "CALL (r, state) { WITH r, state WHERE state = 'moved' DELETE r } "
        "CALL (row, a, b, state) { WITH row, a, b, state WHERE state IN ['new', 'changed', 'moved'] "
        f"MERGE (a)-[m:{kind} {{{key}: row[0]}}]->(b) {_assigning('m', projection)} }} "
        "RETURN state, count(*) AS row_count"
    )


def _node(variable: str, projection: NodeProjection) -> str:
    return f"({variable}:{quote(projection.target)} {{{quote(projection.key)}: row[0]}})"


def _end(variable: str, relationship: RelationshipProjection, node: NodeProjection, value: str) -> str:
    """Match an end by its key, and by the tenant of the relationship: no edge ever crosses tenants."""
    pairs = [f"{quote(node.key)}: {value}"]
    if relationship.tenant:
        # The tenant is the last property of a row.
        position = _FIRST_OF_RELATIONSHIP + len(relationship.property_names) - 1
        pairs.append(f"{quote(node.tenant_property)}: row[{position}]")
    return f"({variable}:{quote(node.target)} {{{', '.join(pairs)}}})"


def _columns(projection: Projection) -> list[tuple[str, str]]:
    first = _FIRST_OF_RELATIONSHIP if isinstance(projection, RelationshipProjection) else _FIRST_OF_NODE
    return [(quote(name), f"row[{position}]") for position, name in enumerate(projection.property_names, start=first)]


def _differs(variable: str, projection: Projection) -> str:
    # A comparison with an absent value is neither true nor false: then it counts which of the two is absent.
    return (
        " OR ".join(
            f"coalesce({variable}.{name} <> {value}, ({variable}.{name} IS NULL) <> ({value} IS NULL))"
            for name, value in _columns(projection)
        )
        or "false"
    )


def _assigning(variable: str, projection: Projection) -> str:
    pairs = ", ".join(f"{variable}.{name} = {value}" for name, value in _columns(projection))
    return f"SET {pairs}" if pairs else ""
