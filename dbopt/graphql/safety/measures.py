"""How large a document is once its fragments are put in place, without putting them in place."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dbopt.graphql.safety.outlines import Outline, SelectionOutline

INTROSPECTION = frozenset(("__schema", "__type"))

# Nested in each other, they multiply to the size of the schema to the power of their depth.
_LISTS_OF_INTROSPECTION = frozenset(("fields", "interfaces", "possibleTypes", "inputFields"))

# A step is two calls on Python's stack, which ends at a thousand, and four for the parser; no honest document comes near.
MAX_STEPS = 100


class TooDeepError(Exception):
    """Selections and fragments are nested deeper than `MAX_STEPS`."""


class FragmentCycleError(Exception):
    """A fragment spreads itself; the argument is its name."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The size of a document: for each number, that of its largest operation.

    Attributes:
        depth: levels of fields; introspection counts as one level.
        root_fields, fields, aliases, directives: with fragments put in place.
        merges: pairs of fields, and of fragments, that meet at one place of the response: validation compares each.
        introspects: whether ``__schema`` or ``__type`` is asked for.
        introspected_lists: levels of lists of fields and types below them.
    """

    depth: int
    root_fields: int
    fields: int
    aliases: int
    directives: int
    merges: int
    introspects: bool
    introspected_lists: int


class _Size(NamedTuple):
    depth: int = 0
    width: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    lists: int = 0


# Also of a fragment that there is none of.
_LEAF = _Size()


def measure(outline: Outline, *, max_fields: int | None, max_merges: int | None) -> Measure:
    """Measure a document in time linear to its text, whatever its fragments multiply to.

    Args:
        outline: of the document; its brackets are nested `MAX_STEPS` deep at most.
        max_fields: a document with more is not searched for merges, which would take as long as it is large.
        max_merges: the search ends when there are more.

    Raises:
        TooDeepError: it is nested too deeply to be looked at.
        FragmentCycleError: a fragment spreads itself.
    """
    walk = _Walk(outline.fragments)
    fragments = set(map(id, outline.fragments.values()))
    size = _Size()
    # All fragments are looked at: validation reads those that nobody spreads, too.
    for definition in outline.definitions:
        own = walk.size(definition, MAX_STEPS)
        if id(definition) in fragments:
            # Where it is spread decides about these: inside introspection, depth does not count.
            own = own._replace(depth=0, width=0)
        size = _Size(*map(max, size, own))
    merges = 0
    if max_merges is not None and max_fields is not None and size.fields <= max_fields:
        merges = walk.merges(outline, max_merges)
    return Measure(
        depth=size.depth,
        root_fields=size.width,
        fields=size.fields,
        aliases=size.aliases,
        directives=size.directives,
        merges=merges,
        introspects=walk.introspects,
        introspected_lists=walk.introspected_lists,
    )


class _Walk:
    """One pass over a document; each fragment is measured once."""

    def __init__(self, fragments: Mapping[str, SelectionOutline]) -> None:
        self.introspects = False
        self.introspected_lists = 0
        self._fragments = fragments
        self._known: dict[str, _Size] = {}
        self._open: set[str] = set()

    def size(self, selection: SelectionOutline, steps: int) -> _Size:
        if not steps:
            raise TooDeepError
        self.introspects = self.introspects or not INTROSPECTION.isdisjoint(selection.names)
        width = fields = len(selection.keys)
        depth, lists = min(width, 1), 0
        aliases, directives = selection.aliases, selection.directives
        for name, part in self._parts(selection, steps - 1):
            if name is None:
                depth = max(depth, part.depth)
                width += part.width
            elif name in INTROSPECTION:
                self.introspected_lists = max(self.introspected_lists, part.lists)
            else:
                depth = max(depth, part.depth + 1)
            lists = max(lists, part.lists + (name in _LISTS_OF_INTROSPECTION))
            fields += part.fields
            aliases += part.aliases
            directives += part.directives
        return _Size(depth, width, fields, aliases, directives, lists)

    def _parts(self, selection: SelectionOutline, steps: int) -> list[tuple[str | None, _Size]]:
        """Return the sizes of what is below the fields of a selection, with their names, and of what it spreads."""
        below = [(selection.names[number], self.size(each, steps)) for number, each in selection.below]
        return [*below, *((None, self._fragment(name, steps)) for name in selection.spreads)]

    def _fragment(self, name: str, steps: int) -> _Size:
        size = self._known.get(name)
        if size is not None:
            return size
        if name in self._open:
            raise FragmentCycleError(name)
        fragment = self._fragments.get(name)
        if fragment is None:
            return _LEAF
        self._open.add(name)
        size = self._known[name] = self.size(fragment, steps)
        self._open.remove(name)
        return size

    def merges(self, outline: Outline, limit: int) -> int:
        """Count pairs at all places of the response; `size` has proved that there are no cycles."""
        found = 0
        spread = {id(fragment) for name, fragment in outline.fragments.items() if outline.spreads[name]}
        # Fragments that nobody spreads are places of their own.
        places = [[definition] for definition in outline.definitions if id(definition) not in spread]
        seen: set[tuple[int, ...]] = set()
        while places and found <= limit:
            selections = places.pop()
            place = tuple(map(id, selections))
            if place in seen:
                # In a fragment that is spread in several places; validation, too, compares it once.
                continue
            seen.add(place)
            if [selection for selection in selections if selection.spreads]:
                selections, spreads = self._in_place(selections)
                found += _pairs(spreads)
            keys = [key for selection in selections for key in selection.keys]
            if len(set(keys)) < len(keys):
                found += sum(map(_pairs, Counter(keys).values()))
            below = defaultdict(list)
            for selection in selections:
                for number, each in selection.below:
                    below[selection.keys[number]].append(each)
            places += below.values()
        return found

    def _in_place(self, selections: list[SelectionOutline]) -> tuple[list[SelectionOutline], int]:
        """Return selections that meet at one place with those of the fragments that are spread there, and how many."""
        found, spread = list(selections), set[str]()
        for selection in found:
            for name in selection.spreads:
                if name not in spread:
                    spread.add(name)
                    if name in self._fragments:
                        found.append(self._fragments[name])
        return found, len(spread)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
