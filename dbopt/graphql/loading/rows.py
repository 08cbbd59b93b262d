"""Reading rows as an operation needs them: narrow columns, quick instances, one parameter for all keys."""

# ruff: noqa: SLF001  Django's _meta and the inside of a queryset

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Model, QuerySet
from django.db.models.fields.composite import CompositePrimaryKey
from django.db.models.lookups import In
from django.db.models.query import ModelIterable

from dbopt.cache.values.instances import build, is_unwatched


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes:
        columns: attribute names of the columns that are needed beside the primary key; None for all.
        is_quick: make instances without ``Model.__init__`` where nothing could notice.
    """

    columns: frozenset[str] | None = None
    is_quick: bool = True

    def prepare(self, rows: QuerySet[Any], *own: str) -> QuerySet[Any]:
        """Return rows that carry the needed columns and `own`, the ones that the reader itself looks at."""
        if self.columns is not None and _may_narrow(rows):
            # Rows of a related manager (`author.books.all()`) are told their parent by this column.
            parents = (field.attname for field in rows._known_related_objects)  # type: ignore[attr-defined]
            rows = rows.only(*_primary_key(rows.model), *self.columns, *own, *parents)
        if self.is_quick and rows._iterable_class is ModelIterable:
            rows = rows._chain()  # type: ignore[attr-defined]
            rows._iterable_class = QuickIterable
        return rows


def carrying(rows: QuerySet[Any], field: Any) -> QuerySet[Any]:
    """Return rows that carry a column which the reader looks at, also where they were told to defer it."""
    names, is_deferred = rows.query.deferred_loading
    own = {field.name, field.attname}
    if is_deferred:
        return rows.defer(None).defer(*(names - own)) if names & own else rows
    return rows if not names or names & own else rows.only(*names, field.attname)


def _may_narrow(rows: QuerySet[Any]) -> bool:
    """Whether the columns are still everybody's choice: who chose some, or follows relations, needs what they say."""
    query = rows.query
    return (
        rows._iterable_class in (ModelIterable, QuickIterable)
        and query.deferred_loading == (frozenset(), True)
        and query.select_related is False
        and query.group_by is None
        and not query.combinator
        and not query.distinct
        and not rows._prefetch_related_lookups  # type: ignore[attr-defined]
    )


def _primary_key(model: type[Model]) -> list[str]:
    key = model._meta.pk
    return list(key.field_names) if isinstance(key, CompositePrimaryKey) else [key.attname]


class QuickIterable(ModelIterable):  # type: ignore[type-arg]
    """Makes the instances of a whole result at once, without ``Model.__init__`` where it does nothing."""

    def __iter__(self) -> Iterator[Any]:
        """Run the query."""
        rows: Any = self.queryset
        if rows.query.select_related or rows._known_related_objects or not is_unwatched(rows.model):
            return iter(super().__iter__())
        compiler = rows.query.get_compiler(using=rows.db)
        results = compiler.execute_sql(chunked_fetch=self.chunked_fetch, chunk_size=self.chunk_size)
        return iter(instances(compiler, compiler.results_iter(results), database=rows.db))


def instances(compiler: Any, results: Iterable[Any], *, database: str) -> list[Any]:
    """Make instances, with their annotations, of the rows of a compiled query without select_related."""
    fields = compiler.klass_info["select_fields"]
    start, end = fields[0], fields[-1] + 1
    model = compiler.klass_info["model"]
    names = tuple(column[0].target.attname for column in compiler.select[start:end])
    annotations = compiler.annotation_col_map
    if start == 0 and not annotations:
        return build(model, database=database, names=names, rows=results)
    rows = list(results)
    made = build(model, database=database, names=names, rows=(row[start:end] for row in rows))
    for name, position in annotations.items():
        for instance, row in zip(made, rows, strict=True):
            setattr(instance, name, row[position])
    return made


class AnyOf(In):
    """``column = ANY(array)`` on PostgreSQL: one parameter and one text of the statement for any number of keys.

    Works as a condition: ``rows.filter(AnyOf(F("author_id"), keys))``. Other databases get IN.
    """

    def get_prep_lookup(self) -> Any:
        """Return the keys as they are: they are prepared when the type of the column is known."""
        return self.rhs

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Return the condition and its parameters."""
        field: Any = self.lhs.output_field
        while field.is_relation:
            field = field.target_field
        kind = field.rel_db_type(connection)
        if kind is None:
            return self.as_sql(compiler, connection)
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} = ANY(%s::{base_type(kind)}[])", [*params, possible_keys(field, self.rhs, connection)]


def base_type(kind: str) -> str:
    """Return a column type without its length: a cast to varchar(10) would cut longer keys off."""
    return kind.partition("(")[0]


def possible_keys(field: Any, keys: Iterable[Any], connection: Any) -> list[Any]:
    """Return keys as parameters, without those that the type of a column cannot hold: they would fail for all."""
    low, high = connection.ops.integer_field_ranges.get(field.get_internal_type(), (None, None))
    prepared: Iterable[Any] = list(keys)
    if low is None or set(map(type, prepared)) != {int}:
        prepared = (field.get_db_prep_value(key, connection, prepared=False) for key in prepared)
    if low is not None:
        # The ranges of positive fields are of their columns' CHECK: still a number of the column's type.
        return [key for key in prepared if -high - 1 <= key <= high]
    return [key for key in prepared if not (isinstance(key, str) and "\0" in key)]


def keyed(rows: QuerySet[Any], field: Any, keys: Iterable[Any]) -> QuerySet[Any]:
    """Return the rows whose field has one of the keys."""
    if isinstance(field, CompositePrimaryKey):
        return rows.filter(pk__in=list(keys))
    return rows.filter(AnyOf(F(field.attname), list(keys)))
