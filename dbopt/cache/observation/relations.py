"""Which relations a statement reads that no model stands for: raw tables, views, what other programs made.

The normalised text of :class:`~dbopt.statements.Statement` is scanned for names behind FROM, JOIN and their commas.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(r'"(?:[^"]|"")*"(?:\."(?:[^"]|"")*"|\.\w+)*|\w+(?:\.\w+|\."(?:[^"]|"")*")*|[(),]')
_COMMON_TABLE = re.compile(r'("(?:[^"]|"")*"|\w+)(?: ?\([^()]*\))? AS (?:NOT )?(?:MATERIALIZED ?)?\(', re.IGNORECASE)

# Where the list of a FROM ends.
_ENDS = frozenset(
    ["WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "WINDOW", "FOR", "FETCH"]
)
_PASSED_OVER = frozenset(["LATERAL", "ONLY"])
_SELECTS = frozenset(["SELECT", "VALUES", "WITH"])


# Not behind DO and THEN, where SET follows, nor behind ON and FOR.
_TARGET = re.compile(
    r"(?:\bINTO|(?<!\bFOR )(?<!\bON )\bUPDATE|\bDELETE FROM|\bTRUNCATE(?: TABLE)?|\bCOPY)(?: ONLY)? (?!SET\b)"
    r'((?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))*)'
)


@lru_cache(maxsize=2048)
def targets_of(text: str) -> frozenset[str]:
    """Return the names of what a normalised text inserts into, updates, deletes from, merges, copies into or truncates."""
    return frozenset(map(_unquoted, _TARGET.findall(text)))


@lru_cache(maxsize=2048)
def relations_of(text: str) -> frozenset[str]:
    """Return the names in the FROM lists of a normalised text, without schemas, quotes and common table expressions."""
    scan = _Scan()
    tokens = _TOKEN.findall(text)
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        scan.see(token, following)
    common = {_unquoted(name) for name in _COMMON_TABLE.findall(text)}
    return frozenset(scan.found - common)


class _Scan:
    """Where in the text we are; one level for each open parenthesis."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._levels: list[_Level] = [_Level()]
        self._expected = False
        self._previous = ""

    def see(self, part: str, following: str) -> None:
        word = part.upper()
        if part == "(":
            self._levels.append(_Level())
        elif part == ")":
            self._levels = self._levels[:-1] or [_Level()]
            self._expected = False
        elif part == ",":
            self._expected = self._levels[-1].in_list
        elif self._expected:
            self._name(part, word, following)
        else:
            self._keyword(word)
        self._previous = word

    def _name(self, part: str, word: str, following: str) -> None:
        if word in _PASSED_OVER:
            return
        self._expected = False
        if word in _SELECTS:
            self._keyword(word)
        elif following != "(":
            self.found.add(_unquoted(part))

    def _keyword(self, word: str) -> None:
        level = self._levels[-1]
        if word == "SELECT":
            level.selects, level.in_list = True, False
        elif word == "FROM" and level.selects and self._previous != "DISTINCT":
            # EXTRACT(year FROM x) has no SELECT of its own, IS DISTINCT FROM has DISTINCT before it.
            self._expected = level.in_list = True
        elif word in ("JOIN", "TABLE"):
            self._expected = True
        elif word in _ENDS:
            level.in_list = False


class _Level:
    def __init__(self) -> None:
        self.selects = False
        self.in_list = False


def _unquoted(name: str) -> str:
    last = re.findall(r'"(?:[^"]|"")*"|\w+', name)[-1]
    return str(last[1:-1].replace('""', '"') if last.startswith('"') else last.lower())
