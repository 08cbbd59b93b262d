"""Projection: which columns of each type's rows an operation needs."""

# ruff: noqa: SLF001  a model's and a graphene type's _meta are documented API

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphene import Interface, Union
from graphene.relay import GlobalID
from graphene_django.converter import BlankValueField
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
)

from dbopt.exceptions import ConfigurationError
from dbopt.graphql.execution.core_versions import fragments_of
from dbopt.graphql.execution.selections import applies
from dbopt.graphql.execution.shortcuts import checks_only_the_class, plain_attribute
from dbopt.graphql.loading.rows import Reading

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from graphql import GraphQLNamedType

Columns = frozenset[str] | None
"""Attribute names of columns; None where nobody can tell, which means all."""

EXTENSION = "dbopt.rows"
_MOST_OPERATIONS = 256
_EVERYTHING = Reading()


class Projector:
    """How a schema's rows are read. Lives in the schema's extensions; shared by all threads."""

    def __init__(self, schema: GraphQLSchema, *, projection: bool, fast_rows: bool) -> None:
        self.schema = schema
        self.projection = projection
        self.fast_rows = fast_rows
        self.fields: dict[str, dict[str, Columns]] = {}
        self._everything = Reading(is_quick=fast_rows)
        # A cached document brings the same nodes again and again. An entry keeps its operation, so that no other one
        # can get its id.
        self._operations: dict[int, tuple[OperationDefinitionNode, dict[str, Reading]]] = {}

    def add(self, named: GraphQLObjectType, node_type: Any, declared: dict[str, Any]) -> None:
        """Take the fields of a Django type in; declared are graphene's fields by their names in the schema."""
        model = node_type._meta.model
        columns = {name: _columns(named, model, declared.get(name), field) for name, field in named.fields.items()}
        self.fields[named.name] = columns

    def reading(self, info: Any, type_name: str) -> Reading:
        """Return how rows of a type are read in the operation of an info (or of an execution context)."""
        if not self.projection:
            return self._everything
        operation: OperationDefinitionNode = info.operation
        known = self._operations.get(id(operation))
        if known is None:
            found = self._needs(operation, fragments_of(info))
            readings = {name: Reading(columns, is_quick=self.fast_rows) for name, columns in found.items()}
            if len(self._operations) >= _MOST_OPERATIONS:
                self._operations.clear()
            known = self._operations[id(operation)] = (operation, readings)
        return known[1].get(type_name, self._everything)

    def prepare(self, rows: QuerySet[Any], info: Any, named: GraphQLNamedType) -> QuerySet[Any]:
        """Return what a resolver returned for a list, as it will be read; rows that are read already stay."""
        if rows._result_cache is not None:
            return rows
        model = getattr(getattr(getattr(named, "graphene_type", None), "_meta", None), "model", None)
        if model is None or rows.model._meta.concrete_model is not model._meta.concrete_model:
            return self._everything.prepare(rows)
        return self.reading(info, named.name).prepare(rows)

    def _needs(
        self, operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]
    ) -> dict[str, Columns]:
        """Unite what all selections of each type need; @skip and @include count as if they were not there."""
        needs: dict[str, Columns] = {}
        told: set[tuple[str, str]] = set()
        root = self.schema.get_root_type(operation.operation)
        todo: list[tuple[GraphQLObjectType, SelectionSetNode]] = [(root, operation.selection_set)] if root else []
        seen: set[tuple[str, int]] = set()
        while todo:
            object_type, selection_set = todo.pop()
            # Each pair once: fragments may spread over each other many times.
            if (object_type.name, id(selection_set)) in seen:
                continue
            seen.add((object_type.name, id(selection_set)))
            for node in selection_set.selections:
                if isinstance(node, FieldNode):
                    self._need(needs, object_type, node.name.value)
                    below = list(self._below(needs, object_type, node))
                    todo.extend(below)
                    if _tells_parents(object_type.fields.get(node.name.value)):
                        told.update((object_type.name, row_type.name) for row_type, _ in below)
                    continue
                fragment: Any = node if hasattr(node, "selection_set") else fragments.get(node.name.value)  # type: ignore[attr-defined]
                if fragment is not None and applies(self.schema, fragment.type_condition, object_type):
                    todo.append((object_type, fragment.selection_set))
        # Who may look at anything of a row may look at anything of the parent that it knows.
        needs.update(dict.fromkeys(parent for parent, row in told if needs.get(row, frozenset()) is None))
        return needs

    def _need(self, needs: dict[str, Columns], object_type: GraphQLObjectType, name: str) -> None:
        fields = self.fields.get(object_type.name)
        if fields is None or name == "__typename":
            return
        found, known = fields.get(name), needs.get(object_type.name, frozenset())
        needs[object_type.name] = None if found is None or known is None else known | found

    def _below(
        self, needs: dict[str, Columns], object_type: GraphQLObjectType, node: FieldNode
    ) -> Iterator[tuple[GraphQLObjectType, SelectionSetNode]]:
        field = object_type.fields.get(node.name.value)
        if field is None or node.selection_set is None:
            return
        named = get_named_type(field.type)
        possible: Any = self.schema.get_possible_types(named) if is_abstract_type(named) else [named]
        for below in possible:
            if _looks_at_rows(named, below):
                needs[below.name] = None
            yield below, node.selection_set


def _tells_parents(field: GraphQLField | None) -> bool:
    """Whether the rows that a field gives know the object that it is a field of."""
    return field is not None and getattr(field.resolve, "tells_parents", False)


def _looks_at_rows(named: Any, object_type: GraphQLObjectType) -> bool:
    """Whether code of the project decides by a row which type it has."""
    is_type_of = object_type.is_type_of
    if is_type_of is not None and not checks_only_the_class(is_type_of):
        return True
    graphene_type: Any = getattr(named, "graphene_type", None)
    resolve_type = getattr(getattr(graphene_type, "resolve_type", None), "__func__", None)
    stock = (Interface.resolve_type.__func__, Union.resolve_type.__func__)
    return resolve_type is not None and resolve_type not in stock


def _columns(named: GraphQLObjectType, model: type[Model], declared: Any, field: GraphQLField) -> Columns:
    resolve: Any = field.resolve
    names = getattr(resolve, "requires", None)
    if names is not None:
        return frozenset(_column(model, name, named) for name in names)
    if isinstance(declared, GlobalID) and declared.resolver is None:
        # graphene's partial(id_resolver, resolver of the key, ...).
        resolve = resolve.args[0]
    elif isinstance(declared, BlankValueField):
        resolve = inspect.unwrap(resolve)
    plain = plain_attribute(resolve, named)
    stored = {column.attname for column in model._meta.concrete_fields}
    return frozenset([plain[0]]) if plain is not None and plain[0] in stored else None


def _column(model: type[Model], name: str, named: GraphQLObjectType) -> str:
    for field in model._meta.concrete_fields:
        if name in (field.name, field.attname):
            return field.attname
    raise ConfigurationError(
        f"A resolver of {named.name} requires {name!r}, which is no column of {model.__name__}. "
        "Name fields of the model in @requires."
    )


def projector_of(schema: GraphQLSchema) -> Projector | None:
    """Return how an optimised schema's rows are read, None for any other schema."""
    projector: Projector | None = schema.extensions.get(EXTENSION)
    return projector


def reading_of(info: Any, type_name: str) -> Reading:
    """Return how rows of a type are read in the operation of an info."""
    projector = projector_of(info.schema)
    return _EVERYTHING if projector is None else projector.reading(info, type_name)
