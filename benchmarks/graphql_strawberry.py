"""The rows of the benchmark through strawberry-django: a module, because strawberry looks types up in one."""

from __future__ import annotations

from typing import Any

import strawberry
import strawberry_django
from strawberry import relay
from strawberry.django.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache
from strawberry_django.optimizer import DjangoOptimizerExtension
from strawberry_django.relay import DjangoCursorConnection  # noqa: TC002 - strawberry reads the annotation

from benchmarks import graphql_connections, graphql_schemas


@strawberry_django.type(graphql_schemas.Entity)
class EntityNode:
    id: strawberry.ID
    name: str
    kind: str
    outgoing: list[LinkNode]


@strawberry_django.type(graphql_schemas.Link)
class LinkNode:
    id: strawberry.ID
    kind: str
    weight: int
    target: EntityNode


@strawberry.type
class Query:
    @strawberry_django.field
    def entities(self, limit: int) -> list[EntityNode]:
        return graphql_schemas.entities(limit)


@strawberry_django.type(graphql_schemas.Link, name="LinkOfPage")
class PagedLink(relay.Node):
    # Its optimizer leaves out what only the cursor reads, and would then ask for it row by row.
    kind: str = strawberry_django.field(only=["kind", "created"])
    weight: int

    @classmethod
    def get_queryset(cls, queryset: Any, info: Any, **_: Any) -> Any:
        return queryset.order_by("-created", "-id")


@strawberry_django.type(graphql_schemas.Entity, name="EntityOfPages")
class PagedEntity:
    name: str
    outgoing: DjangoCursorConnection[PagedLink] = strawberry_django.connection()


@strawberry.type(name="Query")
class PagesQuery:
    @strawberry_django.field
    def entities(self, limit: int) -> list[PagedEntity]:
        return graphql_connections.parents(limit)


def _view(query):
    extensions = [DjangoOptimizerExtension, ParserCache(), ValidationCache()]
    return GraphQLView.as_view(schema=strawberry.Schema(query=query, extensions=extensions), graphql_ide=None)


view = _view(Query)
page_view = _view(PagesQuery)
