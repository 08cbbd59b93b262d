"""Ways from parents to the rows of a to-many relation, a constant number of statements each."""

# ruff: noqa: SLF001  Model._meta and _base_manager are documented API of Django

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import (
    Count,
    Exists,
    Expression,
    F,
    ForeignKey,
    ManyToManyField,
    ManyToManyRel,
    ManyToOneRel,
    Model,
    OuterRef,
    QuerySet,
)
from django.db.models.lookups import Exact

from dbopt.graphql.loading.generic_relations import is_generic_foreign_key
from dbopt.graphql.loading.rows import Reading, carrying, keyed
from dbopt.graphql.loading.top_rows import can_be_lateral, lateral, lateral_counts, refuse_distinct_fields, top_rows

Found = dict[Any, list[Any]]

_KEY = "_dbopt_key"


@dataclass(frozen=True)
class ForeignKeyPath:
    """From parents to rows that point at them.

    Attributes:
        column: field of the rows that holds the parent's key.
        key_attribute: what of a parent the rows point at.
    """

    model: type[Model]
    column: Any
    key_attribute: str

    @property
    def equality(self) -> tuple[str, ...]:
        """Columns that have one value in the rows of a parent."""
        return (self.column.attname,)

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that can belong to a parent at all."""
        return rows

    def stored(self, keys: Collection[Any]) -> dict[Any, Any]:
        """Return the keys by what the rows hold."""
        return dict(zip(keys, keys, strict=True))

    def rows_by_key(self, rows: QuerySet[Any], keys: Collection[Any], *, reading: Reading, limit: int | None) -> Found:
        """Return the rows of each parent that has some, in one statement."""
        asked = self.stored(keys)
        rows = carrying(reading.prepare(self.narrow(rows), self.column.attname), self.column)
        # Which row is the first of its kind is a question for each parent.
        if limit is not None or rows.query.distinct_fields:
            found = top_rows(rows, self.column, list(asked), limit=limit)
            return {asked[key]: values for key, values in found.items()}
        result = defaultdict(list)
        name = self.column.attname
        for row in keyed(rows, self.column, asked):
            result[asked[getattr(row, name)]].append(row)
        return result

    def values_by_key(self, rows: QuerySet[Any], keys: Collection[Any], aggregate: Any) -> dict[Any, Any]:
        """Return an aggregate over the rows of each parent that has some, in one statement."""
        asked = self.stored(keys)
        groups = keyed(_once(self.narrow(rows)), self.column, asked).order_by().values_list(self.column.attname)
        return {
            asked[key]: value
            for key, value in groups.annotate(**{_KEY: aggregate}).values_list(self.column.attname, _KEY)
        }

    def counts_by_key(self, rows: QuerySet[Any], keys: Collection[Any], *, limit: int | None = None) -> dict[Any, int]:
        """Count the rows of each parent that has some, up to a limit, in one statement."""
        if not can_be_lateral(rows, self.column):
            refuse_distinct_fields(rows)
            return self.values_by_key(rows, keys, Count("pk"))
        asked = self.stored(keys)
        counted = lateral_counts(self.narrow(rows), self.column, asked, limit=limit)
        return {asked[key]: count for key, count in counted.items()}


@dataclass(frozen=True)
class GenericPath(ForeignKeyPath):
    """From parents to rows that point at them with a content type."""

    parent_model: type[Model]
    content_type: str
    for_concrete_model: bool

    @property
    def equality(self) -> tuple[str, ...]:
        """Columns that have one value in the rows of a parent."""
        return (self.content_type, self.column.attname)

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that point at parents of this model."""
        types: Any = apps.get_model("contenttypes", "ContentType")._default_manager.db_manager(rows.db)
        found = types.get_for_model(self.parent_model, for_concrete_model=self.for_concrete_model)
        return rows.filter(**{self.content_type: found.pk})

    def stored(self, keys: Collection[Any]) -> dict[Any, Any]:
        """Return the keys by what the rows hold, which may be text."""
        return {self.column.to_python(key): key for key in keys}


