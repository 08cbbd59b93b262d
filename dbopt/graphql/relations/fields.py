"""One relation field: how its rows are found, and the resolver that loads them for many parents at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.models import F, ForeignKey, ManyToManyField, ManyToManyRel, ManyToOneRel, Model, OneToOneRel, QuerySet
from graphene_django import DjangoObjectType

from dbopt.graphql.execution.lists import rows_to_read
from dbopt.graphql.loading.generic_relations import GenericLoader
from dbopt.graphql.loading.model_loaders import ModelLoader, RelatedLoader, RowLoader
from dbopt.graphql.loading.paths import ForeignKeyPath, ThroughPath, path_of, stands_alone
from dbopt.graphql.loading.projection import reading_of
from dbopt.graphql.loading.rows import AnyOf

if TYPE_CHECKING:
    from dbopt.graphql.loading.loaders import Column

# Model._meta and a graphene type's _meta are documented API.
# ruff: noqa: SLF001


# select_related keeps None for a missing one-to-one row: that is an answer.
_NOT_LOADED: Any = object()

_PARENT = "_dbopt_parent"


def has_own(node_type: Any, method: str) -> bool:
    """Whether a type has a method (get_queryset, get_node) of its own instead of graphene-django's."""
    return getattr(node_type, method).__func__ is not getattr(DjangoObjectType, method).__func__


def node_manager(model: Any) -> Any:
    """Return the manager from which graphene-django takes single rows: ``objects``, which need not be the default one."""
    return getattr(model, "objects", model._default_manager)


@dataclass(frozen=True)
class RelationPlan:
    """One relation field, worked out.

    Attributes:
        model: of the parents; what a proxy's rows are too.
        type_name: of the target in the schema.
        loader_class, params: the loader, which relations to the same rows share; alias and reading are added.
        key_attributes: attributes of a parent that are the loader's key; None in one of them means no row.
        cache_name: where a parent keeps what was loaded already; None where permissions forbid to use it.
        has_way_back: whether the rows have a place for their parent.
    """

    model: type[Model]
    related_model: type[Model] | None
    type_name: str
    loader_class: type[ToOneLoader | ToManyLoader | GenericLoader]
    params: tuple[Any, ...]
    key_attributes: tuple[str, ...]
    cache_name: str | None
    has_way_back: bool = False

    @property
    def is_many(self) -> bool:
        """Whether the field is a list."""
        return self.loader_class is ToManyLoader

    def keys(self, parents: Sequence[Any]) -> list[Any]:
        """Return the loader's key of each parent, None where it points at nothing."""
        if len(self.key_attributes) == 1:
            return list(map(attrgetter(*self.key_attributes), parents))
        return [None if None in key else key for key in map(attrgetter(*self.key_attributes), parents)]

    def database(self, parent: Any) -> str | None:
        """Return the alias where the rows of a parent are."""
        if self.related_model is None:
            return parent._state.db or router.db_for_read(self.model, instance=parent)
        return router.db_for_read(self.related_model, instance=parent)


def plan_relation(relation: Any, node_type: Any) -> RelationPlan:
    """Work out how a relation is loaded for a graphene type."""
    is_guarded = has_own(node_type, "get_queryset")
    loader_class: type[ToOneLoader | ToManyLoader] = ToOneLoader
    # As Django does: its own to-one relations see all rows, unless a get_queryset says who sees what.
    params: tuple[Any, ...] = (relation.related_model, node_type, not is_guarded)
    if isinstance(relation, OneToOneRel):
        key_attribute, params = relation.field.target_field.attname, (relation.field, *params)
    elif isinstance(relation, ForeignKey):
        key_attribute, params = relation.attname, (relation.target_field, *params)
    else:
        path = path_of(relation)
        loader_class, key_attribute, params = ToManyLoader, path.key_attribute, (path, node_type)
    return RelationPlan(
        model=relation.model._meta.concrete_model,
        related_model=relation.related_model,
        type_name=node_type._meta.name,
        loader_class=loader_class,
        params=params,
        key_attributes=(key_attribute,),
        cache_name=None if is_guarded else _cache_name(relation),
        has_way_back=isinstance(relation, ManyToOneRel),
    )


