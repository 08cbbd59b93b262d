"""What an app writes into its ``graph_schema.py``: labels and types with their indexes and constraints.

Pure values: no client, no settings, no connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from dbopt.exceptions import GraphSchemaError
from dbopt.neo4j.schema.identifiers import check_identifier, derived_name
from dbopt.neo4j.schema.rules import NODE, RELATIONSHIP, Options, Rule

_TYPES = frozenset(
    [
        "BOOLEAN",
        "STRING",
        "INTEGER",
        "FLOAT",
        "DATE",
        "DURATION",
        "POINT",
        "LOCAL TIME",
        "ZONED TIME",
        "LOCAL DATETIME",
        "ZONED DATETIME",
    ]
)
_LIST_TYPE = re.compile(r"LIST<(.+) NOT NULL>")
_ANALYZER = re.compile(r"[A-Za-z0-9_-]+")
_MAX_DIMENSIONS = 4096


class _Part:
    """An index or a constraint over properties, before it knows its label."""

    kind: ClassVar[str]
    single: ClassVar[bool] = False

    def __init__(self, *properties: str, name: str | None = None) -> None:
        if not properties:
            raise GraphSchemaError(f"{type(self).__name__} needs at least one property.")
        if self.single and len(properties) > 1:
            raise GraphSchemaError(f"{type(self).__name__} takes one property, not {len(properties)}.")
        self.properties = tuple(check_identifier("A property", item) for item in properties)
        self.name = None if name is None else check_identifier("A name", name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.properties))})"

    @property
    def options(self) -> Options:
        return ()

    def rule(self, target: _Target, *, owner: str, source: str) -> Rule:
        labels = (target.label, *self.further_labels)
        name = self.name or derived_name(owner, self.kind, *labels, *self.properties)
        return Rule(
            kind=self.kind,
            entity=target.entity,
            labels=labels,
            properties=self.properties,
            name=name,
            owner=owner,
            source=source,
            options=self.options,
            property_type=self.property_type,
            fallback=self.fallback,
        )

    further_labels: tuple[str, ...] = ()
    property_type: str | None = None
    fallback: str = "skip"


class Range(_Part):
    """Index for equality, ranges and order; used only by queries that filter on all its properties."""

    kind = "range"


class Text(_Part):
    """Index for CONTAINS and ENDS WITH on strings."""

    kind = "text"
    single = True


class Point(_Part):
    """Index for distances and boxes."""

    kind = "point"
    single = True


class FullText(_Part):
    """Index for words, over several properties.

    Args:
        analyzer: one of ``db.index.fulltext.listAvailableAnalyzers()``; None: the server's default.
        eventually_consistent: update after the commit; None: the server's default (no).
        labels: further labels or types.
    """

    kind = "fulltext"

    def __init__(
        self,
        *properties: str,
        analyzer: str | None = None,
        eventually_consistent: bool | None = None,
        labels: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(*properties, name=name)
        if analyzer is not None and not _ANALYZER.fullmatch(analyzer):
            raise GraphSchemaError(f"analyzer is {analyzer!r}; it must be a name such as 'english'.")
        self.further_labels = tuple(check_identifier("A label", label) for label in labels)
        self._options = _given({"fulltext.analyzer": analyzer, "fulltext.eventually_consistent": eventually_consistent})

    @property
    def options(self) -> Options:
        """What was declared, by the server's names."""
        return self._options


