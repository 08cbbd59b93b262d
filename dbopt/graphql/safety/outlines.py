"""The outline of a document, read off its tokens: all that its limits count, without parsing it.

What is grammatical has exactly one outline. Of what is not, the outline is a guess, and the parser refuses it.
"""

# ruff: noqa: S105  tokens of GraphQL are no secrets

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

_OPENING, _CLOSING = frozenset("{[("), frozenset("}])")
_FRAGMENT = "fragment"
_KINDS = frozenset(("query", "mutation", "subscription", _FRAGMENT))
_ON = "... on"
_VARIABLE = "$"


@dataclass(slots=True, eq=False)
class SelectionOutline:
    """What stands between two braces. Inline fragments are part of what is around them.

    Attributes:
        keys: of its fields, in the response.
        names: of the same fields, in the schema.
        below: what is selected of a field, with the number of that field.
    """

    keys: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    below: list[tuple[int, SelectionOutline]] = field(default_factory=list)
    spreads: list[str] = field(default_factory=list)
    aliases: int = 0
    directives: int = 0


@dataclass(slots=True, eq=False)
class Outline:
    """A document.

    Attributes:
        nesting: deepest brackets of any kind.
        definitions: all operations and fragments, also those that have the name of another.
        fragments: by name; the last, where several have one.
        names: those that the schema must know, as often as they are there: of fields, types, arguments of fields and of
            directives, directives; not of what is in values, where a scalar may take anything.
        repeated: names that are there again where they may be but once.
        defined: how often a variable is defined, by its name.
        used: how often a variable is used.
    """

    nesting: int = 0
    definitions: list[SelectionOutline] = field(default_factory=list)
    fragments: dict[str, SelectionOutline] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    spreads: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    defined: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)


def outline_of(tokens: Iterable[str]) -> Outline:
    """Return the outline of a document. Linear, never fails."""
    reader = _Reader()
    for token in tokens:
        if token in _OPENING:
            reader.enter(token)
        elif token in _CLOSING:
            reader.leave(token)
        elif token[0] != "#":
            reader.read(token)
    return reader.outline


class _Reader:
    """Follows the brackets: first those of selections, then those of arguments within them."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._nesting = 0
        self._selections: list[SelectionOutline] = []
        # The keys in each bracket.
        self._arguments: list[set[str]] = []
        self._previous = ""
        # Three dots were read that are no spread: the next brace is that of an inline fragment.
        self._is_inline = False
        self._kind = self._name = ""
        self._definition = SelectionOutline()
        self._defined: set[tuple[bool, str]] = set()

    def enter(self, token: str) -> None:
        self._nesting += 1
        self.outline.nesting = max(self.outline.nesting, self._nesting)
        if token == "(" or self._arguments:
            self._arguments.append(set())
        elif token == "{":
            self._selections.append(self._entered())
        self._previous = token

    def _entered(self) -> SelectionOutline:
        if not self._selections:
            return self._define()
        around = self._selections[-1]
        if self._is_inline:
            self._is_inline = False
            return around
        entered = SelectionOutline()
        if around.keys:
            around.below.append((len(around.keys) - 1, entered))
        return entered

    def _define(self) -> SelectionOutline:
        definition, is_fragment, name = self._definition, self._kind == _FRAGMENT, self._name
        self._kind, self._name, self._definition = "", "", SelectionOutline()
        self.outline.definitions.append(definition)
        self.outline.repeated += (is_fragment, name) in self._defined
        self._defined.add((is_fragment, name))
        if is_fragment:
            self.outline.fragments[name] = definition
        return definition

    def leave(self, token: str) -> None:
        self._nesting -= 1
        if self._arguments:
            self._arguments.pop()
        elif token == "}" and self._selections:
            self._selections.pop()
        self._previous = token

    def read(self, token: str) -> None:
        previous, self._previous = self._previous, token
        if token == "@":
            (self._selections[-1] if self._selections else self._definition).directives += 1
        elif previous == "@":
            self.outline.names.append(token)
        elif self._arguments:
            self._read_argument(token, previous)
        elif previous == "..." and token == "on":
            self._previous = _ON
        elif previous == _ON:
            self.outline.names.append(token)
        elif self._selections:
            self._read_selection(self._selections[-1], token, previous)
        else:
            self._read_heading(token, previous)

    def _read_argument(self, token: str, previous: str) -> None:
        if previous == _VARIABLE:
            self._previous = _VARIABLE + token
            self.outline.used[token] += 1
        elif token == ":":
            keys = self._arguments[-1]
            self.outline.repeated += previous in keys
            keys.add(previous)
            if previous[0] == _VARIABLE:
                self.outline.used[previous[1:]] -= 1
                self.outline.defined[previous[1:]] += 1
            elif len(self._arguments) == 1:
                self.outline.names.append(previous)

    def _read_selection(self, selection: SelectionOutline, token: str, previous: str) -> None:
        if token == "...":
            self._is_inline = True
        elif token == ":":
            selection.aliases += 1
        elif not token.isidentifier():
            pass
        elif previous == "...":
            self._is_inline = False
            selection.spreads.append(token)
            self.outline.spreads[token] += 1
        elif previous == ":" and selection.names:
            # What seemed to be a name was an alias.
            selection.names[-1] = self.outline.names[-1] = token
        else:
            selection.keys.append(token)
            selection.names.append(token)
            self.outline.names.append(token)

    def _read_heading(self, token: str, previous: str) -> None:
        if previous in _KINDS:
            self._name, self._previous = token, ""
        elif token in _KINDS:
            self._kind = token
        elif token == "on":
            self._previous = _ON
        elif token.isidentifier():
            # A definition of another kind, which no operation is.
            self.outline.names.append(token)
