"""What the domain's schema keeps, and how a mutation makes it wrong by itself."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from dbopt.graphql import GraphQLView
from dbopt.intelgraph.models import Entity, Investigation, Relationship
from dbopt.intelgraph.schema import schema
from dbopt.tenancy import tenant_context
from dbopt.testing.caching import cache_namespace
from tests.graphql.posting import ask as post
from tests.intelgraph.graphql_world import make_world

pytestmark = pytest.mark.django_db

VIEW = GraphQLView.as_view(schema=schema)
TYPES = {"query": "{ entityTypes { type count } }"}


@pytest.fixture(autouse=True)
def own_cache(redis_server):
    with cache_namespace():
        yield


def ask_counted(world, text):
    with tenant_context(world.tenant.pk), CaptureQueriesContext(connection) as statements:
        status, answer = post(VIEW, {"query": text})
    assert (status, set(answer)) == (200, {"data"})
    return answer["data"], statements.captured_queries


@pytest.fixture
def world():
    return make_world("one")


@pytest.mark.parametrize("tenancy", [{}, {"RESOLVER": "tests.tenancy.nobody"}])
def test_types_are_kept_whole_for_the_tenant_until_a_mutation(world, settings, tenancy):
    settings.DBOPT = {**settings.DBOPT, "TENANCY": tenancy}
    other = make_world("two", entities=2)

    def types(of):
        data, statements = ask_counted(of, TYPES["query"])
        return {row["type"]: row["count"] for row in data["entityTypes"]}, len(statements)

    assert [types(world), types(world)] == [({"person": 3}, 1), ({"person": 3}, 0)]
    assert [types(other), types(other)] == [({"person": 2}, 1), ({"person": 2}, 0)]
    ask_counted(world, 'mutation { createEntity(input: {type: "ship", name: "n"}) { errors { field } } }')
    assert [types(world), types(world)] == [({"person": 3, "ship": 1}, 1), ({"person": 3, "ship": 1}, 0)]
    assert types(other)[0] == {"person": 2}


@override_settings(DEBUG=True)
def test_under_debug_too_where_answers_have_statistics(world, django_assert_num_queries):
    with tenant_context(world.tenant.pk):
        first = post(VIEW, TYPES)[1]
        with django_assert_num_queries(0):
            second = post(VIEW, TYPES)[1]

    assert first["data"] == second["data"]
    assert second["extensions"]["dbopt"]["statements"] == 0


def test_types_in_an_investigation_are_counted_for_all_in_one_statement_and_kept(world):
    first, _, _ = world.entities
    Investigation.objects.create(tenant=world.tenant, name="empty", external_id="i1")
    text = "{ investigations { nodes { name entityTypes { type count } } } }"

    data, cold = ask_counted(world, text)
    _, warm = ask_counted(world, text)
    Entity.objects.filter(pk=first.pk).update(type="company")
    changed, after = ask_counted(world, text)

    assert data["investigations"]["nodes"] == [
        {"name": "empty", "entityTypes": []},
        {"name": "one case", "entityTypes": [{"type": "person", "count": 3}]},
    ]
    assert changed["investigations"]["nodes"][1]["entityTypes"] == [
        {"type": "person", "count": 2},
        {"type": "company", "count": 1},
    ]
    assert (len(cold), len(warm), len(after)) == (2, 1, 2)


def test_hubs_are_kept_until_a_relationship_is_written(world):
    first, second, third = world.entities
    Relationship.objects.create(tenant=world.tenant, source=second, target=first, type="t", external_id="second")
    text = "{ hubs(limit: 2) { id outgoing { totalCount } } }"

    cold = ask_counted(world, text)
    warm = ask_counted(world, text)
    for number in range(2):
        Relationship.objects.create(tenant=world.tenant, source=third, target=first, type="t", external_id=f"{number}")
    after = ask_counted(world, text)

    assert (
        [int(row["id"]) for row in cold[0]["hubs"]]
        == [int(row["id"]) for row in warm[0]["hubs"]]
        == [second.pk, third.pk]
    )
    assert [int(row["id"]) for row in after[0]["hubs"]] == [third.pk, second.pk]
    assert [len(statements) for _, statements in (cold, warm, after)] == [2, 1, 2]
