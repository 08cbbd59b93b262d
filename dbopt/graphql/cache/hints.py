"""What fields and types say about caching: for how long, and for whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

from graphene import Field
from graphene.utils.str_converters import to_camel_case
from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError

T = TypeVar("T")

_NAME = "_dbopt_cache_control"


class Scope(IntEnum):
    """Who shares an answer; the higher, the fewer."""

    PUBLIC = 0
    ROLE = 1
    USER = 2


@dataclass(frozen=True, slots=True)
class Hint:
    """What one field or type says; ``max_age`` None means the cache's TIMEOUT."""

    max_age: float | None
    scope: Scope
    tags: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the field's value may be kept."""
        return dbopt_settings.cache.timeout if self.max_age is None else self.max_age


@overload
def cache_control(target: T, /) -> T: ...


@overload
def cache_control(
    *, max_age: float | None = None, scope: str = "USER", tags: Iterable[str] = ()
) -> Callable[[T], T]: ...


def cache_control(
    target: Any = None, /, *, max_age: float | None = None, scope: str = "USER", tags: Iterable[str] = ()
) -> Any:
    """Allow that responses with this field, or with fields of this type, are kept whole.

    Decorates a resolver, a graphene type (then it is about the fields that return it) or a ``graphene.Field``; with
    or without arguments. A field's own word replaces that of its type. A response is kept for the shortest time and
    for the narrowest scope of its fields. Each root field and each field of an object type needs a word; other
    leaves, and what pages consist of (edges, pageInfo), go with the object they are in.

    Args:
        target: what is decorated, where there are no other arguments.
        max_age: seconds; None for the cache's TIMEOUT; 0: never keep a response with it.
        scope: "USER": for the user who asked; "ROLE": for all with the same permissions; "PUBLIC": for everybody. Who
            only declares "PUBLIC", and then looks at the user or at the rest of the request, gets "USER".
        tags: names for ``dbopt.cache.invalidate("name")``; needed where a resolver reads no SQL.

    Raises:
        ConfigurationError: an argument cannot be, or the target cannot carry it.
    """
    hint = _hint(max_age, scope, tags)

    def decorate(decorated: Any) -> Any:
        is_fitting = isinstance(decorated, Field) or callable(decorated)
        try:
            if is_fitting:
                setattr(decorated, _NAME, hint)
        except AttributeError:
            is_fitting = False
        if not is_fitting:
            raise ConfigurationError(
                f"cache_control cannot decorate a {type(decorated).__name__}. "
                "Put it on a resolver, on a graphene type, or around a graphene.Field."
            )
        return decorated

    return decorate if target is None else decorate(target)


def checked_scope(scope: str, *, where: str) -> Scope:
    """Return a scope by its name.

    Raises:
        ConfigurationError: there is none of this name.
    """
    try:
        return Scope[scope]
    except KeyError:
        names = ", ".join(f'"{known.name}"' for known in Scope)
        raise ConfigurationError(f"{where}(scope={scope!r}): choose one of {names}.") from None


def _hint(max_age: float | None, scope: str, tags: Iterable[str]) -> Hint:
    if max_age is not None and not (isinstance(max_age, (int, float)) and 0 <= max_age < math.inf):
        raise ConfigurationError(f"cache_control(max_age={max_age!r}): give seconds, 0 or more, or None for TIMEOUT.")
    names = () if isinstance(tags, str) else tuple(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) and tag for tag in names):
        raise ConfigurationError(f"cache_control(tags={tags!r}): tags are a list of text.")
    return Hint(max_age, checked_scope(scope, where="cache_control"), names)


class SchemaHints:
    """The hints of a schema, worked out once. Shared by threads."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._hints: dict[int, Hint] = {}
        self._inheriting: set[int] = set()
        objects = [named for named in schema.type_map.values() if isinstance(named, GraphQLObjectType)]
        nodes = _pages(objects)
        for named in objects:
            declared = declared_fields(named)
            for name, field in named.fields.items():
                target = get_named_type(field.type)
                hint = _own(declared.get(name), field) or _of_type(nodes.get(target, target))
                if hint is not None:
                    self._hints[id(field)] = hint
                elif named is not schema.query_type and (is_leaf_type(target) or named in nodes):
                    self._inheriting.add(id(field))

    def __bool__(self) -> bool:
        return bool(self._hints)

    def hint(self, field: GraphQLField) -> Hint | None:
        """Return what a field of an object type says, itself or by its type."""
        return self._hints.get(id(field))

    def inherits(self, field: GraphQLField) -> bool:
        """Whether a field without a hint goes with the object it is in."""
        return id(field) in self._inheriting


_hints: WeakKeyDictionary[GraphQLSchema, SchemaHints] = WeakKeyDictionary()


def hints_of(schema: GraphQLSchema) -> SchemaHints:
    """Return the hints of a schema."""
    found = _hints.get(schema)
    if found is None:
        found = _hints[schema] = SchemaHints(schema)
    return found


def _pages(objects: Iterable[GraphQLObjectType]) -> dict[Any, Any]:
    """Return what pages in Relay's form consist of: connections, edges and PageInfo, each with the type of the rows."""
    found: dict[Any, Any] = {}
    for named in objects:
        if "edges" in named.fields and "pageInfo" in named.fields:
            edge: Any = get_named_type(named.fields["edges"].type)
            node = get_named_type(edge.fields["node"].type) if "node" in getattr(edge, "fields", ()) else None
            found[named] = found[edge] = node
            found[get_named_type(named.fields["pageInfo"].type)] = None
    return found


def declared_fields(named: GraphQLObjectType) -> dict[str, Any]:
    """Return graphene's fields of a type by their names in the schema."""
    meta = getattr(getattr(named, "graphene_type", None), "_meta", None)
    fields = getattr(meta, "fields", None) or {}
    found = {}
    for name, field in fields.items():
        camel = to_camel_case(name)
        found[getattr(field, "name", None) or (camel if camel in named.fields else name)] = field
    return found


def _own(declared: Any, field: GraphQLField) -> Hint | None:
    hint: Hint | None = getattr(declared, _NAME, None)
    return hint or _of_resolver(field.resolve)


def _of_resolver(resolve: Any) -> Hint | None:
    """Return the hint of a resolver, or of one that graphene's own resolvers were given."""
    if resolve is None or isinstance(resolve, type):
        return None
    hint: Hint | None = getattr(resolve, _NAME, None)
    if hint is None and isinstance(resolve, partial):
        inner = (_of_resolver(part) for part in (resolve.func, *resolve.args) if callable(part))
        hint = next(filter(None, inner), None)
    return hint


def _of_type(named: Any) -> Hint | None:
    # A subclass says it itself: it may show more.
    hint: Hint | None = vars(getattr(named, "graphene_type", object)).get(_NAME)
    return hint
