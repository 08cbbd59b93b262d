"""One reader of SQL text for monitoring, cache and router: verb, names, fingerprint.

It reads tokens, not grammar: one pass, linear in the length of the text, and never an exception.
Where a text does not tell, the answer is the careful one: it writes, the name may be a table's.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

from dbopt.statements.memory import LONGEST_REMEMBERED, REMEMBERED, Memory
from dbopt.statements.reading import Reading
from dbopt.statements.rows import Rows, rows_of
from dbopt.statements.words import OPERATIONS

__all__ = [
    "LONGEST_REMEMBERED",
    "LONGEST_TEXT",
    "REMEMBERED",
    "Rows",
    "Statement",
    "read_statement",
    "remembered",
    "rows_of",
]

LONGEST_TEXT = 8192


class Statement(NamedTuple):
    """What the text of a statement says, without its values. A tuple, because a dataclass takes five times as long.

    Attributes:
        verb: first keyword, lower-case; of ``WITH`` the statement behind the common tables; empty for an empty text.
        operation: select, insert, update, delete, txn, ddl or other: a closed set, fit for a metric label.
        writes: it may change rows or definitions, also inside ``WITH``; True where the text does not tell (EXECUTE).
            What a called function writes does not show: see `functions`.
        locks: it locks rows or tables (FOR UPDATE and its like, LOCK TABLE).
        volatile: its answer may change without any write (now(), random(), nextval(), 'today' ...).
        identifiers: names in it, unquoted ones folded to lower case; every table it names is among them.
        functions: names directly before a parenthesis, without schema.
        cascade: the word CASCADE stands in it.
        isolation: level in lower case that a SET TRANSACTION, SET SESSION CHARACTERISTICS, BEGIN or START chooses;
            ``unknown`` of a set_config() that names it.
        statements: how many statements the text holds; `verb` and `operation` are those of the first.
        text: normalised: values as ``?``, lists collapsed, comments gone; at most LONGEST_TEXT characters.
        fingerprint: 16 hexadecimal digits of the normalised text; the same in every process.
        is_whole: the normalised text was not cut.
        only_reads: it is one SELECT or VALUES that neither writes nor sets anything; what its functions do does not show.
    """

    verb: str
    operation: str
    writes: bool
    locks: bool
    volatile: bool
    identifiers: frozenset[str]
    functions: frozenset[str]
    cascade: bool
    isolation: str | None
    statements: int
    text: str
    fingerprint: str
    is_whole: bool = True
    only_reads: bool = False


remembered: Memory[Statement] = Memory()
"""For who cannot afford to call :func:`read_statement`: what it read, by text, as far as it is at hand."""


def read_statement(sql: object, connection: Any = None) -> Statement:
    """Read a statement; one that was read before costs a look-up.

    Never raises: what cannot be read at all has an empty text and counts as a write. Thread-safe.

    Args:
        sql: str, bytes, or an object with ``as_string`` (``psycopg.sql``), which is not remembered.
        connection: Django's connection; lets ``psycopg.sql`` objects be read as they will be sent.
    """
    if type(sql) is str:
        known = remembered.young.get(sql)
        return known if known is not None else _remember(sql)
    try:
        text = text_of(sql, connection)
        is_composed = hasattr(sql, "as_string")
    except Exception:  # noqa: BLE001 - a foreign object; the driver will tell the caller what is wrong with it
        return _UNREADABLE
    return _read(text) if is_composed else _remember(text)


def text_of(sql: object, connection: Any = None) -> str:
    """Return the text of what is given to a cursor; arguments as for :func:`read_statement`.

    Raises:
        Exception: whatever a foreign object raises that has no text.
    """
    if isinstance(sql, (bytes, bytearray, memoryview)):
        return bytes(sql).decode("utf-8", "replace")
    as_string = getattr(sql, "as_string", None)
    return str(sql if as_string is None else as_string(getattr(connection, "connection", None)))


def _remember(text: str) -> Statement:
    statement = remembered.young.get(text)
    if statement is None:
        statement = remembered.old.get(text) or _read(text)
        remembered.keep(text, statement)
    return statement


def _read(text: str) -> Statement:
    reading = Reading(text)
    normal = str(reading.text)
    is_whole = len(normal) <= LONGEST_TEXT
    normal = normal if is_whole else normal[:LONGEST_TEXT]
    # By position: names would double the time it takes.
    return Statement(
        reading.verb,
        OPERATIONS.get(reading.verb, "other"),
        reading.writes,
        reading.locks,
        reading.volatile,
        frozenset(reading.identifiers),
        frozenset(reading.functions),
        reading.cascade,
        reading.isolation,
        reading.statements,
        normal,
        _fingerprint(normal),
        is_whole,
        reading.statements == 1
        and reading.verb in ("select", "values")
        and not reading.writes
        and reading.isolation is None
        and "set_config" not in reading.functions,
    )


def _fingerprint(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


_UNREADABLE = Statement(
    verb="",
    operation="other",
    writes=True,
    locks=False,
    volatile=True,
    identifiers=frozenset(),
    functions=frozenset(),
    cascade=False,
    isolation=None,
    statements=0,
    text="",
    fingerprint=_fingerprint(""),
)
