"""What this process knows of an operation: the key of its document, who may share its answers, what they depend on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from graphene.types.inputobjecttype import InputObjectTypeContainer
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    is_abstract_type,
    print_ast,
    print_schema,
    separate_operations,
)
from graphql.execution.values import get_variable_values

from dbopt.cache.functions.specs import Options
from dbopt.cache.names.keys import digest, encode_argument
from dbopt.conf import dbopt_settings
from dbopt.graphql.cache.hints import SchemaHints, Scope, hints_of
from dbopt.graphql.cache.scoped import ScopedSpec, placed
from dbopt.graphql.execution.core_versions import core_variables, plain_variables
from dbopt.graphql.execution.selections import Selections
from dbopt.graphql.safety.documents import TextCache

logger = logging.getLogger(__name__)

RESPONSES = "graphql:response"


@dataclass(frozen=True, slots=True)
class Question:
    """A query of a request. ``view`` names the view that answers; ``variables`` are as they came."""

    view: str
    schema: GraphQLSchema
    text: str
    document: DocumentNode
    operation: OperationDefinitionNode
    variables: Mapping[str, Any]


class Operation:
    """One operation of a schema, with the fragments it uses. Shared by threads; does not keep the schema alive."""

    def __init__(self, question: Question, schema_key: str) -> None:
        name = question.operation.name.value if question.operation.name else ""
        self.document = separate_operations(question.document)[name]
        self.key = digest(f"{schema_key} {question.view} {name} {print_ast(self.document)}".encode())
        self.spec = ScopedSpec(placed, Options(decorator="cache_control", name=RESPONSES))
        self._operation = question.operation
        self._fragments = {
            node.name.value: node for node in self.document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._scopes: dict[tuple[tuple[str, bool], ...], Scope | None] = {}

    def scope(self, schema: GraphQLSchema, variables: Mapping[str, Any]) -> Scope | None:
        """Return the narrowest scope of the fields that @skip and @include leave; None where no response is kept."""
        # Only variables of type Boolean! decide what is selected.
        switches = tuple(sorted((name, value) for name, value in variables.items() if isinstance(value, bool)))
        if switches not in self._scopes:
            selections = Selections(schema, fragments=self._fragments, variables=core_variables(dict(variables)))
            self._scopes[switches] = _narrowest(hints_of(schema), selections, self._operation)
        return self._scopes[switches]

    def question(self, variables: Mapping[str, Any]) -> str:
        """Return the key of this operation with these variables.

        Raises:
            UncacheableArgumentError: one of them has no canonical form: an upload, for instance.
        """
        return digest(encode_argument("variables", [self.key, _plain(variables)], function=RESPONSES))


_operations: WeakKeyDictionary[GraphQLSchema, TextCache[Operation]] = WeakKeyDictionary()


def operation_of(question: Question) -> Operation | None:
    """Return what is known of a question's operation; None where nothing of its schema is kept."""
    schema = question.schema
    schema_key = _schema_key(schema) if hints_of(schema) else None
    if schema_key is None:
        return None
    known = _operations.setdefault(schema, TextCache())
    name = question.operation.name
    key = (question.view, question.text, name.value if name else None)
    found = known.get(key)
    if found is None:
        found = Operation(question, schema_key)
        limit = dbopt_settings.graphql.document_cache_characters
        known.put(key, found, characters=len(question.text), limit=limit)
    return found


def coerced(question: Question) -> dict[str, Any] | None:
    """Return the variables as resolvers see them, defaults included; None when they do not fit."""
    given = question.variables if isinstance(question.variables, dict) else {}
    definitions = question.operation.variable_definitions or ()
    found = plain_variables(get_variable_values(question.schema, definitions, given))
    return found if isinstance(found, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_plain, value))
    if type(value) is dict or isinstance(value, InputObjectTypeContainer):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _narrowest(hints: SchemaHints, selections: Selections, operation: OperationDefinitionNode) -> Scope | None:
    schema, scope = selections.schema, Scope.PUBLIC
    root = schema.query_type
    todo: list[tuple[GraphQLObjectType, list[Any]]] = [(root, [operation.selection_set])] if root else []
    seen = set()
    while todo:
        object_type, sets = todo.pop()
        if (key := (object_type.name, *map(id, sets))) in seen:
            continue
        seen.add(key)
        for nodes in selections.fields(object_type, sets).values():
            name = nodes[0].name.value
            if name == "__typename":
                continue
            field = object_type.fields.get(name)
            hint = None if field is None else hints.hint(field)
            if hint is not None:
                scope = max(scope, hint.scope)
            elif object_type is root:
                # Introspection, too.
                return None
            below = [node.selection_set for node in nodes if node.selection_set]
            if field is not None and below:
                named: Any = get_named_type(field.type)
                possible: Any = schema.get_possible_types(named) if is_abstract_type(named) else [named]
                todo.extend((each, below) for each in possible)
    return scope


_keys: WeakKeyDictionary[GraphQLSchema, str] = WeakKeyDictionary()
_schemas: dict[str, WeakSet[GraphQLSchema]] = {}


def _schema_key(schema: GraphQLSchema) -> str | None:
    """Return what tells schemas apart, also those of other processes; None for two that look alike and may not be."""
    key = _keys.get(schema)
    if key is None:
        objects = [named for named in schema.type_map.values() if isinstance(named, GraphQLObjectType)]
        resolvers = [
            f"{named.name}.{name} {_path(field.resolve)}" for named in objects for name, field in named.fields.items()
        ]
        key = _keys[schema] = digest("\n".join([print_schema(schema), *resolvers]).encode())
        alike = _schemas.setdefault(key, WeakSet())
        alike.add(schema)
        if len({_root(each) for each in alike}) > 1:
            logger.warning(
                "Two schemas of this process look alike, resolvers included: their responses are not cached."
            )
    return key if len({_root(each) for each in _schemas[key]}) == 1 else None


def _root(schema: GraphQLSchema) -> int:
    return id(getattr(schema.query_type, "graphene_type", schema))


def _path(resolve: Any) -> str:
    if isinstance(resolve, partial):
        return " ".join(_path(part) for part in (resolve.func, *resolve.args) if callable(part))
    return f"{getattr(resolve, '__module__', '')}.{getattr(resolve, '__qualname__', type(resolve).__qualname__)}"
