"""Responses of coroutines, and of other sources than SQL."""

from __future__ import annotations

import json

import graphene
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject

from dbopt.cache import counters, invalidate
from dbopt.graphql import AsyncGraphQLView, GraphQLView, cache_control
from dbopt.graphql.cache.operations import RESPONSES
from dbopt.neo4j import graph
from tests.graphql.cache.bookshop import CALLS, ask, request_of
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


def public(**options):
    return cache_control(max_age=60, scope="PUBLIC", **options)


class Query(graphene.ObjectType):
    count = graphene.Int()
    who = graphene.String()

    @public()
    async def resolve_count(self, info):
        CALLS.append("count")
        return await Book.objects.acount()

    @public()
    async def resolve_who(self, info):
        CALLS.append("who")
        user = await info.context.auser()
        return f"{user.username}:{await Book.objects.acount()}"


VIEW = AsyncGraphQLView.as_view(schema=graphene.Schema(query=Query))


def answer(query, user=None):
    request = request_of(query)

    def load():
        return AnonymousUser() if user is None else User.objects.get(pk=user.pk)

    async def auser():
        # As Django's own middleware does.
        return AnonymousUser() if user is None else await User.objects.aget(pk=user.pk)

    request.user, request.auser = SimpleLazyObject(load), auser
    return json.loads(async_to_sync(VIEW)(request).content)["data"]


def test_coroutines_are_observed(shop_database):
    assert [answer("{ count }") for _ in range(2)] == [{"count": 0}] * 2
    assert CALLS == ["count"]

    Book.objects.create(title="One", author=Author.objects.create(name="Ann", email="ann@example.com"))

    assert answer("{ count }") == {"count": 1}


def test_coroutine_that_looks_at_the_user(people):
    for _ in range(3):
        for user in (*people, None):
            assert answer("{ who }", user) == {"who": f"{user.username if user else ''}:0"}
    # The first looked at a user whom nobody had loaded: its answer could not be kept.
    assert CALLS == ["who"] * 4


def test_graph_needs_tags(neo4j_server, shop_database):
    class Query(graphene.ObjectType):
        plain = graphene.Int()
        tagged = graphene.Int()

        @public()
        def resolve_plain(self, info):
            CALLS.append("plain")
            return graph.read("RETURN $n AS n", {"n": Book.objects.count()})[0]["n"]

        @public(tags=["graph"])
        def resolve_tagged(self, info):
            CALLS.append("tagged")
            return graph.read("RETURN 7 AS n")[0]["n"]

    view = GraphQLView.as_view(schema=graphene.Schema(query=Query))
    for _ in range(2):
        assert ask("{ plain }", view=view) == {"data": {"plain": 0}}
        assert ask("{ tagged }", view=view) == {"data": {"tagged": 7}}
    assert CALLS == ["plain", "tagged", "plain"]
    assert dict(counters.counters_of(RESPONSES).refusals) == {"no_tags": 2}

    invalidate("graph")
    ask("{ tagged }", view=view)
    assert CALLS[3:] == ["tagged"]
