"""`optimize`: loaders behind the stock relation fields of a graphene-django schema."""

from __future__ import annotations

from functools import partial
from inspect import getclosurevars
from typing import TYPE_CHECKING, Any, cast

from graphene.utils.str_converters import to_camel_case
from graphene_django import DjangoListField, DjangoObjectType, converter
from graphql import (
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_nullable_type,
    is_abstract_type,
)

from dbopt.graphql.execution.shortcuts import plain_attribute
from dbopt.graphql.loading.generic_relations import is_generic_foreign_key
from dbopt.graphql.loading.paths import relation_of
from dbopt.graphql.loading.projection import EXTENSION, Projector, projector_of
from dbopt.graphql.pages.connections import ConnectionResolver, RelationConnectionResolver
from dbopt.graphql.pages.offset_connections import offset_resolver
from dbopt.graphql.relations.fields import RelationResolver, has_own, plan_generic, plan_relation
from dbopt.graphql.relations.nodes import node_resolver

if TYPE_CHECKING:
    import graphene

# Model._meta and a graphene type's _meta are documented API.
# ruff: noqa: SLF001


def optimize(schema: graphene.Schema, *, projection: bool = True, fast_rows: bool = True) -> graphene.Schema:
    """Put loaders behind every stock relation field of a schema, and return the schema.

    Foreign keys, one-to-one, many-to-many and generic relations, in both directions, between DjangoObjectTypes; also
    graphene-django's connections over to-many relations, and ``relay.Node.Field()``. A field with a resolver, a field
    class or arguments of its own stays as it is. Rows always come from the target type's ``get_queryset``, called once a batch;
    what a parent has loaded already (select_related, prefetch_related) is used only where that type has no
    ``get_queryset`` of its own.
    A second call changes nothing.

    Args:
        schema: changed in place.
        projection: read only the columns that an operation's selections of a type need, in loaders and in
            querysets that resolvers return.
        fast_rows: make instances without ``Model.__init__`` where nothing could notice.
    """
    core = schema.graphql_schema
    if projector_of(core) is not None:
        return schema
    projector = core.extensions[EXTENSION] = Projector(core, projection=projection, fast_rows=fast_rows)
    for named in core.type_map.values():
        if isinstance(named, GraphQLObjectType):
            node_type: Any = getattr(named, "graphene_type", None)
            model = node_type._meta.model if _is_node_type(node_type) else None
            for field in named.fields.values():
                if isinstance(field.resolve, (ConnectionResolver, RelationConnectionResolver)):
                    field.resolve.bind(model)
                field.resolve = node_resolver(field.resolve) or field.resolve
            if model is not None:
                _optimize_type(node_type, named, projector)
    return schema


def _optimize_type(node_type: Any, named: GraphQLObjectType, projector: Projector) -> None:
    declared = {_field_name(field, name, named): (name, field) for name, field in node_type._meta.fields.items()}
    for key, (name, _) in declared.items():
        if key in named.fields and _is_stock(name, named, named.fields[key]):
            _optimize_field(node_type, name, named.fields[key], projector.schema)
    for connection in named.fields.values():
        connection.resolve = offset_resolver(connection.resolve, node_type._meta.model, named) or connection.resolve
    projector.add(named, node_type, {key: field for key, (_, field) in declared.items()})


def _is_node_type(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, DjangoObjectType)


def _field_name(declared: Any, name: str, named: GraphQLObjectType) -> str:
    own: str | None = getattr(declared, "name", None)
    camel = to_camel_case(name)
    return own or (camel if camel in named.fields else name)


def _is_stock(name: str, named: GraphQLObjectType, field: GraphQLField) -> bool:
    """Whether a field does nothing but read the attribute of its name, as graphene-django does it.

    The resolver itself is looked at: a field class of the project, which may ask for permissions, brings its own.
    """
    resolve: Any = field.resolve
    is_list = isinstance(get_nullable_type(cast("Any", field.type)), GraphQLList)
    if is_list != (isinstance(resolve, partial) and resolve.func is DjangoListField.list_resolver):
        return False
    if is_list:
        # partial(list_resolver, type, what a project may have of its own, manager)
        resolve = resolve.args[1]
    elif getattr(resolve, "__module__", None) == converter.__name__:
        # Of a type with a get_queryset: wrapped around what a project may have of its own.
        resolve = getclosurevars(resolve).nonlocals.get("resolver")
    return not field.args and plain_attribute(resolve, named) == (name, None)


def _optimize_field(node_type: Any, name: str, field: GraphQLField, schema: GraphQLSchema) -> None:
    relation = relation_of(node_type._meta.model, name)
    if is_generic_foreign_key(relation):
        named: Any = get_nullable_type(cast("Any", field.type))
        if not isinstance(named, GraphQLList):
            possible = schema.get_possible_types(named) if is_abstract_type(named) else [named]
            node_types = [getattr(object_type, "graphene_type", None) for object_type in possible]
            plan = plan_generic(relation, [found for found in node_types if _is_node_type(found)])
            field.resolve = RelationResolver(plan, stock=field.resolve)
        return
    target, is_list = _target(field)
    if relation is None or target is None:
        return
    if target._meta.model is not relation.related_model or is_list != (relation.one_to_many or relation.many_to_many):
        return
    if not is_list and has_own(target, "get_queryset") and has_own(target, "get_node"):
        # graphene-django would ask get_node for each row: only that knows what may be seen.
        return
    field.resolve = RelationResolver(plan_relation(relation, target), stock=field.resolve)


def _target(field: GraphQLField) -> tuple[Any, bool]:
    inner: Any = field.type
    lists = 0
    while isinstance(inner, (GraphQLList, GraphQLNonNull)):
        lists += isinstance(inner, GraphQLList)
        inner = inner.of_type
    target = getattr(inner, "graphene_type", None)
    return (target if _is_node_type(target) and lists <= 1 else None), lists == 1
