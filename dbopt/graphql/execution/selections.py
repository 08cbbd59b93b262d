"""What an operation selects: fields of a selection set, and how many levels lie below one."""

from __future__ import annotations

from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    NamedTypeNode,
    SelectionSetNode,
    is_abstract_type,
)
from graphql.execution.values import get_directive_values
from graphql.language import FragmentSpreadNode

_DEEPEST = 50


def applies(schema: GraphQLSchema, condition: NamedTypeNode | None, object_type: GraphQLObjectType) -> bool:
    """Whether a fragment with a type condition is about objects of a type."""
    if condition is None:
        return True
    named = schema.get_type(condition.name.value)
    if named is object_type:
        return True
    return named is not None and is_abstract_type(named) and schema.is_sub_type(named, object_type)  # type: ignore[arg-type]


class Selections:
    """Reads the selection sets of one operation, with its fragments and variables, in the form graphql-core has them."""

    def __init__(self, schema: GraphQLSchema, *, fragments: dict[str, FragmentDefinitionNode], variables: Any) -> None:
        self.schema = schema
        self.fragments = fragments
        self.variables = variables
        self._heights: dict[int, int] = {}

    def fields(self, object_type: GraphQLObjectType, sets: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        """Return the nodes of each response key, in the order in which the response has them."""
        found: dict[str, list[FieldNode]] = {}
        spread: set[str] = set()
        for selection_set in sets:
            self._collect(object_type, selection_set, found, spread)
        return found

    def _collect(
        self,
        object_type: GraphQLObjectType,
        selection_set: SelectionSetNode,
        found: dict[str, list[FieldNode]],
        spread: set[str],
    ) -> None:
        for node in selection_set.selections:
            if node.directives and not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                found.setdefault(key, []).append(node)
                continue
            fragment = self._fragment(node, spread)
            if fragment is not None and applies(self.schema, fragment.type_condition, object_type):
                self._collect(object_type, fragment.selection_set, found, spread)

    def _fragment(self, node: Any, spread: set[str]) -> InlineFragmentNode | FragmentDefinitionNode | None:
        if isinstance(node, InlineFragmentNode):
            return node
        name = node.name.value
        if name in spread:
            return None
        spread.add(name)
        return self.fragments.get(name)

    def _is_included(self, node: Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
        if skip and skip.get("if_", skip.get("if")):
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
        return not include or bool(include.get("if_", include.get("if")))

    def height(self, selection_set: SelectionSetNode | None, *, left: int = _DEEPEST) -> int:
        """Return the levels of objects below a selection set; it only orders loaders, so very deep ones count as 50."""
        if selection_set is None or left <= 0:
            return 0
        known = self._heights.get(id(selection_set))
        if known is not None:
            return known
        # Cuts the cycles of a document that was not validated.
        self._heights[id(selection_set)] = 0
        tallest = max((self._node_height(node, left=left - 1) for node in selection_set.selections), default=0)
        self._heights[id(selection_set)] = tallest
        return tallest

    def _node_height(self, node: Any, *, left: int) -> int:
        if isinstance(node, FieldNode):
            return 1 + self.height(node.selection_set, left=left) if node.selection_set else 0
        if isinstance(node, FragmentSpreadNode):
            fragment = self.fragments.get(node.name.value)
            return self.height(fragment.selection_set, left=left) if fragment else 0
        return self.height(node.selection_set, left=left)
