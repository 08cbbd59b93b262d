"""The first rows of each parent, in one statement that reads no others."""

# ruff: noqa: SLF001  a queryset's compiler is Django's own way from rows to SQL

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import NotSupportedError, connections
from django.db.models import Expression, F, QuerySet, Window, prefetch_related_objects
from django.db.models.functions import DenseRank, RowNumber
from django.db.models.lookups import Exact

from dbopt.graphql.loading.rows import base_type, instances, keyed, possible_keys

_NUMBER = "_dbopt_number"


def top_rows(rows: QuerySet[Any], foreign_key: Any, keys: Sequence[Any], *, limit: int | None) -> dict[Any, list[Any]]:
    """Return at most so many rows a key, in the order of the queryset; keys without rows are left out.

    On PostgreSQL each key's rows are found by themselves (LATERAL): with an index on the column and the order, only the
    rows of the answer are read. Elsewhere, and for a queryset with select_related, all rows of the keys are numbered.

    Args:
        rows: filtered and ordered, not sliced.
        foreign_key: field of the rows that holds a key.
        keys: distinct.
        limit: rows a key; None: all.
    """
    if can_be_lateral(rows, foreign_key):
        found: Iterable[Any] = lateral(rows, foreign_key, keys, limit=limit)
    else:
        found = _numbered(rows, foreign_key, keys, limit=limit)
    top = defaultdict(list)
    for row in found:
        top[getattr(row, foreign_key.attname)].append(row)
    return top


def can_be_lateral(rows: QuerySet[Any], column: Any) -> bool:
    """Whether `lateral` can read the rows."""
    query, connection = rows.query, connections[rows.db]
    if query.select_related or query.combinator:
        return False
    return connection.vendor == "postgresql" and _stored(column).rel_db_type(connection) is not None


def refuse_distinct_fields(rows: QuerySet[Any]) -> None:
    """Refuse ``distinct(fields)`` where the rows of many keys are read as one list: it would pick among all of them."""
    if rows.query.distinct_fields:
        raise NotSupportedError(
            "distinct() with field names picks among each parent's rows, which cannot be read together on this database, "
            "or with select_related. Leave one of them out."
        )


def lateral(  # noqa: PLR0913  # all by keyword
    rows: QuerySet[Any],
    column: Any,
    keys: Iterable[Any],
    *,
    limit: int | None,
    belongs: Callable[[Expression], Any] | None = None,
    name: str | None = None,
) -> list[Any]:
    """Return at most so many rows a key; those of one key stand in the order of the queryset.

    Args:
        rows: filtered and ordered, not sliced.
        column: field that says of what type keys are.
        keys: distinct.
        limit: rows a key; None: all.
        belongs: condition of a row to belong to a key; by default that its column has it.
        name: attribute of the rows that gets the key.
    """
    connection = connections[rows.db]
    try:
        compiler, text, params = _per_key(rows, column, keys, limit=limit, belongs=belongs, name=name)
    except EmptyResultSet:
        return []
    # No ORDER BY outside: each key's rows arrive in the order of its subquery, and which key is first does not matter.
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT "dbopt_row".* {text}', params)
        found = cursor.fetchall()
    made = instances(compiler, compiler.results_iter([found]), database=rows.db)
    prefetch_related_objects(made, *rows._prefetch_related_lookups)  # type: ignore[attr-defined]
    return made


def lateral_counts(
    rows: QuerySet[Any],
    column: Any,
    keys: Iterable[Any],
    *,
    limit: int | None = None,
    belongs: Callable[[Expression], Any] | None = None,
) -> dict[Any, int]:
    """Count the rows of each key, up to a limit; keys without rows are left out. Arguments are those of `lateral`."""
    connection = connections[rows.db]
    try:
        _, text, params = _per_key(rows.order_by(), column, keys, limit=limit, belongs=belongs)
    except EmptyResultSet:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT "dbopt_key"."value", count(*) {text} GROUP BY 1', params)
        counted = cursor.fetchall()
    # As the rows themselves would give them: what the driver reads may not be what the field makes of it.
    return {_stored(column).to_python(key): count for key, count in counted}


def _per_key(  # noqa: PLR0913  # all by keyword
    rows: QuerySet[Any],
    column: Any,
    keys: Iterable[Any],
    *,
    limit: int | None,
    belongs: Callable[[Expression], Any] | None,
    name: str | None = None,
) -> tuple[Any, str, list[Any]]:
    """Return the compiler of one key's rows, the FROM that runs it for each key, and the parameters."""
    connection, stored = connections[rows.db], _stored(column)
    outer = _OuterKey(output_field=stored)
    own = rows.filter(belongs(outer) if belongs else Exact(F(column.attname), outer))
    own = (own.annotate(**{name: outer}) if name else own)[:limit]
    compiler = own.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    columns = ", ".join(f"c{number}" for number in range(len(compiler.select)))
    # Only the compiled queryset and a type name of Django are put in; keys are a parameter.
    text = (
        f"FROM unnest(%s::{base_type(stored.rel_db_type(connection))}[]) "
        f'AS "dbopt_key" ("value") CROSS JOIN LATERAL ({sql}) AS "dbopt_row" ({columns})'
    )
    return compiler, text, [possible_keys(stored, keys, connection), *params]


class _OuterKey(Expression):
    """The key that a LATERAL subquery is run for."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return '"dbopt_key"."value"', []


def _stored(column: Any) -> Any:
    while column.is_relation:
        column = column.target_field
    return column


def _numbered(rows: QuerySet[Any], foreign_key: Any, keys: Sequence[Any], *, limit: int | None) -> Iterable[Any]:
    refuse_distinct_fields(rows)
    compiler = rows.query.get_compiler(using=rows.db)
    compiler.setup_query()
    order = [expression for expression, _ in compiler.get_order_by()]
    # DISTINCT looks at the numbers too: copies of a row need the same one.
    kind = DenseRank if rows.query.distinct else RowNumber
    number = Window(kind(), partition_by=F(foreign_key.attname), order_by=[*order, "pk"])
    numbered: QuerySet[Any] = keyed(rows, foreign_key, keys).annotate(**{_NUMBER: number}).order_by(_NUMBER)
    return numbered if limit is None else numbered.filter(**{f"{_NUMBER}__lte": limit})
