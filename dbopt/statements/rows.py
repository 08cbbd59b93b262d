"""Which rows a statement names by value: the shapes in which Django gets, updates and deletes by key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from dbopt.statements.memory import LONGEST_REMEMBERED, REMEMBERED

_NAME = r'"[^"%]*+"'
_COLUMN = rf"{_NAME}\.{_NAME}"
_COLUMNS = rf"{_COLUMN}(?:, {_COLUMN}| AS {_NAME})*+"
_LIST = r"\(%s(?:, %s)*+\)"
_CONDITION = rf"{_COLUMN} (?:(?:=|<|>|<=|>=) %s|IN {_LIST}|IS (?:NOT )?NULL)"
_ORDER = rf"{_COLUMN} (?:ASC|DESC)"
_SELECT = rf'SELECT (?:DISTINCT )?(?:(?:1|%s) AS "a"|COUNT\(\*\) AS {_NAME}|{_COLUMNS}) FROM ({_NAME})'  # noqa: S608
# What is set may be any expression without a literal or a comment.
_UPDATE = rf"UPDATE ({_NAME}) SET ((?:[^'$;/%\\-]++|%s|-(?!-)|/(?!\*))*+)"  # noqa: S608
_HEAD = re.compile(rf"{_SELECT}|DELETE FROM ({_NAME})|{_UPDATE}")  # noqa: S608
_TAIL = re.compile(
    rf" WHERE (?:{_CONDITION}|\({_CONDITION}(?: AND {_CONDITION})*+\))(?: ORDER BY {_ORDER}(?:, {_ORDER})*+)?"
    rf"(?: LIMIT [0-9]++)?(?: OFFSET [0-9]++)?(?: RETURNING {_COLUMNS})?"
)
_COMPARISON = re.compile(rf'{_NAME}\."([^"%]*+)" (?:(= %s|IN {_LIST})|[<>=]++ %s)')
_TABLES = re.compile(rf"({_NAME})\.")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, named by the values of one column.

    Attributes:
        table, column: names without quotes.
        first: position of the first value among the statement's parameters, from 0.
        count: how many values there are, one behind the other.
    """

    table: str
    column: str
    first: int
    count: int


def rows_of(sql: object) -> tuple[Rows, ...]:
    """Return what bounds the rows that a statement reads or writes; nothing where its shape is not a plain one.

    Each entry by itself holds all rows that the statement reads, or writes: of one table, and no others. An UPDATE leaves
    them in it, too: an entry by a column that gets a new value is left out. What triggers and foreign keys of the database
    do further is not in it. A statement that was asked for before costs a look-up. Never raises; thread-safe.

    Args:
        sql: as the execute wrapper got it; of what is not a str nothing is known.
    """
    if type(sql) is not str:
        return ()
    return _remembered(sql) if len(sql) <= LONGEST_REMEMBERED else _rows_of(sql)


def _rows_of(sql: str) -> tuple[Rows, ...]:
    where = sql.find(" WHERE ")
    tail = _TAIL.fullmatch(sql, where) if where > 0 else None
    head = _HEAD.fullmatch(sql, 0, where) if tail else None
    if head is None:
        return ()
    table, changes = head[1] or head[2] or head[3], head[4] or ""
    if set(_TABLES.findall(sql, where)) != {table}:
        return ()
    position, bounds = sql.count("%s", 0, where), []
    for compared in _COMPARISON.finditer(sql, where):
        column, count = compared[1], compared[0].count("%s")
        if compared[2] and not _names(changes, column):
            bounds.append(Rows(table[1:-1], column, position, count))
        position += count
    return tuple(bounds)


def _names(changes: str, column: str) -> bool:
    # In whatever way: "id" = %s, id=%s, ("id", "a") = (%s, %s). What is set is never named with its table.
    return re.search(rf"(?<![\w$.])(?<!\.\"){re.escape(column)}(?![\w$])", changes, re.IGNORECASE) is not None


_remembered = lru_cache(maxsize=REMEMBERED)(_rows_of)
