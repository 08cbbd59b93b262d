"""The view: graphene-django's, with dbopt's executor, error codes, and loaders that end with their operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphene_django.views
from graphql import ExecutionResult, GraphQLError

from dbopt.graphql.errors import error_code, with_code
from dbopt.graphql.executor import DboptExecutionContext
from dbopt.graphql.promises import drop_leftovers
from dbopt.graphql.registry import clear_registry

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class GraphQLView(graphene_django.views.GraphQLView):
    """Answers GraphQL over HTTP, as graphene-django's view does, without N+1.

    Promise loaders work in it. Errors of dbopt carry ``extensions.code``.
    """

    execution_context_class = DboptExecutionContext

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer a request. Callbacks that an earlier user of this thread left behind are dropped first."""
        drop_leftovers()
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return response

    def execute_graphql_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> ExecutionResult | None:
        """Execute one operation; the request's loaders are closed at its end, whatever happens."""
        try:
            result: ExecutionResult | None = super().execute_graphql_request(request, *args, **kwargs)
            return result
        finally:
            clear_registry(request)

    @staticmethod
    def format_error(error: Exception) -> dict[str, Any]:
        """Return an error as the response shows it."""
        if isinstance(error, GraphQLError):
            return dict(with_code(error).formatted)
        code = error_code(error)
        return {"message": str(error)} if code is None else {"message": str(error), "extensions": {"code": code}}
