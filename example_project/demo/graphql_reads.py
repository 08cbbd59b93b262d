"""A nested GraphQL query as graphene-django runs it, and as dbopt runs it: same schema, same answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import graphene
from asgiref.sync import async_to_sync
from django.test import RequestFactory
from graphene_django.views import GraphQLView as StockView

from dbopt.graphql import AsyncGraphQLView, GraphQLView
from dbopt.intelgraph.schema import Query, schema
from dbopt.tenancy import tenant_context
from example_project.demo.stopwatch import measure
from example_project.queries import NESTED

if TYPE_CHECKING:
    from dbopt.intelgraph.models import Member


def compare(member: Member) -> dict[str, Any]:
    """Statements and milliseconds of the query through each view; all must give the same rows."""
    # A second schema of the same types: `optimize` changed only the domain's own.
    stock = StockView.as_view(schema=graphene.Schema(query=Query))
    optimised = GraphQLView.as_view(schema=schema)
    asynchronous = async_to_sync(AsyncGraphQLView.as_view(schema=schema))
    with tenant_context(member.tenant_id):
        without = measure(lambda: ask(stock, member, query=NESTED), runs=3)
        with_ = measure(lambda: ask(optimised, member, query=NESTED), runs=10)
        async_ = measure(lambda: ask(asynchronous, member, query=NESTED), runs=10)
    return {
        "query": NESTED,
        "bytes": len(with_.result),
        "same_rows": _rows(without.result) == _rows(with_.result) == _rows(async_.result),
        "without": {"statements": without.statements, "ms": without.ms},
        "with": {"statements": with_.statements, "ms": with_.ms},
        "async": {"statements": async_.statements, "ms": async_.ms},
    }


def ask(view: Any, member: Member, *, status: int = 200, **body: Any) -> bytes:
    """Return the answer to a request as a member, which must have this status and no errors but with another one.

    Raises:
        RuntimeError: it has not.
    """
    request = RequestFactory().post("/graphql", json.dumps(body), content_type="application/json")
    request.user = member.user
    response = view(request)
    answer = bytes(response.content)
    if response.status_code != status or (b'"errors"' in answer) != (status != 200):  # noqa: PLR2004
        raise RuntimeError(f"The demo's query was answered with status {response.status_code}, not {status}.")
    return answer


def _rows(body: bytes) -> Any:
    # Under DEBUG the view adds extensions about itself.
    return _sorted(json.loads(body)["data"])


def _sorted(value: Any) -> Any:
    """The answer with every list in an order of its own: related rows have no order unless one asks for it."""
    if isinstance(value, dict):
        return {key: _sorted(part) for key, part in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
    return value
