"""The ten newest of a thousand links for each of a hundred entities, as connections of each GraphQL package."""

from __future__ import annotations

from functools import partial

from benchmarks.graphql_schemas import Entity, Link, posting

FIRST, PARENTS = 2000, 100

PAGES = (
    "{ entities(limit: %d) { name outgoing(first: 10) { edges { node { kind weight } } pageInfo { hasNextPage } } } }"
)


def parents(limit):
    return Entity.objects.filter(id__gte=FIRST).order_by("id")[:limit]


def _schema(outgoing):
    """Make a graphene schema; outgoing makes the connection field from the type of links."""
    import graphene
    from graphene import relay
    from graphene_django import DjangoObjectType
    from graphene_django.registry import Registry

    registry = Registry()

    def node(model, names, **attributes):
        meta = {"model": model, "fields": names, "registry": registry, "interfaces": (relay.Node,)}
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": type("Meta", (), meta), **attributes})

    newest = classmethod(lambda cls, queryset, info: queryset.order_by("-created", "-id"))
    link = node(Link, ("kind", "weight"), get_queryset=newest)
    entity = node(Entity, ("name",), outgoing=outgoing(link))

    class Query(graphene.ObjectType):
        entities = graphene.List(entity, limit=graphene.Int())

        def resolve_entities(self, info, limit):
            return parents(limit)

    return graphene.Schema(query=Query)


def keyset_variant():
    """`KeysetConnectionField` in an optimised schema."""
    from dbopt.graphql import GraphQLView, KeysetConnectionField, optimize

    schema = optimize(_schema(partial(KeysetConnectionField, order_by=("-created", "-id"))))
    return posting(GraphQLView.as_view(schema=schema), PAGES)


def optimized_variant():
    """graphene-django's own connection in an optimised schema."""
    from graphene_django import DjangoConnectionField

    from dbopt.graphql import GraphQLView, optimize

    return posting(GraphQLView.as_view(schema=optimize(_schema(DjangoConnectionField))), PAGES)


def stock_variant():
    """graphene-django's own connection."""
    from graphene_django import DjangoConnectionField
    from graphene_django.views import GraphQLView

    return posting(GraphQLView.as_view(schema=_schema(DjangoConnectionField)), PAGES)


def strawberry_variant():
    """strawberry-django's connection by cursor, with its optimizer and caches."""
    from benchmarks.graphql_strawberry import page_view

    return posting(page_view, PAGES)


VARIANTS = {
    "dbopt, keyset": keyset_variant,
    "dbopt, graphene-django's": optimized_variant,
    "graphene-django": stock_variant,
    "strawberry-django, cursor": strawberry_variant,
}
