"""Which tags a statement that writes makes invalid: those of rows, where it shows them, else of tables, else all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dbopt.cache.names.declared import written_by
from dbopt.cache.names.primary_keys import NamedRows, bounded_by, inserted, one_row, returned
from dbopt.cache.names.tables import database_of, known_among, model_tables, unmanaged_tables
from dbopt.cache.names.tokens import bulk_tag, database_tag, row_tag, table_tag
from dbopt.cache.observation.relations import targets_of
from dbopt.cache.observation.views import tables_behind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.db import models
    from django.db.backends.base.base import BaseDatabaseWrapper

    from dbopt.statements import Statement

# Statements whose effects do not show: what they call may write anything.
_OPAQUE = frozenset({"call", "do", "execute"})

# What it returns are the rows that it added, and no others.
_NAME = r'"(?:[^"]|"")+"|\w+'
_PLAIN_INSERT = re.compile(rf"INSERT INTO (?:(?:{_NAME})\.)?({_NAME})[ (].* RETURNING .*", re.DOTALL)
_NOT_PLAIN = re.compile(r"\b(?:ON CONFLICT|WITH)\b")


def writes(statement: Statement) -> bool:
    """Tell whether a statement may write; also one that only calls a function may, see FUNCTION_WRITES."""
    return statement.writes or (bool(statement.functions) and bool(written_by(statement.functions)))


def written_tags(
    statement: Statement,
    connection: BaseDatabaseWrapper,
    *,
    sql: object = None,
    parameters: object = None,
    many: bool = False,
) -> frozenset[str]:
    """Return the tags of what a statement may write; asked before it runs, when its parameters are still the caller's.

    Args:
        statement: one that writes.
        connection: where it will run.
        sql: its text, where it will run with these parameters.
        parameters: what it will run with.
        many: whether they are a list of parameters.
    """
    database = database_of(connection)
    called = written_by(statement.functions)
    if not statement.writes:
        return whole_tables(database, called)
    tables = known_among(statement.identifiers)
    if not tables or not statement.is_whole or statement.cascade or statement.verb in _OPAQUE:
        return frozenset({database_tag(database)})
    if not targets_of(statement.text).issubset(tables):
        # A view, a partition or a table of rules that no model stands for: its rows may be another table's.
        return frozenset({database_tag(database)})
    for view in tables.intersection(unmanaged_tables()):
        behind = _behind(view, connection)
        if behind is None:
            return frozenset({database_tag(database)})
        tables |= behind
    find = inserted if statement.operation == "insert" else bounded_by
    rows = None if many else find(sql, parameters, connection)
    return _tags(database, tables | called, rows)


def inserted_tags(statement: Statement, connection: BaseDatabaseWrapper, cursor: Any) -> frozenset[str] | None:
    """Return the tags of what an INSERT has added, if it returns the keys; None otherwise."""
    match = _PLAIN_INSERT.fullmatch(statement.text)
    if match is None or statement.statements != 1 or not statement.is_whole or _NOT_PLAIN.search(statement.text):
        return None
    rows = returned(match[1].strip('"'), cursor, connection)
    if rows is None:
        return None
    tables = known_among(statement.identifiers) | written_by(statement.functions)
    return _tags(database_of(connection), tables, rows)


def tags_of_row(model: type[models.Model], pk: object, connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the tags of a write to one row of a model; its parents in multi-table inheritance share the key."""
    found = (_tags(connection.alias, {table}, one_row(table, pk, connection)) for table in model_tables(model))
    return frozenset().union(*found)


def whole_tables(database: str, tables: Iterable[str]) -> frozenset[str]:
    """Return the tags of writes that do not show which rows of a table they touch."""
    return frozenset(tag for table in tables for tag in (table_tag(database, table), bulk_tag(database, table)))


def _tags(database: str, tables: Collection[str], rows: NamedRows | None) -> frozenset[str]:
    if rows is None:
        return whole_tables(database, tables)
    table = rows.table
    tags = frozenset([table_tag(database, table), *[row_tag(database, table, key) for key in rows.keys]])
    others = [other for other in tables if other != table]
    return tags | whole_tables(database, others) if others else tags


def _behind(view: str, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    try:
        return tables_behind(unmanaged_tables()[view], connection)
    except connection.Database.Error:  # type: ignore[attr-defined]  # set by every backend
        # In a transaction that failed already, as the statement itself will.
        return None
