"""One reader of SQL text for monitoring, cache and router: verb, identifiers, fingerprint.

It reads tokens, not grammar: one pass, linear in the length of the text, never an exception.
Quoting rules are those of PostgreSQL 18, chapter 4.1 (Lexical Structure).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import Any

REMEMBERED = 2048
LONGEST_REMEMBERED = 8192

_TOKEN = re.compile(
    r"""
    (?P<space>\s++)
  | (?P<comment>--[^\n]*+|/\*)
  | (?P<quoted>"(?:[^"]|"")*+"?)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+'?)
  | (?P<string>(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*+'?)
  | (?P<dollar>\$(?:[^\W\d]\w*+)?\$)
  | (?P<value>%s|%\([^()]*+\)s|\$\d++|(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)
  | (?P<word>[^\W\d][\w$]*+)
  | (?P<other>::|%%|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")

_WRITES = frozenset(
    [
        "insert",
        "update",
        "delete",
        "merge",
        "truncate",
        "copy",
        "alter",
        "drop",
        "create",
        "call",
        "do",
        "refresh",
        "execute",
        "grant",
        "revoke",
        "import",
        "reindex",
        "comment",
        "reassign",
        "security",
        "cluster",
        "lock",
        "load",
    ]
)
_DDL = frozenset(
    [
        "alter",
        "drop",
        "create",
        "refresh",
        "grant",
        "revoke",
        "reindex",
        "comment",
        "reassign",
        "security",
        "cluster",
        "import",
    ]
)
_TRANSACTION = frozenset(
    [
        "begin",
        "start",
        "commit",
        "end",
        "rollback",
        "savepoint",
        "release",
        "abort",
        "set",
        "reset",
        "show",
        "prepare",
        "discard",
        "checkpoint",
    ]
)
_READS = frozenset(["select", "values", "table", "declare", "fetch"])
_INNER_WRITES = frozenset(("insert", "update", "delete", "merge"))
# Words before UPDATE that make it a lock or a part of another clause, not a statement.
_NOT_A_STATEMENT = frozenset(("for", "key", "do", "on", "then"))
_VOLATILE_WORDS = frozenset(
    ["current_timestamp", "current_time", "current_date", "localtime", "localtimestamp", "current_user", "session_user"]
)
_VOLATILE_FUNCTIONS = frozenset(
    [
        "now",
        "random",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "timeofday",
        "gen_random_uuid",
        "uuid_generate_v4",
        "uuidv4",
        "uuidv7",
        "nextval",
        "currval",
        "lastval",
        "setval",
        "set_config",
        "current_setting",
        "random_normal",
        "setseed",
        "txid_current",
        "pg_current_xact_id",
        "pg_backend_pid",
    ]
)
_RESERVED = frozenset(
    [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "both",
        "by",
        "case",
        "cast",
        "check",
        "collate",
        "column",
        "constraint",
        "create",
        "cross",
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "delete",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "exists",
        "false",
        "fetch",
        "filter",
        "for",
        "foreign",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "insert",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "merge",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "over",
        "primary",
        "references",
        "returning",
        "right",
        "rows",
        "select",
        "session_user",
        "set",
        "similar",
        "some",
        "symmetric",
        "then",
        "to",
        "trailing",
        "true",
        "truncate",
        "union",
        "unique",
        "update",
        "using",
        "values",
        "variadic",
        "when",
        "where",
        "window",
        "with",
    ]
)
# Between such a word and an opening parenthesis stands a space; between a function and its parenthesis does not.
_ISOLATION = re.compile(r"isolation level (serializable|repeatable read|read committed|read uncommitted)")
_COLLAPSE = (
    (re.compile(r"(?<![\w?)\]] )-(?: )?\?"), "?"),
    (re.compile(r"\?(?:::\w+(?:\(\?(?:, \?)*\))?(?:\[\])?)+"), "?"),
    (re.compile(r"\((?:\?|DEFAULT)(?:, (?:\?|DEFAULT))+\)"), "(?...)"),
    (re.compile(r"\b(IN|ANY|ALL) ?\(\?\)"), r"\1 (?...)"),
    (re.compile(r"\bVALUES (\((?:[^()]|\([^()]*\))*\))(?:, \((?:[^()]|\([^()]*\))*\))+"), r"VALUES \1..."),
    (re.compile(r"(?:\bWHEN (?:(?!\bWHEN\b|\bCASE\b|\bEND\b).)+? THEN \? ?){2,}"), "WHEN ... "),
    (re.compile(r"\b(SAVEPOINT|DECLARE|CLOSE|MOVE|FORWARD FROM) (?:\"[^\"]*\"|\w+)"), r"\1 ?"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What the text of a statement says, without its values.

    Attributes:
        verb: first keyword, lower-case; of ``WITH`` the statement behind the CTEs; empty for an empty text.
        operation: select, insert, update, delete, txn, ddl or other: a closed set, fit for a metric label.
        writes: it may change data or definitions; True also where the text does not tell (EXECUTE, DO).
        locks: it locks rows (FOR UPDATE and its like).
        volatile: its answer may differ without any write (now(), random(), nextval() ...).
        identifiers: names in it, unquoted ones lower-cased; every table it touches is among them.
        functions: names directly before a parenthesis, lower-cased.
        cascade: the word CASCADE stands in it.
        isolation: level that a SET TRANSACTION or SET SESSION CHARACTERISTICS chooses.
        statements: how many statements the text holds.
        text: normalised: values as ``?``, lists collapsed, comments gone.
        fingerprint: 16 hex digits of the normalised text; the same in every process.
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


_remembered: OrderedDict[str, Statement] = OrderedDict()
_lock = Lock()


def read_statement(sql: object, connection: Any = None) -> Statement:
    """Read a statement; a text seen before costs a look-up.

    Args:
        sql: str, bytes, or an object with ``as_string`` (``psycopg.sql``).
        connection: Django's connection; lets ``psycopg.sql`` objects be read as they will be sent.
    """
    text = sql if type(sql) is str else _text_of(sql, connection)
    known = _remembered.get(text)
    if known is not None:
        return known
    statement = _read(text)
    if len(text) <= LONGEST_REMEMBERED:
        with _lock:
            _remembered[text] = statement
            if len(_remembered) > REMEMBERED:
                _remembered.popitem(last=False)
    return statement


def _text_of(sql: object, connection: Any) -> str:
    if isinstance(sql, (bytes, bytearray, memoryview)):
        return bytes(sql).decode("utf-8", "replace")
    as_string = getattr(sql, "as_string", None)
    if as_string is not None:
        return str(as_string(getattr(connection, "connection", None)))
    return str(sql)


def _tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, token) for what is neither space nor comment; values come as ("value", "?")."""
    position, end = 0, len(sql)
    match = _TOKEN.match
    while position < end:
        found = match(sql, position)
        if found is None:  # pragma: no cover - the last alternative takes any character
            return
        kind, token, position = found.lastgroup or "other", found.group(), found.end()
        if kind == "space":
            continue
        if kind == "comment":
            if token == "/*":
                position = _end_of_comment(sql, position)
        elif kind == "dollar":
            closing = sql.find(token, position)
            position = end if closing < 0 else closing + len(token)
            yield "value", "?"
        elif kind in ("escaped", "string", "value"):
            yield "value", "?"
        else:
            yield kind, token


def _end_of_comment(sql: str, position: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


class _Reading:
    """Facts gathered while the tokens go by."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.verb = ""
        self.depth = 0
        self.statements = 0
        self.fresh = True
        self.with_list = False
        self.writes = False
        self.locks = False
        self.cascade = False
        self.volatile = False
        self.identifiers: set[str] = set()
        self.functions: set[str] = set()

    def word(self, word: str, previous: str) -> None:
        if self.fresh:
            self._begin(word)
        elif self.with_list and self.depth == 0 and word in _INNER_WRITES | _READS:
            self.with_list = False
            self.verb = self.verb if self.statements > 1 else word
        if (word in _INNER_WRITES and previous not in _NOT_A_STATEMENT) or (
            word == "into" and self.verb in ("select", "with")
        ):
            self.writes = True
        self.locks = self.locks or (previous == "for" and word in ("update", "share", "no", "key"))
        self.cascade = self.cascade or word == "cascade"
        self.volatile = self.volatile or word in _VOLATILE_WORDS
        if word not in _RESERVED:
            self.identifiers.add(word)

    def _begin(self, word: str) -> None:
        self.fresh = False
        self.statements += 1
        self.with_list = word == "with"
        if not self.verb:
            self.verb = word
        self.writes = self.writes or word in _WRITES

    def parenthesis(self, previous_kind: str, previous: str) -> None:
        self.depth += 1
        if previous_kind in ("word", "quoted"):
            self.functions.add(previous.strip('"').lower())


def _read(sql: str) -> Statement:
    reading, parts = _Reading(), []
    previous_kind, previous = "", ""
    kept = 0
    for kind, token in _tokens(sql):
        lowered = token.lower() if kind == "word" else token
        if kind == "word":
            reading.word(lowered, previous)
            if lowered in ("null", "true", "false"):
                kind, token = "value", "?"  # noqa: PLW2901
            elif lowered in _RESERVED or lowered == reading.verb:
                token = token.upper()  # noqa: PLW2901
        elif kind == "quoted":
            reading.identifiers.add(token.strip('"').replace('""', '"'))
        elif token == "(":
            reading.parenthesis(previous_kind, previous)
        elif token == ")":
            reading.depth -= 1
        elif token == ";" and reading.depth <= 0:
            reading.fresh, reading.depth = True, 0
        if kept <= LONGEST_REMEMBERED:
            kept += len(token) + 1
            parts.append(_spaced(token, kind, previous_kind, previous))
        previous_kind, previous = kind, lowered
    return _statement(reading, "".join(parts).strip(" ;"))


def _spaced(token: str, kind: str, previous_kind: str, previous: str) -> str:
    """The token with the space that belongs before it, whatever stood there in the source."""
    if token in (",", ")", ".", "]", "[", "::", ";") or previous in ("", "(", ".", "[", "::"):
        return token
    if token == "(" and previous_kind in ("word", "quoted") and previous not in _RESERVED:
        return token
    return f" {token}"


def _statement(reading: _Reading, text: str) -> Statement:
    for pattern, replacement in _COLLAPSE:
        text = pattern.sub(replacement, text)
    volatile = reading.volatile or not _VOLATILE_FUNCTIONS.isdisjoint(reading.functions)
    isolation = _ISOLATION.search(text.lower()) if reading.verb in ("set", "begin", "start") else None
    # COPY ... TO and EXPLAIN without ANALYZE only read.
    writes = reading.writes
    if reading.verb == "copy" and re.search(r"\bTO (?:STDOUT|\?|PROGRAM)", text, re.IGNORECASE) is not None:
        writes = False
    if reading.verb == "explain":
        writes = writes and "ANALYZE" in text.upper()
    return Statement(
        verb=reading.verb,
        operation=_operation(reading.verb),
        writes=writes,
        locks=reading.locks,
        volatile=volatile,
        identifiers=frozenset(reading.identifiers),
        functions=frozenset(reading.functions),
        cascade=reading.cascade,
        isolation=isolation.group(1) if isolation else None,
        statements=reading.statements,
        text=text,
        fingerprint=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest(),
    )


def _operation(verb: str) -> str:
    if verb in ("insert", "update", "delete"):
        return verb
    if verb in _READS:
        return "select"
    if verb in _TRANSACTION:
        return "txn"
    if verb in _DDL or verb == "truncate":
        return "ddl"
    return "other"
