"""The schemas that a project serves: those of the views in its addresses, and ``GRAPHENE["SCHEMA"]``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import graphene
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string
from graphene_django.views import GraphQLView

from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from graphql import GraphQLSchema


def served_schemas() -> list[GraphQLSchema]:
    """Return each schema once.

    Raises:
        ConfigurationError: what ``GRAPHENE["SCHEMA"]`` names cannot be imported.
    """
    found = list(_of_views(get_resolver().url_patterns))
    if _default():
        found.append(schema_at(_default()))
    return list({id(schema): schema for schema in found}.values())


def schema_at(path: Any) -> GraphQLSchema:
    """Return the schema that a dotted path names, or the one that is given.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        named = import_string(path) if isinstance(path, str) else path
    except ImportError as error:
        raise ConfigurationError(f"The schema {path!r} cannot be imported: {error}.") from error
    if not isinstance(named, graphene.Schema):
        raise ConfigurationError(f"{path!r} is no graphene.Schema but {type(named).__name__}.")
    schema: GraphQLSchema = named.graphql_schema
    return schema


def _default() -> Any:
    # As it is written: graphene-django's settings would import it, and fail with an error of their own.
    return getattr(settings, "GRAPHENE", {}).get("SCHEMA")


def _of_views(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[GraphQLSchema]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _of_views(pattern.url_patterns)
            continue
        callback: Any = pattern.callback
        view = getattr(callback, "view_class", None)
        if view is not None and issubclass(view, GraphQLView):
            schema = callback.view_initkwargs.get("schema") or view.schema or _default()
            if schema is not None:
                yield schema_at(schema)
