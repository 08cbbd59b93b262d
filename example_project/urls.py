"""Addresses of the example project."""

from __future__ import annotations

from django.urls import include, path

from dbopt.graphql import AsyncGraphQLView, GraphQLView
from dbopt.intelgraph.schema import schema
from example_project.console import console

urlpatterns = [
    path("", console, name="console"),
    path("health/", include("dbopt.urls")),
    path("graphql", GraphQLView.as_view(schema=schema, graphiql=False), name="graphql"),
    path("graphql/async", AsyncGraphQLView.as_view(schema=schema, graphiql=False), name="graphql-async"),
]
