"""What an operation may cost before it runs: one point a field, times the rows that its lists may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLList,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)
from graphql.language import FragmentSpreadNode

from dbopt.graphql.execution.leaves import MAX_INT

_PAGE_ARGUMENTS = frozenset(("first", "last", "limit"))
# Lists inside a connection: its page has multiplied already.
_ROWS_OF_A_PAGE = frozenset(("edges", "nodes"))


@dataclass(frozen=True, slots=True)
class Cost:
    """Points of an operation; constant if no variable has a part in them."""

    points: int
    is_constant: bool


def cost_of(  # noqa: PLR0913  # what a cost depends on
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    *,
    variables: Mapping[str, Any],
    page_size: int,
    costs: Mapping[str, float],
) -> Cost:
    """Return what an operation costs. Each fragment is looked at once.

    Args:
        schema: whose fields the document has.
        document: valid for the schema.
        operation: one of the document's.
        variables: as the client sent them. One that is no size counts as `page_size`: it will be refused where it is used.
        page_size: rows of a list for which the document gives no size.
        costs: points of a field, by coordinate ``Type.field``; 1 where there is none.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    walk = _Walk(schema, fragments, _with_defaults(operation, variables), page_size=page_size, costs=costs)
    points = walk.points(operation.selection_set, schema.get_root_type(operation.operation))
    return Cost(round(points), walk.is_constant)


def _with_defaults(operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in operation.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode)
    }
    return {**defaults, **variables}


class _Walk:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: Mapping[str, Any],
        *,
        page_size: int,
        costs: Mapping[str, float],
    ) -> None:
        self.is_constant = True
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._page_size = page_size
        self._costs = costs
        self._known: dict[str, float] = {}

    def points(self, selection_set: SelectionSetNode | None, parent: Any) -> float:
        if selection_set is None:
            return 0
        return sum(self._points_of(node, parent) for node in selection_set.selections)

    def _points_of(self, node: SelectionNode, parent: Any) -> float:
        if isinstance(node, FieldNode):
            return self._field(node, parent)
        if isinstance(node, InlineFragmentNode):
            condition = node.type_condition
            inner = self._schema.get_type(condition.name.value) if condition else parent
            return self.points(node.selection_set, inner)
        return self._fragment(node.name.value) if isinstance(node, FragmentSpreadNode) else 0

    def _fragment(self, name: str) -> float:
        known = self._known.get(name)
        if known is None:
            fragment = self._fragments[name]
            named = self._schema.get_type(fragment.type_condition.name.value)
            known = self._known[name] = self.points(fragment.selection_set, named)
        return known

    def _field(self, node: FieldNode, parent: Any) -> float:
        name = node.name.value
        definition: GraphQLField | None = getattr(parent, "fields", {}).get(name)
        if definition is None:
            # __typename and introspection touch no data.
            return 0
        own = self._costs.get(f"{parent.name}.{name}", 1)
        if node.selection_set is None:
            return own
        named, is_list = _unwrapped(definition)
        rows = self._rows(node, definition, is_list=is_list)
        return own + rows * self.points(node.selection_set, named)

    def _rows(self, node: FieldNode, definition: GraphQLField, *, is_list: bool) -> int:
        if not _PAGE_ARGUMENTS.isdisjoint(definition.args):
            sizes = [
                self._size(argument.value)
                for argument in node.arguments or ()
                if argument.name.value in _PAGE_ARGUMENTS
            ]
            return max(sizes, default=self._page_size)
        return self._page_size if is_list and node.name.value not in _ROWS_OF_A_PAGE else 1

    def _size(self, value: ValueNode) -> int:
        size: Any = None
        if isinstance(value, IntValueNode):
            size = int(value.value)
        elif isinstance(value, VariableNode):
            self.is_constant = False
            size = self._variables.get(value.name.value)
        return min(size, MAX_INT) if type(size) is int and size >= 0 else self._page_size


def _unwrapped(definition: GraphQLField) -> tuple[Any, bool]:
    inner: Any = definition.type
    is_list = False
    while hasattr(inner, "of_type"):
        is_list = is_list or isinstance(inner, GraphQLList)
        inner = inner.of_type
    return inner, is_list
