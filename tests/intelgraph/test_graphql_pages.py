"""Pages of the domain's lists over GraphQL."""

from __future__ import annotations

import json

import pytest
from django.test import RequestFactory, override_settings

from dbopt.graphql import GraphQLView
from dbopt.intelgraph.schema import schema
from dbopt.tenancy import tenant_context
from tests.intelgraph.graphql_world import ask, ask_counted, codes, make_world

pytestmark = pytest.mark.django_db

PAGE = """query P($first: Int, $after: String, $last: Int, $before: String, $type: String) {
    entities(first: $first, after: $after, last: $last, before: $before, type: $type) {
        edges { cursor node { externalId outgoing { nodes { target { name } } } } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        totalCount
    }
}"""


@pytest.fixture
def world():
    return make_world("one", entities=25)


def walk(world, **arguments):
    """Follow end cursors; return the ids of each page."""
    pages, after = [], None
    while True:
        data = ask(world, PAGE, after=after, **arguments).data["entities"]
        pages.append([edge["node"]["externalId"] for edge in data["edges"]])
        assert data["totalCount"] == 25
        if not data["pageInfo"]["hasNextPage"]:
            return pages
        after = data["pageInfo"]["endCursor"]


def test_pages_show_every_row_once_newest_first(world):
    pages = walk(world, first=10)

    assert [len(page) for page in pages] == [10, 10, 5]
    assert [pk for page in pages for pk in page] == [f"e{number}" for number in reversed(range(25))]


def test_page_with_nested_lists_costs_the_same_at_any_size(world):
    text = "query P($n: Int) { entities(first: $n) { edges { node { outgoing { nodes { target { name } } } } } } }"

    counts = {n: len(ask_counted(world, text, n=n)[1]) for n in (1, 10, 25)}

    assert counts == {1: 3, 10: 3, 25: 3}


def test_cursor_of_another_list_or_tampered_with_is_refused(world):
    cursor = ask(world, "{ members { pageInfo { endCursor } } }").data["members"]["pageInfo"]["endCursor"]
    own = ask(world, PAGE, first=1).data["entities"]["pageInfo"]["endCursor"]

    for bad in (cursor, own[:-2], own[:5] + ("A" if own[5] != "A" else "B") + own[6:], "YXJyYXljb25uZWN0aW9uOjA=", ""):
        result = ask(world, PAGE, first=1, after=bad)
        assert codes(result) == ["INVALID_CURSOR"], bad


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"first": 1001}, "PAGE_TOO_LARGE"),
        ({"last": 1001}, "PAGE_TOO_LARGE"),
        ({"first": -1}, "BAD_PAGINATION"),
        ({"first": 1, "last": 1}, "BAD_PAGINATION"),
    ],
)
def test_bad_page_arguments_have_their_code(world, arguments, code):
    assert codes(ask(world, PAGE, **arguments)) == [code]


def test_page_size_may_be_demanded(world):
    with override_settings(DBOPT={"GRAPHQL": {"REQUIRE_PAGINATION": True}}):
        refused = ask(world, PAGE)
        given = ask(world, PAGE, first=0)

    assert codes(refused) == ["PAGINATION_REQUIRED"]
    assert given.data["entities"]["edges"] == []


def test_without_a_size_a_page_has_a_hundred_rows():
    world = make_world("big", entities=101)

    data, _ = ask_counted(world, "{ entities { nodes { id } pageInfo { hasNextPage } } }")

    assert len(data["entities"]["nodes"]) == 100
    assert data["entities"]["pageInfo"] == {"hasNextPage": True}


def test_codes_reach_the_client_over_http(world):
    def post(query):
        request = RequestFactory().post("/graphql", json.dumps({"query": query}), content_type="application/json")
        response = GraphQLView.as_view(schema=schema)(request)
        return response.status_code, json.loads(response.content)

    status, answer = post("{ entities { nodes { id } } }")
    assert status == 200
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["TENANT_REQUIRED"]
    assert answer["data"] is None

    with tenant_context(world.tenant.pk):
        _, answer = post('{ entities(after: "x") { nodes { id } } }')
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["INVALID_CURSOR"]
        _, answer = post("{ entities(first: 2) { nodes { externalId } } }")
        assert answer == {"data": {"entities": {"nodes": [{"externalId": "e24"}, {"externalId": "e23"}]}}}