def plan_generic(relation: Any, node_types: list[Any]) -> RelationPlan:
    """Work out how a generic foreign key is loaded, for the graphene types that it may give."""
    guarded = tuple((found._meta.model, found) for found in node_types if has_own(found, "get_queryset"))
    return RelationPlan(
        model=relation.model._meta.concrete_model,
        related_model=None,
        # Of several types: whole rows.
        type_name="",
        loader_class=GenericLoader,
        params=(guarded,),
        key_attributes=(relation.model._meta.get_field(relation.ct_field).attname, relation.fk_field),
        cache_name=None if guarded else relation.name,
    )


def _cache_name(relation: Any) -> str:
    if isinstance(relation, ManyToManyField):
        return relation.name
    if isinstance(relation, ManyToManyRel):
        # Django keeps a prefetched reverse many-to-many relation under its query name, not its accessor.
        return relation.field.related_query_name()
    return relation.cache_name  # type: ignore[no-any-return]


class _RowsOfParents(RowLoader):
    """What a row's own relation to its parent is about.

    Attributes:
        parents: by key, those that their rows shall know.
    """

    def set_up(self) -> None:
        """Read the parameters."""
        self.parents: dict[Any, Any] = {}

    def introduce(self, key: Any, rows: Iterable[Any], field: Any) -> None:
        """Tell rows their parent, if that is what their foreign key would give."""
        parent = self.parents.get(key)
        if type(parent) is field.related_model:
            for row in rows:
                field.set_cached_value(row, parent)

    def close(self) -> None:
        """End the loader, as DataLoader does."""
        super().close()
        self.parents = {}


class ToOneLoader(_RowsOfParents, ModelLoader):
    """One side of a relation. Parameters: unique field, model, graphene type, trust in the base manager, alias, reading."""

    def set_up(self) -> None:
        """Read the parameters."""
        _RowsOfParents.set_up(self)
        self._field, self.model, self.node_type, self.trusts_base_manager, self.using, self.reading = self.params

    def rows(self) -> QuerySet[Any]:
        """Return all rows that stock graphene-django would start from."""
        manager = self.model._base_manager if self.trusts_base_manager else node_manager(self.model)
        return manager.using(self.using)

    def batch_load(self, keys: list[Any]) -> dict[Any, Any]:
        """Load rows in one statement."""
        found = super().batch_load(keys)
        for key, row in found.items() if self.parents else ():
            self.introduce(key, [row], self._field)
        return found


