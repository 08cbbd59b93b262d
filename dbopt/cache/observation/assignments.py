"""What a statement sets on its session of the database: SET, set_config(), RESET, DISCARD.

Where its text does not tell, the answer is the careful one: it may have set anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from dbopt.statements import text_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from dbopt.statements import Statement


class Special(Enum):
    """Values that are no text: what the session was opened with, and what nobody can tell."""

    DEFAULT = "default"
    UNKNOWN = "unknown"


# In place of a name: all settings that RESET ALL resets, all that DISCARD ALL does, and any of them.
ALL, DISCARDED, ANY = "ALL", "DISCARDED", "ANY"
AUTHORIZATION, ROLE = "session_authorization", "role"


class Assignment(NamedTuple):
    """One setting gets a value.

    Attributes:
        name: in lower case; or ALL, DISCARDED, ANY.
        value: as it was written, which is equal only where the value is; or one that is no text.
        is_local: for the transaction alone.
    """

    name: str
    value: str | Special
    is_local: bool = False


_VERBS = frozenset({"set", "reset", "discard"})
_ANYTHING = (Assignment(ANY, Special.UNKNOWN),)

# Settings that change how a query runs, not which rows it finds. Every other one may.
_HARMLESS = re.compile(
    r".*(_timeout|_mem|_cost|_collapse_limit|_isolation|_read_only|_deferrable|_tablespaces?)"
    r"|(enable|jit|geqo|log|track|max_parallel|parallel|debug|effective|vacuum|commit|wal|auto_explain)[_.].*"
    r"|jit|geqo|application_name|client_min_messages|synchronous_commit|plan_cache_mode|session_replication_role"
    r"|client_encoding|temp_buffers|min_parallel_.*|hash_mem_multiplier|default_statistics_target|check_function_bodies"
)
_NO_SETTING = re.compile(r"SET\s+(SESSION\s+CHARACTERISTICS|(LOCAL\s+)?TRANSACTION|CONSTRAINTS|NAMES)\b", re.IGNORECASE)
_SPOKEN = {"time zone": "timezone", "session authorization": AUTHORIZATION, "schema": "search_path"}
_NAME = r"TIME\s+ZONE|SESSION\s+AUTHORIZATION|(?:SCHEMA|ROLE)(?=\s+[^\s=])(?!\s+TO\b)"
_SET = re.compile(
    rf'SET\s+(?:(SESSION|LOCAL)\s+)?(?:({_NAME})\s|([\w."]+)\s*(?:=|\sTO\s))\s*(.+)', re.IGNORECASE | re.DOTALL
)
_RESET = re.compile(r'RESET\s+(TIME\s+ZONE|SESSION\s+AUTHORIZATION|[\w."]+)', re.IGNORECASE)
_ARGUMENT = r"\s*('(?:[^'\\]|'')*'|%s|true|false)\s*"
_CONFIG = re.compile(rf"\s*(?:pg_catalog\.)?set_config\({_ARGUMENT},{_ARGUMENT},{_ARGUMENT}\)\s*(,|$)", re.IGNORECASE)
_COMMENTS = re.compile(r"\A(?:\s*/\*[^*]*\*/)*\s*|\s*(?:/\*[^*]*\*/\s*)*;?\s*\Z")
# Behind many a change of a table, Django sets constraints.
_LATER = re.compile(r";\s*(SET(?!\s+CONSTRAINTS)|RESET|DISCARD)\b", re.IGNORECASE)


def assigns(statement: Statement, sql: object) -> bool:
    """Tell whether a statement, with this text, may set anything."""
    return (
        statement.verb in _VERBS
        or "set_config" in statement.functions
        or (statement.statements > 1 and _LATER.search(statement.text if statement.is_whole else str(sql)) is not None)
    )


def assignments(
    statement: Statement, connection: BaseDatabaseWrapper, *, sql: object, parameters: object, many: bool = False
) -> Sequence[Assignment]:
    """Return what a statement that assigns sets, as far as it may change which rows are found."""
    if statement.statements != 1 or many:
        return _ANYTHING
    found = _read(_COMMENTS.sub("", text_of(sql, connection)), statement.verb, parameters)
    if found is None:
        return _ANYTHING
    return [each for each in found if not _HARMLESS.fullmatch(each.name)]


def _read(text: str, verb: str, parameters: object) -> list[Assignment] | None:
    if verb == "discard":
        return [Assignment(DISCARDED, Special.DEFAULT)] if text.upper().split()[1:] == ["ALL"] else []
    if verb == "reset":
        match = _RESET.fullmatch(text)
        return None if match is None else [Assignment(_name(match[1]), Special.DEFAULT)]
    if verb != "set":
        return _configured(text, _values(parameters))
    if _NO_SETTING.match(text):
        return []
    match = _SET.fullmatch(text)
    if match is None:
        return None
    name = _name(match[2] or match[3])
    value = _value(match[4], name, _values(parameters))
    return [Assignment(name, value, (match[1] or "").upper() == "LOCAL")]


def _configured(text: str, values: Iterator[object] | None) -> list[Assignment] | None:
    """Read a SELECT of nothing but calls of set_config()."""
    if text[:7].upper() != "SELECT " or values is None:
        return None
    found, at = [], 7
    while at < len(text):
        match = _CONFIG.match(text, at)
        if match is None:
            return None
        name, value, is_local = (_argument(part, values) for part in match.groups()[:3])
        if (
            not isinstance(name, str)
            or not isinstance(is_local, bool)
            or (match[4] == ",") != (match.end() < len(text))
        ):
            return None
        # Not the text alone: SET would read a list in it.
        found.append(Assignment(name.lower(), _held(value), is_local))
        at = match.end()
    return found


def _argument(part: str, values: Iterator[object]) -> object:
    if part == "%s":
        return next(values, None)
    return part[1:-1].replace("''", "'") if part[0] == "'" else part.lower() == "true"


def _value(text: str, name: str, values: Iterator[object] | None) -> str | Special:
    if text == "%s" and values is not None:
        return _held(next(values, None))
    if "%" in text:
        return Special.UNKNOWN
    word = text.upper()
    if word == "DEFAULT" or (word, name) in {("NONE", ROLE), ("LOCAL", "timezone")}:
        return Special.DEFAULT
    return text


def _held(value: object) -> str | Special:
    # Behind a sign that no value in a text begins with.
    return f"%{type(value).__name__}:{value}" if isinstance(value, (str, int)) else Special.UNKNOWN


def _values(parameters: object) -> Iterator[object] | None:
    if parameters is None:
        return iter(())
    return iter(parameters) if isinstance(parameters, (list, tuple)) else None


def _name(written: str) -> str:
    name = " ".join(written.lower().replace('"', "").split())
    return ALL if name == "all" else _SPOKEN.get(name, name)
