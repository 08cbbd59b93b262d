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
    from dbopt.graphql.execution.executor import DboptExecutionContext as DboptExecutionContext
    from dbopt.graphql.execution.registry import clear_loaders as clear_loaders
    from dbopt.graphql.execution.resolvers import batch as batch
    from dbopt.graphql.execution.resolvers import requires as requires
    from dbopt.graphql.loading.cypher_loaders import CypherLoader as CypherLoader
    from dbopt.graphql.loading.loaders import DataLoader as DataLoader
    from dbopt.graphql.loading.model_loaders import AggregateLoader as AggregateLoader
    from dbopt.graphql.loading.model_loaders import ModelLoader as ModelLoader
    from dbopt.graphql.loading.model_loaders import RelatedLoader as RelatedLoader
    from dbopt.graphql.pages.connections import KeysetConnectionField as KeysetConnectionField
    from dbopt.graphql.pages.cypher_connections import CypherConnection as CypherConnection
    from dbopt.graphql.relations.optimizer import optimize as optimize
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
        "AggregateLoader": "loading.model_loaders",
        "AsyncGraphQLView": "async_views",
        "CypherConnection": "pages.cypher_connections",
        "CypherLoader": "loading.cypher_loaders",
        "DataLoader": "loading.loaders",
        "DboptExecutionContext": "execution.executor",
        "GraphQLView": "views",
        "KeysetConnectionField": "pages.connections",
        "ModelLoader": "loading.model_loaders",
        "RelatedLoader": "loading.model_loaders",
        "SecondLevel": "cache.second_level",
        "batch": "execution.resolvers",
        "cache_control": "cache.hints",
        "cached_field": "cache.fields",
        "clear_loaders": "execution.registry",
        "optimize": "relations.optimizer",
        "requires": "execution.resolvers",
    },
    extra="graphql",
)
