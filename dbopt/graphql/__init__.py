"""GraphQL without N+1: an executor that works in batches, loaders, relations, keyset pages, a view.

Names are loaded at first use: without the extra `graphql` this package can be imported, and use of a name says what to install.
"""

from __future__ import annotations

from dbopt.exports import lazy_exports

__all__ = [
    "CypherLoader",
    "DataLoader",
    "DboptExecutionContext",
    "GraphQLView",
    "KeysetConnectionField",
    "ModelLoader",
    "RelatedLoader",
    "optimize",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "CypherLoader": "cypher_loaders",
        "DataLoader": "loaders",
        "DboptExecutionContext": "executor",
        "GraphQLView": "views",
        "KeysetConnectionField": "connections",
        "ModelLoader": "model_loaders",
        "RelatedLoader": "model_loaders",
        "optimize": "relations",
    },
    extra="graphql",
)
