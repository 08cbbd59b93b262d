"""One record a request, in both worlds."""

from __future__ import annotations

import re

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from dbopt.monitoring import current_record, reports
from dbopt.signals import announce, batch_loaded, cache_read, cypher_executed
from tests.testapp.models import Author

MIDDLEWARE = [
    "dbopt.monitoring.middleware.MonitoringMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("statistics")]


def authors(request, pk):
    return HttpResponse(str(Author.objects.filter(pk=pk).count()))


async def authors_async(request, pk):
    return HttpResponse(str(await Author.objects.filter(pk=pk).acount()))


def stream(request):
    return StreamingHttpResponse(str(Author.objects.count()) for _ in range(3))


def stores(request):
    announce(
        cypher_executed, sender=None, alias="default", database="neo4j", access="read", name="people",
        fingerprint="c1", seconds=0.2, rows=3, slow=True, failed=False,
    )  # fmt: skip
    for outcome in ("hit", "hit", "miss", "bypass"):
        announce(cache_read, sender=None, name="n", prefix="n", outcome=outcome, reason=None, seconds=0.001)
    announce(batch_loaded, sender=None, loader="AuthorById", size=7, hits=2, seconds=0.001)
    announce(batch_loaded, sender=None, loader="AuthorById", size=0, hits=1, seconds=0.0)
    return HttpResponse("ok")


def user(request):
    return HttpResponse(str(request.user))


urlpatterns = [
    path("authors/<int:pk>", authors),
    path("authors-async/<int:pk>", authors_async),
    path("stream", stream),
    path("stores", stores),
    path("user", user),
]

urls = override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE)


@urls
@override_settings(DEBUG=True)
def test_sums_are_in_the_header_under_debug():
    response = Client().get("/authors/7")

    assert re.fullmatch(r'db;dur=\d+\.\d;desc="1 statements"', response["Server-Timing"])


@urls
@override_settings(DEBUG=True)
def test_asynchronous_request_has_its_record_too():
    response = async_to_sync(AsyncClient().get)("/authors-async/7")

    assert re.fullmatch(r'db;dur=\d+\.\d;desc="1 statements"', response["Server-Timing"])


@urls
@override_settings(DEBUG=True)
def test_header_sums_up_graph_cache_and_loaders():
    response = Client().get("/stores")

    assert response["Server-Timing"] == (
        'db;dur=0.0;desc="0 statements", graph;dur=200.0;desc="1 statements", '
        'cache;desc="2 hits, 1 misses", loaders;desc="1 batches, 7 keys"'
    )


@urls
def test_cypher_stands_in_the_slow_report():
    Client().get("/stores")

    (row,) = reports.slow_queries()
    assert (row.system, row.sql, row.operation, row.calls, row.route) == ("cypher", "people", "read", 1, "stores")


@urls
def test_route_is_the_pattern_and_never_the_url():
    Client().get("/authors/4711?token=secret")

    (row,) = reports.statements()
    assert row.route == "authors/<int:pk>"


@urls
def test_strangers_see_no_header():
    assert "Server-Timing" not in Client().get("/authors/7")


@urls
def test_staff_see_the_header_where_the_view_knows_its_user():
    client = Client()
    client.force_login(get_user_model().objects.create_user("ada", is_staff=True))

    assert 'desc="2 statements"' in client.get("/user")["Server-Timing"]


@urls
def test_looking_for_staff_costs_no_statement():
    client = Client()
    client.force_login(get_user_model().objects.create_user("ada", is_staff=True))
    before = reports.totals().calls

    client.get("/authors/7")

    assert reports.totals().calls == before + 1


@urls
def test_statement_of_a_streaming_response_is_counted_for_the_process():
    response = Client().get("/stream")
    assert reports.statements() == []

    assert b"".join(response.streaming_content) == b"000"

    (row,) = reports.statements()
    assert (row.calls, row.route) == (3, "-")
    assert current_record() is None