class Vector(_Part):
    """Index for nearest neighbours.

    Args:
        dimensions: 1 to 4096.
        similarity: "cosine" or "euclidean".
        quantization: None: the server's default.
    """

    kind = "vector"
    single = True

    def __init__(
        self,
        *properties: str,
        dimensions: int,
        similarity: str = "cosine",
        quantization: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(*properties, name=name)
        if type(dimensions) is not int or not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise GraphSchemaError(f"dimensions is {dimensions!r}; it must be 1 to {_MAX_DIMENSIONS}.")
        if similarity not in ("cosine", "euclidean"):
            raise GraphSchemaError(f"similarity is {similarity!r}; it must be 'cosine' or 'euclidean'.")
        self._options = _given(
            {
                "vector.dimensions": dimensions,
                "vector.quantization.enabled": quantization,
                "vector.similarity_function": similarity,
            }
        )

    @property
    def options(self) -> Options:
        """What was declared, by the server's names."""
        return self._options


class Unique(_Part):
    """No two with the same values; brings a range index over the same properties."""

    kind = "unique"


class Key(_Part):
    """Unique, and every property present. Enterprise only.

    Args:
        fallback: on Community: "unique" declares Unique instead, "skip" nothing.
    """

    kind = "key"

    def __init__(self, *properties: str, fallback: str = "skip", name: str | None = None) -> None:
        super().__init__(*properties, name=name)
        if fallback not in ("unique", "skip"):
            raise GraphSchemaError(f"fallback is {fallback!r}; it must be 'unique' or 'skip'.")
        self.fallback = fallback


class Exists(_Part):
    """The property is present. Enterprise only; skipped on Community."""

    kind = "exists"
    single = True


class Typed(_Part):
    """The property has a type, such as "FLOAT" or "LIST<STRING NOT NULL>". Enterprise only; skipped on Community."""

    kind = "typed"
    single = True

    def __init__(self, property_name: str, property_type: str, *, name: str | None = None) -> None:
        super().__init__(property_name, name=name)
        wanted = " ".join(str(property_type).upper().split())
        inner = _LIST_TYPE.fullmatch(wanted)
        if (inner.group(1) if inner else wanted) not in _TYPES:
            raise GraphSchemaError(f"{property_type!r} is not a property type. Known: {', '.join(sorted(_TYPES))}.")
        self.property_type = wanted


_CONSTRAINTS = (Unique, Key, Exists, Typed)
_INDEXES = (Range, Text, Point, FullText, Vector)


class _Target:
    """A label or type with all that is declared on it."""

    entity: ClassVar[str]

    def __init__(self, label: str, *, constraints: Iterable[_Part] = (), indexes: Iterable[_Part] = ()) -> None:
        self.label = check_identifier("A label or type", label)
        self.constraints = _only(_CONSTRAINTS, "constraints", constraints)
        self.indexes = _only(_INDEXES, "indexes", indexes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    def rules(self, *, owner: str, source: str) -> list[Rule]:
        return [part.rule(self, owner=owner, source=source) for part in (*self.constraints, *self.indexes)]


class Node(_Target):
    """A label."""

    entity = NODE


class Relationship(_Target):
    """A relationship type."""

    entity = RELATIONSHIP


class GraphSchema:
    """The graph of an app, declared as class attributes: Node, Relationship, and projections of models.

    An inner class ``Meta`` may name ``alias`` (of ``DBOPT["NEO4J"]``, "default") and ``owner`` (the first part of
    derived names; the app's label).
    """

    @classmethod
    def declared(cls, kind: type[Any]) -> dict[str, Any]:
        """Return the attributes of a kind by name, in the order in which they were written."""
        found: dict[str, Any] = {}
        for parent in reversed(cls.__mro__):
            found.update({name: value for name, value in vars(parent).items() if isinstance(value, kind)})
        return found

    @classmethod
    def meta(cls, *, app_label: str) -> tuple[str, str]:
        """Return alias and owner.

        Raises:
            GraphSchemaError: Meta has an option that is not known.
        """
        meta = getattr(cls, "Meta", None)
        options = {} if meta is None else {name: value for name, value in vars(meta).items() if name[:1] != "_"}
        for name in options:
            if name not in ("alias", "owner"):
                raise GraphSchemaError(f"{cls.__qualname__}.Meta has no option {name!r}. Known: alias, owner.")
        return str(options.get("alias", "default")), check_identifier("An owner", options.get("owner", app_label))

    @classmethod
    def rules(cls, *, app_label: str) -> list[Rule]:
        """Return every index and constraint with its name."""
        _, owner = cls.meta(app_label=app_label)
        return [
            rule
            for name, target in cls.declared(_Target).items()
            for rule in target.rules(owner=owner, source=f"{app_label}.{cls.__name__}.{name}")
        ]


def _given(options: dict[str, object]) -> Options:
    return tuple(sorted((name, value) for name, value in options.items() if value is not None))


def _only(allowed: tuple[type[_Part], ...], where: str, parts: Iterable[_Part]) -> tuple[_Part, ...]:
    checked = tuple(parts)
    for part in checked:
        if not isinstance(part, allowed):
            names = ", ".join(cls.__name__ for cls in allowed)
            raise GraphSchemaError(f"{where} holds {part!r}; it takes {names}.")
    return checked
