"""A nested GraphQL query as graphene-django runs it, and as dbopt runs it: same schema, same answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import graphene
from django.test import RequestFactory
from graphene_django.views import GraphQLView as StockView

from dbopt.graphql import GraphQLView
from dbopt.intelgraph.schema import Query, schema
from dbopt.tenancy import tenant_context
from example_project.demo.stopwatch import measure
from example_project.queries import NESTED

if TYPE_CHECKING:
    from dbopt.intelgraph.models import Member


def compare(member: Member) -> dict[str, Any]:
    """Statements and milliseconds of the query through each view; both must give the same rows."""
    # A second schema of the same types: `optimize` changed only the domain's own.
    stock = StockView.as_view(schema=graphene.Schema(query=Query))
    optimised = GraphQLView.as_view(schema=schema)
    with tenant_context(member.tenant_id):
        without = measure(lambda: _ask(stock, member), runs=3)
        with_ = measure(lambda: _ask(optimised, member), runs=10)
    return {
        "query": NESTED,
        "bytes": len(with_.result),
        "same_rows": _rows(without.result) == _rows(with_.result),
        "without": {"statements": without.statements, "ms": without.ms},
        "with": {"statements": with_.statements, "ms": with_.ms},
    }


def _ask(view: Any, member: Member) -> bytes:
    request = RequestFactory().post("/graphql", json.dumps({"query": NESTED}), content_type="application/json")
    request.user = member.user
    response = view(request)
    body = response.content
    if response.status_code != 200 or b'"errors"' in body:  # noqa: PLR2004
        raise RuntimeError(f"The demo's query failed with status {response.status_code}.")
    return bytes(body)


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