class ToManyLoader(_RowsOfParents, RelatedLoader):
    """The many side of a relation. Parameters: path, graphene type, alias, reading, rows a parent (None: all)."""

    def set_up(self) -> None:
        """Read the parameters."""
        _RowsOfParents.set_up(self)
        self.path, self.node_type, self.using, self.reading, self.limit = self.params

    def rows(self) -> QuerySet[Any]:
        """Return all rows of the default manager."""
        return super().rows().using(self.using)

    def batch_load(self, keys: list[Any]) -> list[list[Any]]:
        """Load the rows of all parents."""
        if self.limit is None and isinstance(self.path, ThroughPath) and not self._is_plain():
            return self._rows_of_pairs(self.path, keys)
        found = super().batch_load(keys)
        if self.parents and isinstance(self.path, ForeignKeyPath):
            for key, rows in zip(keys, found, strict=True):
                self.introduce(key, rows, self.path.column)
        return found

    def _is_plain(self) -> bool:
        """Whether what may be seen, and in which order, has nothing to do with other tables."""
        query = self.rows().query
        names = query.order_by or query.get_meta().ordering
        is_ordered_plainly = all(isinstance(name, str) and "__" not in name for name in names or ())
        is_alone = stands_alone(query) and not query.annotations
        return is_alone and is_ordered_plainly and not has_own(self.node_type, "get_queryset")

    def _rows_of_pairs(self, path: ThroughPath, keys: list[Any]) -> list[list[Any]]:
        """Load the rows with their pairs in one statement, and let a get_queryset look at the pairs.

        Django's own manager of the relation does so: a filter on the relation is about the pairs of the parent.
        """
        parent = F(f"{path.query_name}__{path.source.target_field.name}")
        pairs: Any = self.rows()
        pairs = pairs._next_is_sticky().filter(AnyOf(parent, keys)).annotate(**{_PARENT: parent})
        # A sticky filter shares its joins with the next one; annotate must not count as that.
        pairs.query.filter_is_sticky = True
        rows = self.seen(pairs)
        if _PARENT not in rows.query.annotations:
            # It made a queryset of its own.
            found = path.rows_by_key(rows, keys, reading=self.reading, limit=None)
        else:
            found = defaultdict(list)
            for row in self._apart(rows):
                found[getattr(row, _PARENT)].append(row)
        return [found.get(key, []) for key in keys]

    def _apart(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return rows of all parents that treat those of each parent as they would treat them alone."""
        query = rows.query
        if query.is_sliced:
            raise TypeError("Cannot filter a query once a slice has been taken.")
        if query.distinct_fields:
            order = query.order_by or query.get_meta().ordering or ()
            rows = rows.order_by(_PARENT, *order).distinct(_PARENT, *query.distinct_fields)
        return self.reading.prepare(rows)


class RelationResolver:
    """Resolver of a relation field: a column at a time under dbopt's executor, by promise anywhere else.

    Attributes:
        requires: what is read of a parent.
        tells_parents: whether rows whose resolvers may look at anything know their parent.
    """

    def __init__(self, plan: RelationPlan, *, stock: Any) -> None:
        self.plan = plan
        self.stock = stock
        self.requires = plan.key_attributes
        self.tells_parents = plan.has_way_back

    def __call__(self, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve for one parent."""
        if not isinstance(root, self.plan.model):
            return self.stock(root, info, **arguments)
        loaded = self._loaded(root)
        if loaded is not _NOT_LOADED:
            return loaded
        (key,) = self.plan.keys([root])
        if key is None:
            # A NULL foreign key, or a parent that was never saved: stock knows what to say.
            return self.stock(root, info, **arguments) if self.plan.is_many else None
        return self._loader([root], [key], info).load(key)

    def batch_resolve(self, parents: Sequence[Any], info: Any, column: Column) -> list[Any] | None:
        """Resolve for a whole column of parents; None when the loader delivers later."""
        if not self._is_uniform(parents):
            return [self._resolve_one(parent, info) for parent in parents]
        keys = self.plan.keys(parents)
        if self.plan.is_many and None in keys:
            return [self._resolve_one(parent, info) for parent in parents]
        values: list[Any] | None = self._loader(parents, keys, info).load_column(keys, column)
        return values

    def _resolve_one(self, parent: Any, info: Any) -> Any:
        try:
            return self(parent, info)
        except Exception as error:  # noqa: BLE001  # the executor takes an error of one parent as a value
            return error

    def _is_uniform(self, parents: Sequence[Any]) -> bool:
        """Whether all parents are rows of one database that have nothing loaded yet."""
        if not all(issubclass(kind, self.plan.model) for kind in set(map(type, parents))):
            return False
        states = [parent._state.__dict__ for parent in parents]
        # A row that no database knows yet has no such entry.
        if len({state.get("db") for state in states}) > 1:
            return False
        if self.plan.cache_name is None:
            return True
        # Most rows have no place for loaded relations at all: that is seen without a call for each.
        if self.plan.is_many:
            has_place = any("_prefetched_objects_cache" in parent.__dict__ for parent in parents)
        else:
            has_place = any("fields_cache" in state for state in states)
        return not has_place or all(self._loaded(parent) is _NOT_LOADED for parent in parents)

    def _loaded(self, parent: Any) -> Any:
        name = self.plan.cache_name
        if name is None:
            return _NOT_LOADED
        if self.plan.is_many:
            prefetched = parent.__dict__.get("_prefetched_objects_cache")
            return prefetched.get(name, _NOT_LOADED) if prefetched else _NOT_LOADED
        # Through __dict__: reading the attribute makes a dictionary for each instance.
        loaded = parent._state.__dict__.get("fields_cache")
        return loaded.get(name, _NOT_LOADED) if loaded else _NOT_LOADED

    def _loader(self, parents: Sequence[Any], keys: list[Any], info: Any) -> Any:
        using = self.plan.database(parents[0])
        # What is read is part of the loader's identity: another operation on this context may need other columns.
        reading = reading_of(info, self.plan.type_name)
        limit = (rows_to_read(info),) if self.plan.is_many else ()
        loader: Any = self.plan.loader_class(info.context, *self.plan.params, using, reading, *limit)
        if loader.info is None:
            loader.info = info
        if self.tells_parents and reading.columns is None:
            # A resolver of the project may follow the rows back: with Django's own managers that costs no statement.
            loader.parents.update((key, parent) for key, parent in zip(keys, parents, strict=True) if key is not None)
        return loader
