"""The text of a document before it is parsed: what can be counted in one pass, in C for the most part.

Parsing costs ten microseconds a token, so a text that is too large in any way is refused without it.
"""

# ruff: noqa: S105  tokens of GraphQL are no secrets

from __future__ import annotations

import re
from dataclasses import dataclass

# The lexical grammar of GraphQL; possessive, and a string need not end, so that no text makes it go back.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\"""|\\|"(?!""))*+(?:""")?'
    r'|"(?:[^"\\\n\r]|\\[^\n\r])*+"?'
    r"|#[^\n\r]*+"
    r"|\.\.\."
    r"|[_A-Za-z][_0-9A-Za-z]*+"
    r"|-?[0-9][_0-9A-Za-z.+-]*+"
    r"|[^\s,\ufeff]"
)
_OPENING, _CLOSING = frozenset("{[("), frozenset("}])")
_ON = "... on"
_NO_FIELD_AFTER = frozenset(("@", "...", _ON, ":"))


@dataclass(slots=True)
class Counts:
    """What a text has at least; fragments are counted once, where they are defined.

    Attributes:
        nesting: deepest brackets of any kind.
        merges: pairs of fields with the same key side by side in one selection set.
    """

    nesting: int = 0
    definitions: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    merges: int = 0


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a text, comments too. Linear, never fails: what is no GraphQL is left to the parser."""
    return _TOKEN.findall(text)


def count(tokens: list[str]) -> Counts:
    """Count what the tokens of a text amount to. Linear, never fails."""
    reader = _Reader(Counts())
    for token in tokens:
        if token in _OPENING:
            reader.enter(token)
        elif token in _CLOSING:
            reader.leave(token)
        elif not reader.arguments and token[0] != "#":
            reader.read(token)
    return reader.counts


class _Reader:
    """Follows the brackets; sets are the keys, with their number, of the selection sets that are open."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.arguments = 0
        self.sets: list[dict[str, int]] = []
        self._open = 0
        self._previous = ""

    def enter(self, token: str) -> None:
        self._open += 1
        self.counts.nesting = max(self.counts.nesting, self._open)
        if token == "(":
            self.arguments += 1
        elif token == "{" and not self.arguments:
            self.counts.definitions += not self.sets
            self.sets.append({})
            self._previous = token

    def leave(self, token: str) -> None:
        self._open -= 1
        if token == ")":
            self.arguments = max(self.arguments - 1, 0)
            self._previous = token
        elif token == "}" and not self.arguments and self.sets:
            self.sets.pop()
            self._previous = token

    def read(self, token: str) -> None:
        previous, self._previous = self._previous, token
        if previous == "..." and token == "on":
            self._previous = _ON
        elif token == "@":
            self.counts.directives += 1
        elif token == ":":
            self.counts.aliases += bool(self.sets)
        elif self.sets and previous not in _NO_FIELD_AFTER and token.isidentifier():
            self._add_field(token)

    def _add_field(self, key: str) -> None:
        keys = self.sets[-1]
        same = keys[key] = keys.get(key, 0) + 1
        self.counts.fields += 1
        self.counts.merges += same - 1
