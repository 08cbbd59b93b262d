"""The text of a document before it is parsed: what can be counted in one pass, in C for the most part.

Parsing costs ten microseconds a token, so a text that is too large in any way is refused without it.
"""

# ruff: noqa: S105  tokens of GraphQL are no secrets

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

# The lexical grammar of GraphQL; possessive, and a string need not end, so that no text makes it go back.
_BLOCK_STRING = r'"""(?:[^"\\]|\\"""|\\|"(?!""))*+'
_STRING = r'"(?:[^"\\\n\r]|\\[^\n\r])*+'
_TOKEN = re.compile(
    rf'{_BLOCK_STRING}(?:""")?|{_STRING}"?'
    r"|#[^\n\r]*+"
    r"|\.\.\."
    r"|[_A-Za-z][_0-9A-Za-z]*+"
    r"|-?[0-9][_0-9A-Za-z.+-]*+"
    r"|[^\s,\ufeff]"
)
_ENDED_STRING = re.compile(rf'{_BLOCK_STRING}"""|{_STRING}"')
_OPENING, _CLOSING = frozenset("{[("), frozenset("}])")
_ON = "... on"
_NO_FIELD_AFTER = frozenset(("@", "...", _ON, ":"))

# Fragments in fragments that are followed here; those below count once, and are left to the parsed document.
_MAX_STEPS = 100


@dataclass(slots=True)
class Counts:
    """What a text has at least; fragments are counted once, where they are defined, but for fields.

    Attributes:
        nesting: deepest brackets of any kind.
        fields: of all definitions together, or of the largest with fragments put in place, whichever is more.
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


def endless_string(text: str, tokens: list[str]) -> int | None:
    """Return where a string begins that never ends, None where all do. The parser reads strings character by character."""
    if all(_ENDED_STRING.fullmatch(token) for token in tokens if token[0] == '"'):
        return None
    found = (match for match in _TOKEN.finditer(text) if match[0][0] == '"')
    return next(match.start() for match in found if not _ENDED_STRING.fullmatch(match[0]))


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
    reader.put_fragments_in_place()
    return reader.counts


@dataclass(slots=True, eq=False)
class _Definition:
    """An operation or a fragment: its own fields, and how often it spreads which fragment."""

    fields: int = 0
    spreads: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    expanded: int | None = None


class _Reader:
    """Follows the brackets; sets are the keys, with their number, of the selection sets that are open."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.arguments = 0
        self.sets: list[dict[str, int]] = []
        self._open = 0
        self._previous = ""
        self._definition = _Definition()
        self._operations: list[_Definition] = []
        self._fragments: dict[str, _Definition] = {}
        self._name: str | None = None

    def enter(self, token: str) -> None:
        self._open += 1
        self.counts.nesting = max(self.counts.nesting, self._open)
        if token == "(":
            self.arguments += 1
        elif token == "{" and not self.arguments:
            if not self.sets:
                self._define()
            self.sets.append({})
            self._previous = token

    def _define(self) -> None:
        self.counts.definitions += 1
        self._definition = _Definition()
        if self._name is None:
            self._operations.append(self._definition)
        else:
            self._fragments[self._name] = self._definition
            self._name = None

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
        elif not self.sets and previous == "fragment":
            self._name = token
        elif self.sets and previous == "...":
            self._definition.spreads[token] += 1
        elif self.sets and previous not in _NO_FIELD_AFTER and token.isidentifier():
            self._add_field(token)

    def _add_field(self, key: str) -> None:
        keys = self.sets[-1]
        same = keys[key] = keys.get(key, 0) + 1
        self._definition.fields += 1
        self.counts.fields += 1
        self.counts.merges += same - 1

    def put_fragments_in_place(self) -> None:
        """Raise the number of fields to that of the largest definition, each fragment counted where it is spread."""
        definitions = [*self._operations, *self._fragments.values()]
        self.counts.fields = max([self.counts.fields, *(self._expanded(each, _MAX_STEPS) for each in definitions)])

    def _expanded(self, definition: _Definition, steps: int) -> int:
        if definition.expanded is None:
            # Until it is known, for a fragment that spreads itself: the parsed document is searched for cycles.
            definition.expanded = total = definition.fields
            for name, times in definition.spreads.items() if steps else ():
                fragment = self._fragments.get(name)
                total += times * self._expanded(fragment, steps - 1) if fragment is not None else 0
            definition.expanded = total
        return definition.expanded
