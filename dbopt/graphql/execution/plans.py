"""Plans: what to do for a field, worked out once for all objects that reach the same selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    TypeNameMetaFieldDef,
    is_leaf_type,
)
from graphql.execution.values import get_argument_values

from dbopt.conf import dbopt_settings
from dbopt.graphql.execution.lists import gives_rows, missing_size, most_rows
from dbopt.graphql.execution.shortcuts import plain_attribute

if TYPE_CHECKING:
    from graphql.execution import MiddlewareManager

    from dbopt.graphql.execution.selections import Selections


_TYPENAME: GraphQLField = TypeNameMetaFieldDef


@dataclass(slots=True, eq=False)
class FieldPlan:
    """One field of one selection.

    Attributes:
        name: key in the response.
        nullable: may be null, by level: the field itself, then the items of each list level.
        attribute: (name, default) of a resolver that only reads an attribute.
        batch_resolve: resolver of a whole column, ``(parents, info, column, **arguments)``.
        height: levels of objects below, 0 for a leaf.
    """

    name: str
    definition: GraphQLField
    nodes: list[FieldNode]
    parent_type: GraphQLObjectType
    nullable: tuple[bool, ...]
    named_type: GraphQLNamedType
    height: int
    resolve: Callable[..., Any]
    attribute: tuple[str, Any] | None = None
    batch_resolve: Callable[..., Any] | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    has_mutable_arguments: bool = False
    argument_error: Exception | None = None
    most_rows: int | None = None
    subplans: dict[str, ObjectPlan] = field(default_factory=dict)
    class_checks: dict[tuple[str, type], bool] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Levels of lists."""
        return len(self.nullable) - 1

    @property
    def is_leaf(self) -> bool:
        """Whether the named type is a scalar or an enum."""
        return self.height == 0

    @property
    def coordinate(self) -> str:
        """``Type.field``, for messages."""
        return f"{self.parent_type.name}.{self.nodes[0].name.value}"


@dataclass(slots=True, eq=False)
class ObjectPlan:
    """The fields selected of an object type; template is the response object before they are resolved."""

    object_type: GraphQLObjectType
    fields: list[FieldPlan]
    template: dict[str, Any]


class Planner:
    """Compiles plans of one operation."""

    def __init__(
        self, selections: Selections, *, default_resolver: Callable[..., Any], middleware: MiddlewareManager | None
    ) -> None:
        self.selections = selections
        self.default_resolver = default_resolver
        # graphene-django passes an empty manager by default: that is no middleware.
        self.middleware = middleware if middleware is not None and middleware.middlewares else None

    def object_plan(self, parent: FieldPlan, object_type: GraphQLObjectType) -> ObjectPlan:
        """Return the plan of the objects of one type below a field."""
        plan = parent.subplans.get(object_type.name)
        if plan is None:
            sets = [node.selection_set for node in parent.nodes if node.selection_set]
            plan = self.compile(object_type, self.selections.fields(object_type, sets))
            parent.subplans[object_type.name] = plan
        return plan

    def compile(self, object_type: GraphQLObjectType, fields: dict[str, list[FieldNode]]) -> ObjectPlan:
        """Return the plan of collected fields."""
        plan = ObjectPlan(object_type, [], {})
        for name, nodes in fields.items():
            definition = self._definition(object_type, nodes[0].name.value)
            if definition is None:
                continue
            if definition is _TYPENAME and self.middleware is None:
                plan.template[name] = object_type.name
                continue
            plan.template[name] = None
            plan.fields.append(self._field_plan(object_type, name, nodes, definition))
        return plan

    def _definition(self, object_type: GraphQLObjectType, name: str) -> GraphQLField | None:
        if name == "__typename":
            return _TYPENAME
        if object_type is self.selections.schema.query_type:
            if name == "__schema":
                return SchemaMetaFieldDef
            if name == "__type":
                return TypeMetaFieldDef
        field: GraphQLField | None = object_type.fields.get(name)
        return field

    def _field_plan(
        self, object_type: GraphQLObjectType, name: str, nodes: list[FieldNode], definition: GraphQLField
    ) -> FieldPlan:
        nullable, named_type = _levels(definition.type)
        heights = (self.selections.height(node.selection_set) for node in nodes)
        plan = FieldPlan(
            name=name,
            definition=definition,
            nodes=nodes,
            parent_type=object_type,
            nullable=nullable,
            named_type=named_type,
            height=0 if is_leaf_type(named_type) else 1 + max(heights),
            resolve=definition.resolve or self.default_resolver,
        )
        self._plan_arguments(plan)
        if self.middleware is not None:
            plan.resolve = self.middleware.get_field_resolver(plan.resolve)
        elif plan.argument_error is None:
            plan.batch_resolve = getattr(plan.resolve, "batch_resolve", None)
            if not plan.arguments:
                plan.attribute = plain_attribute(plan.resolve, object_type)
        return plan

    def _plan_arguments(self, plan: FieldPlan) -> None:
        try:
            plan.arguments = self.arguments(plan)
        except GraphQLError as error:
            plan.argument_error = error
        self._bound(plan)
        # A resolver may change a list it is given: each object then gets one of its own.
        plan.has_mutable_arguments = not all(map(_is_immutable, plan.arguments.values()))

    def _bound(self, plan: FieldPlan) -> None:
        options = dbopt_settings.graphql
        if not (options.require_pagination or options.max_list_size is not None or options.list_sizes):
            return
        if gives_rows(plan.definition, plan.parent_type):
            plan.most_rows = most_rows(plan.coordinate, options)
            if options.require_pagination and plan.argument_error is None:
                plan.argument_error = missing_size(plan.coordinate, plan.definition, plan.arguments, options)

    def arguments(self, plan: FieldPlan) -> dict[str, Any]:
        """Coerce a field's arguments, as new objects."""
        return get_argument_values(plan.definition, plan.nodes[0], self.selections.variables)


def _levels(field_type: GraphQLOutputType) -> tuple[tuple[bool, ...], GraphQLNamedType]:
    nullable = []
    inner: Any = field_type
    while True:
        required = isinstance(inner, GraphQLNonNull)
        nullable.append(not required)
        if required:
            inner = inner.of_type
        if not isinstance(inner, GraphQLList):
            return tuple(nullable), inner
        inner = inner.of_type


def _is_immutable(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
