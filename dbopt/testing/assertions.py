"""Assertions about what PostgreSQL does with a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import QuerySet

from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Statement = tuple[str, Sequence[Any]]

SORT_NODES = frozenset({"Sort", "Incremental Sort"})
# Costs on a small table favour reading it all; these knobs leave the question whether the index can serve the query.
SCAN_KNOBS = ("enable_seqscan",)
SORT_KNOBS = ("enable_sort", "enable_incremental_sort")

_INDEX_STATE = """
    SELECT i.indisvalid, t.relname
    FROM pg_class c
    JOIN pg_index i ON i.indexrelid = c.oid
    JOIN pg_class t ON t.oid = i.indrelid
    WHERE c.relname = %s AND pg_table_is_visible(c.oid)
"""


@dataclass(frozen=True)
class PlanNode:
    """One node of a plan, without any condition: conditions hold literals."""

    depth: int
    kind: str
    index: str | None
    table: str | None


def assert_uses_index(  # noqa: PLR0913 - keyword-only options of one question
    queryset: QuerySet[Any] | Statement,
    name: str,
    *,
    allow_sort: bool = False,
    index_only: bool = False,
    disable: Sequence[str] | None = None,
    using: str | None = None,
) -> None:
    """Fail unless PostgreSQL plans the query with the index of that name.

    The query is explained, not run, in a savepoint that is rolled back with its planner settings.
    Give the tables realistic rows and ANALYZE them first where another index could serve the query as well.

    Args:
        queryset: a queryset, sliced and ordered as in the application, or a pair of SQL and parameters.
        name: any kind of index: b-tree, hash, GIN, GiST, SP-GiST, BRIN.
        allow_sort: False also fails on a Sort or Incremental Sort anywhere in the plan.
        index_only: True accepts nothing but an Index Only Scan of that index.
        disable: planner settings to turn off while planning.
            None means enable_seqscan, and the sorts too unless allow_sort; () plans as in production.
        using: database alias; None takes the queryset's own, or "default" for SQL.

    Raises:
        AssertionError: another plan was chosen; its nodes and indexes are shown, its literals never.
        ConfigurationError: the database is not PostgreSQL.
    """
    alias = using or (queryset.db if isinstance(queryset, QuerySet) else DEFAULT_DB_ALIAS)
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise ConfigurationError(f"assert_uses_index needs PostgreSQL, and database {alias!r} is {connection.vendor}.")
    sql, parameters = _statement(queryset, alias)
    knobs = disable if disable is not None else (SCAN_KNOBS if allow_sort else SCAN_KNOBS + SORT_KNOBS)
    nodes = _explain(connection, sql, parameters=parameters, disable=knobs)
    fault = _fault(nodes, name, allow_sort=allow_sort, index_only=index_only)
    if fault is not None:
        raise AssertionError(f"{fault} {_index_state(connection, name)}\nPlan:\n{_render(nodes)}")


def _statement(queryset: QuerySet[Any] | Statement, alias: str) -> Statement:
    if not isinstance(queryset, QuerySet):
        return queryset
    try:
        sql, parameters = queryset.query.get_compiler(alias).as_sql()
    except EmptyResultSet:
        raise AssertionError(
            f"The query on {queryset.model.__name__} can have no result, so Django sends nothing to the database."
        ) from None
    return sql, parameters


def _explain(
    connection: BaseDatabaseWrapper, sql: str, *, parameters: Sequence[Any], disable: Sequence[str]
) -> list[PlanNode]:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        for knob in disable:
            cursor.execute("SELECT set_config(%s, 'off', true)", [knob])
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        (document,) = cursor.fetchone()
        transaction.set_rollback(True, using=connection.alias)
    return list(_walk(document[0]["Plan"], depth=0))


def _walk(node: dict[str, Any], depth: int) -> Iterator[PlanNode]:
    yield PlanNode(depth, kind=node["Node Type"], index=node.get("Index Name"), table=node.get("Relation Name"))
    for child in node.get("Plans", ()):
        yield from _walk(child, depth + 1)


def _fault(nodes: Sequence[PlanNode], name: str, *, allow_sort: bool, index_only: bool) -> str | None:
    kinds = {node.kind for node in nodes if node.index == name}
    if not kinds:
        return f"PostgreSQL does not use index {name!r}."
    if index_only and "Index Only Scan" not in kinds:
        return f"PostgreSQL reads the table beside index {name!r}: {', '.join(sorted(kinds))}."
    if not allow_sort and not SORT_NODES.isdisjoint(node.kind for node in nodes):
        return f"PostgreSQL uses index {name!r} and still sorts (allow_sort=True accepts that)."
    return None


def _index_state(connection: BaseDatabaseWrapper, name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_INDEX_STATE, [name])
        row = cursor.fetchone()
    if row is None:
        return "No index of that name exists."
    valid, table = row
    return f"It exists on table {table!r}" + ("." if valid else ", but is INVALID.")


def _render(nodes: Sequence[PlanNode]) -> str:
    return "\n".join(
        "  " * (node.depth + 1)
        + node.kind
        + (f" using {node.index}" if node.index else "")
        + (f" on {node.table}" if node.table else "")
        for node in nodes
    )
