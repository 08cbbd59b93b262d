"""The rows of the benchmark through strawberry-django: a module, because strawberry looks types up in one."""

from __future__ import annotations

import strawberry
import strawberry_django
from strawberry.django.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache
from strawberry_django.optimizer import DjangoOptimizerExtension

from benchmarks import graphql_schemas


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


schema = strawberry.Schema(query=Query, extensions=[DjangoOptimizerExtension, ParserCache(), ValidationCache()])
view = GraphQLView.as_view(schema=schema, graphql_ide=None)
