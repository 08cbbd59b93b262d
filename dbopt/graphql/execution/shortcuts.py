"""Stock resolvers and checks of graphene whose answer is known without calling them for each object.

graphene is looked up only where it is in use already: the executor works for any schema of graphql-core.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphql import GraphQLObjectType


def plain_attribute(resolver: Any, object_type: GraphQLObjectType) -> tuple[str, Any] | None:
    """Return (attribute, default) of a resolver that only reads an attribute (or dict key), else None."""
    if isinstance(resolver, partial):
        module = sys.modules.get("graphene.types.resolver")
        if module is None or resolver.func is not module.dict_or_attr_resolver or resolver.keywords:
            return None
        return resolver.args if len(resolver.args) == 2 else None  # noqa: PLR2004  # (attribute, default)
    stock = _django_object_type()
    if stock is not None and resolver is stock.resolve_id:
        model = getattr(getattr(getattr(object_type, "graphene_type", None), "_meta", None), "model", None)
        return None if model is None else (model._meta.pk.attname, None)  # noqa: SLF001  # public by documentation
    return None


def checks_only_the_class(is_type_of: Any) -> bool:
    """Whether a type's `is_type_of` looks at nothing but the class of a value: then one answer serves the class."""
    stock = _django_object_type()
    return stock is not None and getattr(is_type_of, "__func__", None) is stock.is_type_of.__func__


def _django_object_type() -> Any:
    module = sys.modules.get("graphene_django.types")
    return None if module is None else module.DjangoObjectType
