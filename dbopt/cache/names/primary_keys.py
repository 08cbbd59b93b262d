"""Which rows a statement names by their primary key, in a form in which equal keys are equal texts.

A key is compared the way the column's type compares it. Where that is not known for sure, the answer is None, and the
statement counts as one about the whole table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from dbopt.cache.names.tables import primary_key
from dbopt.cache.names.tokens import MAX_ROWS
from dbopt.statements import rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

# As Django inserts rows that bring their keys along.
_INSERT = re.compile(
    r'INSERT INTO "([^"%]*)" \(("[^"%]*"(?:, "[^"%]*")*)\) VALUES ((\(%s(?:, %s)*\))(?:, \4)*)(?: RETURNING [^()%]+)?'
)


class NamedRows(NamedTuple):
    """Some rows of a table, by their keys in canonical form."""

    table: str
    keys: frozenset[str]


def bounded_by(
    sql: object, parameters: object, connection: BaseDatabaseWrapper, *, at_most: int = MAX_ROWS
) -> NamedRows | None:
    """Return the rows of one table outside of which a SELECT, UPDATE or DELETE does nothing; None if it does not tell.

    Args:
        sql: as an execute wrapper gets it.
        parameters: of one run, likewise.
        connection: where it runs.
        at_most: more rows than these are not worth telling.
    """
    for rows in rows_of(sql):
        values = _at(parameters, rows.first, rows.count) if rows.count <= at_most else None
        named = _named(rows.table, rows.column, values, connection)
        if named is not None:
            return named
    return None


def inserted(sql: object, parameters: object, connection: BaseDatabaseWrapper) -> NamedRows | None:
    """Return the rows that an INSERT adds under keys of its own; None if it does not tell."""
    if not isinstance(sql, str):
        return None
    match = _INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = match[2][1:-1].split('", "')
    field = primary_key(match[1])
    count = sql.count("%s", match.start(3), match.end(3))
    if field is None or field.column is None or field.column not in columns or count > MAX_ROWS * len(columns):
        return None
    values = _at(parameters, 0, count)
    return _named(match[1], field.column, values and values[columns.index(field.column) :: len(columns)], connection)


def returned(table: str, cursor: Any, connection: BaseDatabaseWrapper) -> NamedRows | None:
    """Return the rows of a table whose keys a statement has just returned; they are laid back for the caller."""
    if connection.vendor != "postgresql":
        # Other drivers give rows once.
        return None
    field = primary_key(table)
    names = [column.name for column in cursor.description or ()]
    if field is None or field.column not in names or not 0 <= cursor.rowcount <= MAX_ROWS:
        return None
    position = names.index(field.column)
    values = [row[position] for row in cursor.fetchall()]
    if values:
        cursor.scroll(0, mode="absolute")
    return _named(table, field.column, values, connection)


def one_row(table: str, pk: object, connection: BaseDatabaseWrapper) -> NamedRows | None:
    """Return a row of a table by a key that somebody gave; None where keys of the table cannot be compared."""
    field = primary_key(table)
    return None if field is None else _named(table, field.column, [pk], connection)


def _at(parameters: object, first: int, count: int) -> Sequence[object] | None:
    # Named ones have no positions.
    if not isinstance(parameters, (list, tuple)) or len(parameters) < first + count:
        return None
    return parameters[first : first + count]


def _named(
    table: str, column: str | None, values: Sequence[object] | None, connection: BaseDatabaseWrapper
) -> NamedRows | None:
    field = primary_key(table)
    if values is None or field is None or field.column != column or connection.vendor != "postgresql":
        return None
    canonical = _canonical(table, field, connection)
    try:
        return None if canonical is None else NamedRows(table, frozenset(map(canonical, values)))
    except (TypeError, ValueError):
        return None


def _canonical(table: str, field: Any, connection: BaseDatabaseWrapper) -> Callable[[object], str] | None:
    # The same for all connections: all are PostgreSQL's. By table, because fields take long to compare.
    found = _known.get(table)
    if found is None or found[0] is not field:
        found = _known[table] = (field, _find_canonical(field, connection))
    return found[1]


def _find_canonical(field: Any, connection: BaseDatabaseWrapper) -> Callable[[object], str] | None:
    while field.remote_field is not None and field.remote_field.get_related_field() is not None:
        # The child's key in multi-table inheritance, or a one-to-one field, has the type of what it points to.
        field = field.remote_field.get_related_field()
    kind = (field.db_type(connection) or "").partition("(")[0]
    if kind == "varchar" and field.db_parameters(connection).get("collation"):
        # A collation may take different texts for equal.
        return None
    return _CANONICAL.get(kind)


def _integer(value: object) -> str:
    if type(value) is not int and not isinstance(value, str):
        raise TypeError
    return str(int(value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


def _uuid(value: object) -> str:
    return (value if isinstance(value, UUID) else UUID(_text(value))).hex


_known: dict[str, tuple[Any, Callable[[object], str] | None]] = {}

_CANONICAL: dict[str, Callable[[object], str]] = {
    "bigint": _integer,
    "integer": _integer,
    "smallint": _integer,
    "uuid": _uuid,
    "varchar": _text,
}
