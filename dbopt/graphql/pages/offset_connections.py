"""graphene-django's own connections over a relation: counted and cut for all parents at once, as it would for each."""

# ruff: noqa: SLF001  _meta is graphene's and Django's way to the options of a type or a model

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from django.db.models import Manager, Model, QuerySet
from graphene_django.fields import DjangoConnectionField
from graphql_relay import get_offset_with_default

from dbopt.graphql.execution.shortcuts import plain_attribute
from dbopt.graphql.loading.path_resolvers import PathLoader, PathResolver
from dbopt.graphql.loading.paths import path_of, relation_of
from dbopt.graphql.loading.rows import Reading

if TYPE_CHECKING:
    from graphql import GraphQLObjectType

    from dbopt.graphql.loading.paths import RelationPath

_AS_IT_IS = Reading(is_quick=False)


def offset_resolver(resolve: Any, model: type[Model], named: GraphQLObjectType) -> OffsetConnectionResolver | None:
    """Return a resolver with loaders in place of one of a stock connection over a relation; None for any other.

    Subclasses of `DjangoConnectionField` (`DjangoFilterConnectionField` is one) keep what they do to querysets and
    connections; one with its own ``connection_resolver`` is left alone.
    """
    is_stock = (
        isinstance(resolve, partial)
        and getattr(resolve.func, "__func__", None) is DjangoConnectionField.connection_resolver.__func__
    )
    plain = plain_attribute(resolve.args[0], named) if is_stock else None
    relation = None if plain is None else relation_of(model, plain[0])
    if relation is None or not (relation.one_to_many or relation.many_to_many):
        return None
    if relation.related_model is not resolve.args[1]._meta.node._meta.model:
        return None
    return OffsetConnectionResolver(resolve, model, path_of(relation))


class SlicesLoader(PathLoader):
    """Stock connections; the source is the stock resolver."""

    def batch_load(self, keys: list[Any]) -> dict[Any, Any]:
        """Return a connection for each parent."""
        _, connection, default_manager, narrow, *limits = self.source.args
        every = self.path.model._default_manager.using(self.using)
        rows = narrow(connection, every, self.info, dict(self.arguments))
        slices = Slices(self._prepared(rows), path=self.path, keys=keys, most=self._most(limits[0]))
        return {
            key: self.source.func(
                _giving(Slice(slices, key)),
                connection,
                default_manager,
                _as_it_is,
                *limits,
                None,
                self.info,
                **self.arguments,
            )
            for key in keys
        }

    def _prepared(self, rows: Any) -> QuerySet[Any]:
        rows = rows.all() if isinstance(rows, Manager) else rows
        return self.reading.prepare(rows)

    def _most(self, max_limit: int | None) -> int | None:
        """Return behind which row of a list nothing can be asked for; None: nowhere."""
        first = self.arguments.get("first")
        first = max_limit if first is None and self.arguments.get("last") is None else first
        if first is None:
            return None
        after = get_offset_with_default(self.arguments.get("after"), -1) + 1
        return max(0, after + (self.arguments.get("offset") or 0) + first)


class OffsetConnectionResolver(PathResolver):
    """Resolver of a `DjangoConnectionField` over a relation; stock is graphene-django's own."""

    loader_class = SlicesLoader

    def __init__(self, stock: Any, model: type[Model], path: RelationPath) -> None:
        self.stock = self.source = stock
        self.model = model
        self._path = path
        self.requires = (path.key_attribute,)

    @property
    def node(self) -> Any:
        """The graphene type of the rows."""
        return self.stock.args[1]._meta.node

    def path(self, kind: type) -> RelationPath | None:
        """Return the way to the rows."""
        return self._path if issubclass(kind, self.model) else None

    def can_load(self, arguments: Mapping[str, Any]) -> bool:
        """Whether the rows begin at the same place for all parents: from the end, each would be read from its start."""
        return arguments.get("last") is None or arguments.get("first") is not None

    def alone(self, root: Any, info: Any, arguments: dict[str, Any]) -> Any:
        """Resolve as graphene-django does."""
        return self.stock(root, info, **arguments)


def _giving(rows: Slice) -> Callable[..., Slice]:
    return lambda root, info, **arguments: rows


def _as_it_is(connection: Any, iterable: Any, info: Any, arguments: Any) -> Any:
    return iterable


class Slices:
    """The rows of many parents: counted in one statement, read in one statement."""

    def __init__(self, rows: QuerySet[Any], *, path: RelationPath, keys: list[Any], most: int | None) -> None:
        self._rows = rows
        self._path = path
        self._keys = keys
        self._most = most

    @cached_property
    def counts(self) -> Mapping[Any, int]:
        """Rows of each parent that has some."""
        return self._path.counts_by_key(self._rows, self._keys)

    @cached_property
    def rows(self) -> Mapping[Any, list[Any]]:
        """The rows of each parent up to the last one that was asked for."""
        return self._path.rows_by_key(self._rows, self._keys, reading=_AS_IT_IS, limit=self._most)


class Slice:
    """Rows of one parent, as graphene-django looks at them: their number, and a part of them."""

    def __init__(self, slices: Slices, key: Any, *, bounds: range | None = None) -> None:
        self._slices = slices
        self._key = key
        self._bounds = bounds

    def __len__(self) -> int:
        return self._slices.counts.get(self._key, 0) if self._bounds is None else len(self._bounds)

    def count(self) -> int:
        """Return the number, as a queryset does."""
        return len(self)

    def __getitem__(self, part: slice) -> Slice:
        bounds = range(len(self)) if self._bounds is None else self._bounds
        return Slice(self._slices, self._key, bounds=bounds[part])

    def __iter__(self) -> Iterator[Any]:
        bounds = range(len(self)) if self._bounds is None else self._bounds
        return iter(self._slices.rows.get(self._key, [])[bounds.start : bounds.stop] if bounds else ())
