"""Read a server's indexes and constraints, whichever version of Cypher it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dbopt.neo4j.schema.rules import Live, LiveRule

# Left: Cypher 5. The names with PROPERTY in them: Cypher 25.
_CONSTRAINT_KINDS = {
    "UNIQUENESS": "unique",
    "NODE_PROPERTY_UNIQUENESS": "unique",
    "RELATIONSHIP_UNIQUENESS": "unique",
    "RELATIONSHIP_PROPERTY_UNIQUENESS": "unique",
    "NODE_KEY": "key",
    "RELATIONSHIP_KEY": "key",
    "NODE_PROPERTY_EXISTENCE": "exists",
    "RELATIONSHIP_PROPERTY_EXISTENCE": "exists",
    "NODE_PROPERTY_TYPE": "typed",
    "RELATIONSHIP_PROPERTY_TYPE": "typed",
}
_INDEX_KINDS = {"RANGE": "range", "TEXT": "text", "POINT": "point", "FULLTEXT": "fulltext", "VECTOR": "vector"}

_INDEXES = (
    "SHOW INDEXES YIELD name, state, populationPercent, type, entityType, labelsOrTypes, properties, "
    "owningConstraint, options"
)
_CONSTRAINTS = "SHOW CONSTRAINTS YIELD name, type, entityType, labelsOrTypes, properties, propertyType"
_COMPONENTS = "CALL dbms.components() YIELD name, versions, edition"


class Readable(Protocol):
    """The part of a graph that reading needs."""

    def read(
        self,
        cypher: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        name: str | None = None,
    ) -> list[Any]:
        """Return all rows of a query."""
        ...


def read_live(graph: Readable) -> Live:
    """Return edition, version, and every index and constraint of a graph's database."""
    component = graph.read(_COMPONENTS, name="dbopt.components")[0]
    constraints = [constraint_of(row) for row in graph.read(_CONSTRAINTS, name="dbopt.constraints")]
    return Live(
        edition=str(component["edition"]).lower(),
        version=str(component["versions"][0]),
        rules=(*constraints, *read_indexes(graph)),
    )


def read_indexes(graph: Readable) -> list[LiveRule]:
    """Return every index with its state."""
    return [index_of(row) for row in graph.read(_INDEXES, name="dbopt.indexes")]


def index_of(row: Mapping[str, Any]) -> LiveRule:
    """Turn a row of SHOW INDEXES into a value."""
    return LiveRule(
        name=row["name"],
        kind=_INDEX_KINDS.get(row["type"], "other"),
        entity=row["entityType"],
        labels=tuple(row["labelsOrTypes"] or ()),
        properties=tuple(row["properties"] or ()),
        options=tuple(sorted(_options(row).items())),
        state=row["state"],
        population=float(row["populationPercent"] or 0),
        owned_by=row["owningConstraint"],
    )


def constraint_of(row: Mapping[str, Any]) -> LiveRule:
    """Turn a row of SHOW CONSTRAINTS into a value."""
    return LiveRule(
        name=row["name"],
        kind=_CONSTRAINT_KINDS.get(row["type"], "other"),
        entity=row["entityType"],
        labels=tuple(row["labelsOrTypes"] or ()),
        properties=tuple(row["properties"] or ()),
        property_type=row["propertyType"],
    )


def _options(row: Mapping[str, Any]) -> dict[str, object]:
    config = (row["options"] or {}).get("indexConfig") or {}
    options = {name: _plain(value) for name, value in config.items()}
    # Since 2026 servers take whether to quantize, and answer how: BINARY, SCALAR or NONE.
    if "vector.quantization.type" in options:
        options.setdefault("vector.quantization.enabled", options["vector.quantization.type"] != "none")
    return options


def _plain(value: object) -> object:
    # The server writes names of options in capitals where it answers ("COSINE").
    if isinstance(value, list):
        return tuple(value)
    return value.lower() if isinstance(value, str) else value
