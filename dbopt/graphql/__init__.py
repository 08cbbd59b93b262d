"""GraphQL without N+1: an executor that works in batches, loaders, relations, keyset pages, a view.

Names are loaded at first use: without the extra `graphql` this package can be imported, and use of a name says what to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.graphql.async_views import AsyncGraphQLView as AsyncGraphQLView
    from dbopt.graphql.cache.fields import cached_field as cached_field
    from dbopt.graphql.cache.hints import cache_control as cache_control
    from dbopt.graphql.cache.second_level import SecondLevel as SecondLevel
    from dbopt.graphql.connections import KeysetConnectionField as KeysetConnectionField
    from dbopt.graphql.cypher_connections import CypherConnection as CypherConnection
    from dbopt.graphql.cypher_loaders import CypherLoader as CypherLoader
    from dbopt.graphql.executor import DboptExecutionContext as DboptExecutionContext
    from dbopt.graphql.loaders import DataLoader as DataLoader
    from dbopt.graphql.model_loaders import AggregateLoader as AggregateLoader
    from dbopt.graphql.model_loaders import ModelLoader as ModelLoader
    from dbopt.graphql.model_loaders import RelatedLoader as RelatedLoader
    from dbopt.graphql.registry import clear_loaders as clear_loaders
    from dbopt.graphql.relations import optimize as optimize
    from dbopt.graphql.resolvers import batch as batch
    from dbopt.graphql.resolvers import requires as requires
    from dbopt.graphql.views import GraphQLView as GraphQLView

__all__ = [
    "AggregateLoader",
    "AsyncGraphQLView",
    "CypherConnection",
    "CypherLoader",
    "DataLoader",
    "DboptExecutionContext",
    "GraphQLView",
    "KeysetConnectionField",
    "ModelLoader",
    "RelatedLoader",
    "SecondLevel",
    "batch",
    "cache_control",
    "cached_field",
    "clear_loaders",
    "optimize",
    "requires",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "AggregateLoader": "model_loaders",
        "AsyncGraphQLView": "async_views",
        "CypherConnection": "cypher_connections",
        "CypherLoader": "cypher_loaders",
        "DataLoader": "loaders",
        "DboptExecutionContext": "executor",
        "GraphQLView": "views",
        "KeysetConnectionField": "connections",
        "ModelLoader": "model_loaders",
        "RelatedLoader": "model_loaders",
        "SecondLevel": "cache.second_level",
        "batch": "resolvers",
        "cache_control": "cache.hints",
        "cached_field": "cache.fields",
        "clear_loaders": "registry",
        "optimize": "relations",
        "requires": "resolvers",
    },
    extra="graphql",
)
