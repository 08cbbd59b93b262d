"""Loaders of Django rows: by a unique field, and along a relation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import ValidationError
from django.db.models import Count, Model, QuerySet
from promise import Promise

from dbopt.exceptions import LoaderContractError
from dbopt.graphql.loading.loaders import DataLoader
from dbopt.graphql.loading.paths import path_of
from dbopt.graphql.loading.rows import Reading, keyed

if TYPE_CHECKING:
    from graphql import GraphQLResolveInfo

# Model._meta is documented API of Django.
# ruff: noqa: SLF001


class RowLoader(DataLoader[Any, Any]):
    """What both kinds of loaders share: where their rows come from.

    Attributes:
        node_type: graphene type whose ``get_queryset(queryset, info)`` decides what may be seen.
        reading: which columns are read, and whether instances are made the quick way.
        info: of the first field that loads; for `node_type`. Its path says nothing: the loader serves many fields.
    """

    node_type: Any = None
    reading: Reading = Reading()
    info: GraphQLResolveInfo | None = None

    def rows(self) -> QuerySet[Any]:
        """Return all rows before permissions. Override to start from others."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows that may be seen. Override it to filter; called once a batch."""
        return self.seen(self.rows())

    def seen(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of some rows that may be seen.

        Raises:
            LoaderContractError: the type's ``get_queryset`` returned something else than a queryset.
        """
        if self.node_type is None:
            return rows
        found = self.node_type.get_queryset(rows, self.info)
        if isinstance(found, QuerySet):
            return found
        raise LoaderContractError(
            f"{self.node_type.__name__}.get_queryset must return a queryset, not {type(found).__name__}: "
            "loaders look among its rows for those of many parents."
        )

    def close(self) -> None:
        """End the loader, as DataLoader does."""
        super().close()
        self.info = None


class ModelLoader(RowLoader):
    """Load rows by primary key, or by another unique field.

    Keys are converted as Django converts them ("5" is 5); a key that cannot be one, and a row that is not there, give None.

    Attributes:
        model: the model.
        key_field: name of a unique field; "pk" by default.
    """

    model: type[Model]
    key_field: str = "pk"

    def set_up(self) -> None:
        """Find the field."""
        meta = self.model._meta
        self._field: Any = meta.pk if self.key_field == "pk" else meta.get_field(self.key_field)

    def rows(self) -> QuerySet[Any]:
        """Return all rows of the model's default manager."""
        return self.model._default_manager.all()

    def load(self, key: Any) -> Promise[Any]:
        """Promise the row of a key."""
        if key is not None:
            try:
                key = self._field.to_python(key)
            except ValidationError:
                return Promise.resolve(None)
        return super().load(key)

    def prime(self, key: Any, value: Any) -> Self:
        """Set the row of a key that was not loaded yet."""
        return super().prime(self._field.to_python(key), value)

    def clear(self, key: Any) -> Self:
        """Forget a key, so that the next load asks again."""
        return super().clear(self._field.to_python(key))

    def batch_load(self, keys: list[Any]) -> dict[Any, Any]:
        """Load rows in one statement."""
        name = self._field.attname
        rows = self.reading.prepare(keyed(self.get_queryset(), self._field, keys), name)
        return {getattr(row, name): row for row in rows}


class PathLoader(RowLoader):
    """What loaders along a to-many relation share.

    The key is the parent's primary key, or what the relation's foreign key points at.

    Attributes:
        relation: the model's attribute, for example ``Author.books``.
        filters: names that `narrowed` may filter by.
    """

    relation: Any = None
    filters: tuple[str, ...] = ()
    limit: int | None = None
    conditions: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def narrowed(cls, context: Any, *, limit: int | None = None, **filters: Any) -> Self:
        """Return the context's instance for these filters, for a field with arguments.

        Args:
            context: as for the class itself.
            limit: rows a parent, None for the class's own.
            filters: by the names in `filters`; None is no filter.

        Raises:
            TypeError: a name is not among `filters`.
            ValueError: the limit is negative.
        """
        unknown = sorted(filters.keys() - set(cls.filters))
        if unknown:
            raise TypeError(f"{cls.__name__} cannot filter by {unknown[0]!r}. Add the name to its `filters`.")
        if limit is not None and limit < 0:
            raise ValueError(f"{cls.__name__} was asked for {limit} rows a parent. Ask for 0 or more.")
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in filters.items()}
        conditions = tuple(sorted((name, value) for name, value in given.items() if value is not None))
        return cls(context, limit, conditions)

    def set_up(self) -> None:
        """Find the way along the relation, and take what `narrowed` gave."""
        # Through the class: the attribute is a descriptor, which an instance would activate.
        self.path = path_of(type(self).relation)
        if self.params:
            limit, self.conditions = self.params
            self.limit = self.limit if limit is None else limit

    def rows(self) -> QuerySet[Any]:
        """Return all rows of the target's default manager."""
        return self.path.model._default_manager.all()

    def own_rows(self) -> QuerySet[Any]:
        """Return the rows that may be seen and that the filters leave."""
        rows = self.get_queryset()
        return rows.filter(**dict(self.conditions)) if self.conditions else rows


class RelatedLoader(PathLoader):
    """Load the rows of a to-many relation, as a list a parent.

    Attributes:
        order_by: order of the rows; the queryset's own by default.
        limit: rows a parent. With an index on the foreign key and the order, no others are read.
    """

    order_by: tuple[Any, ...] = ()

    def batch_load(self, keys: list[Any]) -> list[list[Any]]:
        """Load the rows of all parents."""
        rows = self.own_rows()
        rows = rows.order_by(*self.order_by) if self.order_by else rows
        found = self.path.rows_by_key(rows, keys, reading=self.reading, limit=self.limit)
        return [found.get(key, []) for key in keys]


class AggregateLoader(PathLoader):
    """Load an aggregate over the rows of a to-many relation: a value a parent.

    A parent without rows gets what the aggregate says of none: 0 for Count, None for most others.

    Attributes:
        aggregate: over the fields of the rows, for example ``Count("pk")``.
    """

    aggregate: Any = Count("pk")

    def batch_load(self, keys: list[Any]) -> list[Any]:
        """Aggregate the rows of all parents in one statement."""
        found = self.path.values_by_key(self.own_rows(), keys, self.aggregate)
        nothing = self.aggregate.empty_result_set_value
        return [found.get(key, nothing) for key in keys]
