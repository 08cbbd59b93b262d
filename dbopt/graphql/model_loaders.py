"""Loaders of Django rows: by a unique field, and along a relation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import ValidationError
from django.db.models import ForeignKey, ManyToManyField, ManyToManyRel, ManyToOneRel, Model, QuerySet
from promise import Promise

from dbopt.graphql.loaders import DataLoader
from dbopt.graphql.rows import Reading, keyed

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
        rows = self.rows()
        return rows if self.node_type is None else self.node_type.get_queryset(rows, self.info)

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


@dataclass(frozen=True)
class ForeignKeyPath:
    """From parents to rows that point at them."""

    foreign_key: Any

    @property
    def model(self) -> type[Model]:
        """The model of the rows."""
        return self.foreign_key.model  # type: ignore[no-any-return]

    @property
    def key_attribute(self) -> str:
        """What of a parent the rows point at."""
        return self.foreign_key.target_field.attname  # type: ignore[no-any-return]

    def rows_by_key(self, rows: QuerySet[Any], keys: Sequence[Any], reading: Reading) -> dict[Any, list[Any]]:
        """Return the rows of each parent that has some, in one statement."""
        found = defaultdict(list)
        name = self.foreign_key.attname
        for row in reading.prepare(keyed(rows, self.foreign_key, keys), name):
            found[getattr(row, name)].append(row)
        return found


@dataclass(frozen=True)
class ThroughPath:
    """From parents to rows on the other side of a many-to-many relation."""

    source: Any
    target: Any

    @property
    def model(self) -> type[Model]:
        """The model of the rows."""
        return self.target.related_model  # type: ignore[no-any-return]

    @property
    def key_attribute(self) -> str:
        """What of a parent the pairs point at."""
        return self.source.target_field.attname  # type: ignore[no-any-return]

    def rows_by_key(self, rows: QuerySet[Any], keys: Sequence[Any], reading: Reading) -> dict[Any, list[Any]]:
        """Return the rows of each parent that has some, in two statements: pairs, then rows.

        One statement would join the pairs, and a get_queryset that filters on the same relation would share that join:
        it would then filter the pairs too.
        """
        pairs = keyed(self.source.model._base_manager.using(rows.db), self.source, keys)
        key = self.target.target_field
        targets = defaultdict(list)
        for source, target in pairs.values_list(self.source.attname, self.target.attname):
            targets[target].append(source)
        found = defaultdict(list)
        if targets:
            for row in reading.prepare(keyed(rows, key, targets), key.attname):
                for source in targets[getattr(row, key.attname)]:
                    found[source].append(row)
        return found


RelationPath = ForeignKeyPath | ThroughPath


def path_of(relation: Any) -> RelationPath:
    """Return how to get from parents to rows along a to-many relation, as `Model._meta` or a descriptor has it.

    Raises:
        TypeError: it is not a to-many relation.
    """
    field = getattr(relation, "rel", relation)
    if isinstance(field, ManyToManyRel) and not getattr(relation, "reverse", True):
        field = field.field
    if isinstance(field, ManyToManyField):
        return ThroughPath(*_through(field))
    if isinstance(field, ManyToManyRel):
        return ThroughPath(*reversed(_through(field.field)))
    if isinstance(field, ManyToOneRel):
        return ForeignKeyPath(field.field)
    raise TypeError(f"{relation!r} is not a to-many relation. Use a ModelLoader for a to-one relation.")


def _through(field: Any) -> tuple[ForeignKey[Any, Any], ForeignKey[Any, Any]]:
    meta = field.remote_field.through._meta
    return meta.get_field(field.m2m_field_name()), meta.get_field(field.m2m_reverse_field_name())


class RelatedLoader(RowLoader):
    """Load the rows of a to-many relation, as a list a parent.

    The key is the parent's primary key, or what the relation's foreign key points at.

    Attributes:
        relation: the model's attribute, for example ``Author.books``.
        order_by: order of the rows; the queryset's own by default.
    """

    relation: Any = None
    order_by: tuple[Any, ...] = ()

    def set_up(self) -> None:
        """Find the way along the relation."""
        # Through the class: the attribute is a descriptor, which an instance would activate.
        self.path = path_of(type(self).relation)

    def rows(self) -> QuerySet[Any]:
        """Return all rows of the target's default manager."""
        return self.path.model._default_manager.all()

    def batch_load(self, keys: list[Any]) -> list[list[Any]]:
        """Load the rows of all parents."""
        rows = self.get_queryset()
        rows = rows.order_by(*self.order_by) if self.order_by else rows
        found = self.path.rows_by_key(rows, keys, self.reading)
        return [found.get(key, []) for key in keys]
