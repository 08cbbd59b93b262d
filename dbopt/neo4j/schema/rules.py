"""Indexes and constraints as values: what declarations become, and what the server is compared with."""

from __future__ import annotations

from dataclasses import dataclass

NODE = "NODE"
RELATIONSHIP = "RELATIONSHIP"

INDEX_KINDS = frozenset({"range", "text", "point", "fulltext", "vector"})
CONSTRAINT_KINDS = frozenset({"unique", "key", "exists", "typed"})
ENTERPRISE_KINDS = frozenset({"key", "exists", "typed"})
# Constraints that bring a range index of their own.
INDEXED_KINDS = frozenset({"unique", "key"})

SchemaKey = tuple[str, str, tuple[str, ...], tuple[str, ...]]
Options = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One declared index or constraint.

    Attributes:
        kind: one of INDEX_KINDS or CONSTRAINT_KINDS.
        entity: NODE or RELATIONSHIP.
        labels: labels or types; more than one only for full text.
        properties: in order; order is part of what an index is.
        options: only what was declared, with the server's names.
        property_type: of kind "typed".
        fallback: "unique" or "skip": what a key becomes where it needs another edition.
        source: where it was declared, for messages.
    """

    kind: str
    entity: str
    labels: tuple[str, ...]
    properties: tuple[str, ...]
    name: str
    owner: str
    source: str
    options: Options = ()
    property_type: str | None = None
    fallback: str = "skip"

    @property
    def is_constraint(self) -> bool:
        """Whether it constrains, or only finds."""
        return self.kind in CONSTRAINT_KINDS

    @property
    def key(self) -> SchemaKey:
        """What makes two rules the same to the server, apart from name and options."""
        return (self.kind, self.entity, tuple(sorted(self.labels)), self.properties)

    @property
    def range_key(self) -> SchemaKey:
        """The key of the range index that is, or backs, this rule."""
        return ("range", *self.key[1:])

    @property
    def target(self) -> str:
        """How Cypher would draw it: ``(:Entity {id})``."""
        return draw(self.entity, self.labels, self.properties)


@dataclass(frozen=True, slots=True)
class LiveRule:
    """One index or constraint on the server.

    Attributes:
        kind: as of Rule, or "other" for what dbopt does not declare (look-up indexes and their like).
        state: "ONLINE", "POPULATING" or "FAILED"; of constraints always "ONLINE".
        owned_by: the constraint that an index belongs to.
    """

    name: str
    kind: str
    entity: str
    labels: tuple[str, ...]
    properties: tuple[str, ...]
    options: Options = ()
    property_type: str | None = None
    state: str = "ONLINE"
    population: float = 100.0
    owned_by: str | None = None

    @property
    def is_constraint(self) -> bool:
        """Whether it constrains, or only finds."""
        return self.kind in CONSTRAINT_KINDS

    @property
    def key(self) -> SchemaKey:
        """As of Rule."""
        return (self.kind, self.entity, tuple(sorted(self.labels)), self.properties)


@dataclass(frozen=True, slots=True)
class Live:
    """What a server has."""

    edition: str
    version: str
    rules: tuple[LiveRule, ...]

    @property
    def is_enterprise(self) -> bool:
        """Whether keys, existence and types can be had."""
        return self.edition == "enterprise"


def draw(entity: str, labels: tuple[str, ...], properties: tuple[str, ...]) -> str:
    """Draw labels and properties as Cypher would."""
    inner = f":{'|'.join(labels)} {{{', '.join(properties)}}}"
    return f"({inner})" if entity == NODE else f"()-[{inner}]-()"