@dataclass(frozen=True)
class ThroughPath:
    """From parents to rows on the other side of a many-to-many relation.

    Attributes:
        source, target: foreign keys of the pairs.
        query_name: of the relation, as seen from the rows.
    """

    source: Any
    target: Any
    query_name: str

    @property
    def model(self) -> type[Model]:
        """The model of the rows."""
        return self.target.related_model  # type: ignore[no-any-return]

    @property
    def key_attribute(self) -> str:
        """What of a parent the pairs point at."""
        return self.source.target_field.attname  # type: ignore[no-any-return]

    def rows_by_key(self, rows: QuerySet[Any], keys: Collection[Any], *, reading: Reading, limit: int | None) -> Found:
        """Return the rows of each parent that has some: in two statements (pairs, then rows), with a limit in one.

        One statement would join the pairs, and a get_queryset that filters on the same relation would share that join:
        it would then filter the pairs too.
        """
        key = self.target.target_field
        rows = carrying(reading.prepare(rows, key.attname), key)
        if (limit is not None or rows.query.distinct_fields) and can_be_lateral(rows, self.source):
            return self._top_rows(rows, keys, limit=limit)
        refuse_distinct_fields(rows)
        pairs = keyed(self._pairs(rows), self.source, keys)
        targets = defaultdict(list)
        for source, target in pairs.values_list(self.source.attname, self.target.attname):
            targets[target].append(source)
        found = defaultdict(list)
        if targets:
            for row in keyed(rows, key, targets):
                for source in targets[getattr(row, key.attname)]:
                    found[source].append(row)
        return {source: values[:limit] for source, values in found.items()}

    def values_by_key(self, rows: QuerySet[Any], keys: Collection[Any], aggregate: Any) -> dict[Any, Any]:
        """Return an aggregate over the rows of each parent that has some, in one statement."""
        name = f"{self.query_name}__{self.source.target_field.name}"
        groups = _once(rows).order_by().filter(**{f"{name}__in": list(keys)}).values_list(name)
        return dict(groups.annotate(**{_KEY: aggregate}).values_list(name, _KEY))

    def counts_by_key(self, rows: QuerySet[Any], keys: Collection[Any], *, limit: int | None = None) -> dict[Any, int]:
        """Count the rows of each parent that has some, up to a limit, in one statement."""
        if not can_be_lateral(rows, self.source):
            refuse_distinct_fields(rows)
            return self.values_by_key(rows, keys, Count("pk"))
        return lateral_counts(rows, self.source, keys, limit=limit, belongs=self._belongs(rows))

    def _pairs(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return self.source.model._base_manager.using(rows.db)  # type: ignore[no-any-return]

    def _belongs(self, rows: QuerySet[Any]) -> Callable[[Expression], Any]:
        def belongs(outer: Expression) -> Any:
            target = {self.target.attname: OuterRef(self.target.target_field.attname)}
            return Exists(self._pairs(rows).filter(Exact(F(self.source.attname), outer), **target))

        return belongs

    def _top_rows(self, rows: QuerySet[Any], keys: Collection[Any], *, limit: int | None) -> Found:
        found = defaultdict(list)
        for row in lateral(rows, self.source, keys, limit=limit, belongs=self._belongs(rows), name=_KEY):
            found[getattr(row, _KEY)].append(row)
        return found


def stands_alone(query: Any) -> bool:
    """Whether a query reads one table."""
    # A filter by a foreign key's own column leaves the join behind that it did without, used by nobody.
    return sum(map(bool, query.alias_refcount.values())) <= 1


def _once(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return each row once: a condition on another table may have joined it several times."""
    if stands_alone(rows.query) or rows.query.annotations:
        return rows
    every: QuerySet[Any] = rows.model._base_manager.using(rows.db)
    return every.filter(pk__in=rows.order_by().values("pk"))


RelationPath = ForeignKeyPath | ThroughPath


def relation_of(model: type[Model], name: str) -> Any:
    """Return the relation behind an attribute of the model, None when there is none that loaders know."""
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field is None or (field.auto_created and not field.concrete):
        # get_field knows reverse relations by their query name; types know them by their accessor.
        field = next((rel for rel in model._meta.related_objects if rel.get_accessor_name() == name), None)
    if is_generic_foreign_key(field):
        return field
    known = isinstance(field, (ForeignKey, ManyToManyField, ManyToOneRel, ManyToManyRel))
    known = known or hasattr(field, "object_id_field_name")
    return field if known and isinstance(field.related_model, type) else None


def path_of(relation: Any) -> RelationPath:
    """Return how to get from parents to rows along a to-many relation, as `Model._meta` or a descriptor has it.

    Raises:
        TypeError: it is not a to-many relation.
    """
    field = getattr(relation, "rel", relation)
    if isinstance(field, ManyToManyRel) and not getattr(relation, "reverse", True):
        field = field.field
    if isinstance(field, ManyToManyField):
        return _through(field, field.related_query_name(), is_reverse=False)
    if isinstance(field, ManyToManyRel):
        return _through(field.field, field.field.name, is_reverse=True)
    # The descriptor of a generic relation holds the relation's other side.
    generic = getattr(field, "field", field)
    if hasattr(generic, "object_id_field_name"):
        return _generic(generic)
    if isinstance(field, ManyToOneRel):
        foreign_key = field.field
        return ForeignKeyPath(foreign_key.model, foreign_key, foreign_key.target_field.attname)
    raise TypeError(f"{relation!r} is not a to-many relation. Use a ModelLoader for a to-one relation.")


def _through(field: Any, query_name: str, *, is_reverse: bool) -> ThroughPath:
    meta = field.remote_field.through._meta
    ends = meta.get_field(field.m2m_field_name()), meta.get_field(field.m2m_reverse_field_name())
    source, target = reversed(ends) if is_reverse else ends
    return ThroughPath(source, target, query_name)


def _generic(relation: Any) -> GenericPath:
    rows = relation.related_model
    return GenericPath(
        model=rows,
        column=rows._meta.get_field(relation.object_id_field_name),
        key_attribute=relation.model._meta.pk.attname,
        parent_model=relation.model,
        content_type=relation.content_type_field_name,
        for_concrete_model=relation.for_concrete_model,
    )
