"""The query console: runs a GraphQL query and shows the statements, batches and time that it took.

For a demo on one's own machine: it logs visitors in as seeded users, so it answers only with DEBUG on.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any

from django.contrib.auth import login
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from dbopt.graphql import GraphQLView
from dbopt.intelgraph.models import Member
from dbopt.intelgraph.schema import schema
from dbopt.signals import batch_loaded, cypher_executed
from dbopt.statements import read_statement
from example_project.queries import EXAMPLES

if TYPE_CHECKING:
    from django.dispatch import Signal

MAX_SHOWN_STATEMENTS = 50
_view = GraphQLView(schema=schema)


@dataclass
class Trace:
    """What one operation did: statements without their parameters, Cypher, loader batches; times in milliseconds."""

    statements: list[tuple[str, float]] = field(default_factory=list)
    cypher: list[tuple[str, float]] = field(default_factory=list)
    batches: list[tuple[str, int, float]] = field(default_factory=list)
    total_ms: float = 0.0


@contextmanager
def traced() -> Iterator[Trace]:
    """Collect what this thread does inside the block."""
    trace, thread = Trace(), get_ident()

    def on_sql(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        begun = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            text = read_statement(sql, context["connection"]).text
            trace.statements.append((text, (time.perf_counter() - begun) * 1000))

    def on_cypher(*, name: str | None, seconds: float, **_: Any) -> None:
        if get_ident() == thread:
            trace.cypher.append((name or "(unnamed)", seconds * 1000))

    def on_batch(*, loader: str, size: int, seconds: float, **_: Any) -> None:
        if get_ident() == thread:
            trace.batches.append((loader, size, seconds * 1000))

    begun = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(connections["default"].execute_wrapper(on_sql))
        stack.enter_context(_listening(cypher_executed, on_cypher))
        stack.enter_context(_listening(batch_loaded, on_batch))
        yield trace
    trace.total_ms = (time.perf_counter() - begun) * 1000


@contextmanager
def _listening(signal: Signal, receiver: Any) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@require_http_methods(["GET", "HEAD", "POST"])
def console(request: HttpRequest) -> HttpResponse:
    """Show the form, or the answer to a query with what it cost."""
    from django.conf import settings

    if not settings.DEBUG:
        raise Http404
    members = list(
        Member.objects.select_related("tenant", "user").order_by("tenant_id", "id").distinct("tenant_id")[:8]
    )
    if request.GET.get("as") or not request.user.is_authenticated:
        return _log_in(request, members)
    query = request.POST.get("query") or EXAMPLES[0].query
    shown: dict[str, Any] = {
        "query": query,
        "examples": EXAMPLES,
        "members": members,
        "nonce": secrets.token_urlsafe(16),
    }
    if request.method == "POST":
        with traced() as trace:
            answer = _view.execute_graphql_request(request, {}, query, None, None)
        body: dict[str, Any] = {"data": answer.data if answer else None}
        if answer and answer.errors:
            body["errors"] = [_view.format_error(error) for error in answer.errors]
        shown |= {
            "answer": json.dumps(body, indent=2, ensure_ascii=False, default=str),
            "trace": trace,
            "statements": trace.statements[:MAX_SHOWN_STATEMENTS],
            "hidden": max(0, len(trace.statements) - MAX_SHOWN_STATEMENTS),
        }
    response = render(request, "example_project/console.html", shown)
    response["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{shown['nonce']}'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    response["Cache-Control"] = "no-store"
    return response


def _log_in(request: HttpRequest, members: list[Member]) -> HttpResponse:
    wanted = request.GET.get("as")
    chosen = next((member for member in members if wanted in (None, str(member.pk))), None)
    if chosen is None:
        raise Http404("There is no such member; load data first with: manage.py intelgraph_seed --entities 1000")
    login(request, chosen.user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("console")
