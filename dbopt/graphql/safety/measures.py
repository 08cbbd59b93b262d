"""How large a parsed document is once its fragments are put in place, without putting them in place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)
from graphql.language import FragmentSpreadNode

INTROSPECTION = frozenset(("__schema", "__type"))

# Nested in each other, they multiply to the size of the schema to the power of their depth.
_LISTS_OF_INTROSPECTION = frozenset(("fields", "interfaces", "possibleTypes", "inputFields"))

# A step is four calls on Python's stack, which ends at a thousand; no honest document comes near.
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


def measure(document: DocumentNode, *, max_fields: int | None, max_merges: int | None) -> Measure:
    """Measure a document in time linear to its text, whatever its fragments multiply to.

    Args:
        document: parsed, not validated.
        max_fields: a document with more is not searched for merges, which would take as long as it is large.
        max_merges: the search ends when there are more.

    Raises:
        TooDeepError: it is nested too deeply to be looked at.
        FragmentCycleError: a fragment spreads itself.
    """
    walk = _Walk(document)
    size = _Size()
    for root in walk.roots:
        own = walk.size(root.selection_set, MAX_STEPS)
        own = own._replace(directives=own.directives + len(root.directives or ()))
        if isinstance(root, FragmentDefinitionNode):
            # Where it is spread decides about these: inside introspection, depth does not count.
            own = own._replace(depth=0, width=0)
        size = _Size(*map(max, size, own))
    has_merges = max_merges is not None and max_fields is not None and size.fields <= max_fields
    return Measure(
        depth=size.depth,
        root_fields=size.width,
        fields=size.fields,
        aliases=size.aliases,
        directives=size.directives,
        merges=walk.merges(max_merges) if has_merges and max_merges is not None else 0,
        introspects=walk.introspects,
        introspected_lists=walk.introspected_lists,
    )


class _Walk:
    """One pass over a document; each fragment is measured once."""

    def __init__(self, document: DocumentNode) -> None:
        definitions = document.definitions
        self.fragments = {node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)}
        self.operations = [node for node in definitions if isinstance(node, OperationDefinitionNode)]
        self.introspects = False
        self.introspected_lists = 0
        self._known: dict[str, _Size] = {}
        self._open: set[str] = set()

    @property
    def roots(self) -> list[OperationDefinitionNode | FragmentDefinitionNode]:
        """Operations, and all fragments: validation reads those that nobody spreads, too."""
        return [*self.operations, *self.fragments.values()]

    def size(self, selection_set: SelectionSetNode, steps: int) -> _Size:
        if not steps:
            raise TooDeepError
        depth = width = fields = aliases = directives = lists = 0
        for node in selection_set.selections:
            part = self._size_of(node, steps - 1)
            depth = max(depth, part.depth)
            lists = max(lists, part.lists)
            width += part.width
            fields += part.fields
            aliases += part.aliases
            directives += part.directives + len(node.directives or ())
        return _Size(depth, width, fields, aliases, directives, lists)

    def _size_of(self, node: SelectionNode, steps: int) -> _Size:
        if isinstance(node, FieldNode):
            below = self.size(node.selection_set, steps) if node.selection_set else _Size()
            depth = below.depth + 1
            if node.name.value in INTROSPECTION:
                self.introspects = True
                self.introspected_lists = max(self.introspected_lists, below.lists)
                depth = 1
            lists = below.lists + (node.name.value in _LISTS_OF_INTROSPECTION)
            return _Size(depth, 1, below.fields + 1, below.aliases + (node.alias is not None), below.directives, lists)
        if isinstance(node, InlineFragmentNode):
            return self.size(node.selection_set, steps)
        return self._fragment(node.name.value, steps) if isinstance(node, FragmentSpreadNode) else _Size()

    def _fragment(self, name: str, steps: int) -> _Size:
        size = self._known.get(name)
        if size is not None:
            return size
        if name in self._open:
            raise FragmentCycleError(name)
        fragment = self.fragments.get(name)
        if fragment is None:
            return _Size()
        self._open.add(name)
        size = self._known[name] = self.size(fragment.selection_set, steps)
        self._open.remove(name)
        return size

    def merges(self, limit: int) -> int:
        """Count pairs at all places of the response; `size` has proved that there are no cycles."""
        found = 0
        # Those that no operation reaches are places of their own.
        places = [[root.selection_set] for root in self.roots if self._is_top(root)]
        while places and found <= limit:
            by_key, spreads = self._meeting(places.pop())
            found += _pairs(spreads) + sum(_pairs(len(nodes)) for nodes in by_key.values())
            for nodes in by_key.values():
                below = [node.selection_set for node in nodes if node.selection_set]
                if below:
                    places.append(below)
        return found

    def _is_top(self, root: OperationDefinitionNode | FragmentDefinitionNode) -> bool:
        return isinstance(root, OperationDefinitionNode) or root.name.value not in self._known

    def _meeting(self, sets: list[SelectionSetNode]) -> tuple[dict[str, list[FieldNode]], int]:
        """Return the fields that meet at one place by response key, and how many fragments are spread there."""
        by_key: dict[str, list[FieldNode]] = defaultdict(list)
        spread: set[str] = set()
        waiting = list(sets)
        while waiting:
            for node in waiting.pop().selections:
                if isinstance(node, FieldNode):
                    by_key[(node.alias or node.name).value].append(node)
                elif isinstance(node, InlineFragmentNode):
                    waiting.append(node.selection_set)
                elif isinstance(node, FragmentSpreadNode) and node.name.value not in spread:
                    spread.add(node.name.value)
                    fragment = self.fragments.get(node.name.value)
                    if fragment is not None:
                        waiting.append(fragment.selection_set)
        return by_key, len(spread)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
