"""Hostile documents and requests: a clean refusal, with little work, and the next request is served."""

from __future__ import annotations

import json

import pytest
from django.test import RequestFactory, override_settings
from graphene_django.views import GraphQLView as StockView
from graphql import get_introspection_query

from benchmarks.graphql_hostile import DOCUMENTS, HONEST_SIZES, UNREMEMBERED, build_schema
from dbopt.graphql import GraphQLView
from dbopt.graphql.safety.tokens import tokens_of
from tests.graphql.posting import ask, calls_during, errors_of

SCHEMA = build_schema()
VIEW = GraphQLView.as_view(schema=SCHEMA)
BATCH = GraphQLView.as_view(schema=SCHEMA, batch=True)


@pytest.mark.parametrize("name", DOCUMENTS)
@override_settings(DBOPT=UNREMEMBERED)
def test_hostile_document_is_refused_with_little_work(name):
    text, code = DOCUMENTS[name]
    ask(VIEW, {"query": "{ node { name } }"})
    answers = []

    calls = calls_during(lambda: answers.append(ask(VIEW, {"query": text})))

    (status, answer), *_ = answers
    assert status == 400
    assert list(answer) == ["errors"]
    assert {(error.get("extensions") or {}).get("code") for error in answer["errors"]} == {code}
    # Half a microsecond each, on the whole: five milliseconds are ten thousand.
    assert calls < 8_000
    assert ask(VIEW, {"query": "{ node { name } }"}) == (200, {"data": {"node": None}})


@pytest.mark.parametrize("name", HONEST_SIZES)
@override_settings(DBOPT=UNREMEMBERED)
def test_document_within_the_limits_costs_what_honest_ones_of_its_size_do(name):
    text, variables = HONEST_SIZES[name]
    answers = []

    calls = calls_during(lambda: answers.append(ask(VIEW, {"query": text, "variables": variables})))

    (status, answer), *_ = answers
    assert status in {200, 400}
    assert len(answer.get("errors", ())) <= 51
    assert calls < 250_000


@override_settings(DBOPT=UNREMEMBERED)
def test_few_mistakes_are_told_one_by_one_and_of_the_others_twenty():
    few = ask(VIEW, {"query": "{ node { " + " ".join(f"n{n}" for n in range(20)) + " } }"})[1]
    others = ask(VIEW, {"query": "{ node(n: [" + '"a" ' * 40 + "]) { name } }"})[1]

    assert [text for text, _ in errors_of(few)] == [f"Cannot query field 'n{n}' on type 'Node'." for n in range(20)]
    assert len(errors_of(others)) == 21
    assert errors_of(others)[-1][0] == "Too many validation errors, error limit reached. Validation aborted."


CLIENTS = {
    "GraphiQL": get_introspection_query(),
    "Apollo Sandbox": get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    ),
    # Apollo Client adds __typename everywhere.
    "Apollo Client": """
        query GetNode($tags: [String!] = ["a"], $withB: Boolean!, $first: Int) {
          node(x: $tags) { ...NodeParts b @include(if: $withB) { ...NodeParts __typename } __typename }
        }
        fragment NodeParts on Node { name a { ...Leaf __typename } page(first: $first) { ...Leaf __typename } __typename }
        fragment Leaf on Node { name __typename }
    """,
    # What Relay's compiler writes: fragments first, inline fragments and aliases for equal fields.
    "Relay": """
        query AppQuery($count: Int!, $input: Input) {
          node(input: $input) { ...List_node_1G22uz ... on Node { __typename } ...Item_node }
        }
        fragment Item_node on Node { name ... on Node { a { name } } }
        fragment List_node_1G22uz on Node {
          page(first: $count) { name ...Item_node __typename }
          few: page(first: 3) { name }
        }
    """,
    "curl": "{__typename}",
}


@pytest.mark.parametrize("client", CLIENTS)
@override_settings(DBOPT=UNREMEMBERED)
def test_what_clients_send_is_answered(client):
    variables = {"withB": True, "first": 3, "count": 3, "input": {"a": 1}, "tags": ["a"]}

    status, answer = ask(VIEW, {"query": CLIENTS[client], "variables": variables})

    assert (status, list(answer)) == (200, ["data"])


@override_settings(DBOPT=UNREMEMBERED)
def test_work_grows_with_the_text_at_most():
    def work(count):
        text = "{ node { " + "a { name } b { name } " * count + "} }"
        return calls_during(lambda: ask(VIEW, {"query": text})) / len(tokens_of(text))

    assert work(40) < 1.5 * work(5)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[" * 100_000, "POST body sent JSON that is nested too deeply."),
        (b'{"query": "\xff"}', None),
        ("{", "POST body sent invalid JSON."),
        ("null", "The received data is not a valid JSON query."),
        ('{"query": 5}', "The query must be a string."),
        ('{"query": {"a": 1}}', "The query must be a string."),
        ('{"query": ""}', "Must provide query string."),
        ('{"query": "{ node { name } }", "variables": [1]}', None),
        ('{"query": "{ node { name } }", "variables": "5"}', None),
        ('{"query": "{ node { name } }", "operationName": "Nobody"}', "Unknown operation named 'Nobody'."),
        ('{"query": "{ node { name } }", "operationName": {"a": []}}', None),
        ('{"query": "\\ud800"}', None),
        ('{"query": "{ node { name } } \\u0000"}', None),
        ('{"query": "type Query { a: Int }"}', "The 'Query' definition is not executable."),
        ('{"query": "{ node"}', "Syntax Error: Expected Name, found <EOF>."),
    ],
)
def test_malformed_request_is_a_clean_400(body, message):
    status, answer = ask(VIEW, None, raw=body)

    assert status == 400
    assert list(answer) == ["errors"]
    if message is not None:
        assert answer["errors"][0]["message"] == message


@pytest.mark.parametrize(
    ("body", "message", "extensions"),
    [
        ([{"query": "{ node { name } }"}] * 11, "11 operations in the batch; at most 10 are allowed.", "BATCH_LIMIT"),
        (
            [{"query": "{ node { name } }"}] * 1000,
            "1000 operations in the batch; at most 10 are allowed.",
            "BATCH_LIMIT",
        ),
        ([1], "Each entry of a batch must be an object.", None),
        ([{"query": "{ node { name } }"}, None], "Each entry of a batch must be an object.", None),
        ([], "Received an empty list in the batch request.", None),
    ],
)
def test_batch_is_limited(body, message, extensions):
    status, answer = ask(BATCH, body)

    assert status == 400
    assert [(text, found and found["code"]) for text, found in errors_of(answer)] == [(message, extensions)]


def test_single_document_is_no_batch():
    request = RequestFactory().post("/", "{ node { name } }", content_type="application/graphql")

    response = BATCH(request)

    assert response.status_code == 400
    assert json.loads(response.content) == {"errors": [{"message": "Each entry of a batch must be an object."}]}


def test_long_body_is_refused_before_it_is_read():
    body = {"query": "{ node { name } }", "variables": {"x": "x" * 1_000_000}}
    length = len(json.dumps(body))

    status, answer = ask(VIEW, body)

    assert status == 413
    assert errors_of(answer) == [
        (
            f"{length} bytes in the body; at most 1000000 are allowed.",
            {"code": "SIZE_LIMIT", "limit": 1_000_000, "actual": length},
        )
    ]


def test_body_that_announces_less_than_it_has_gains_nothing():
    request = RequestFactory().post("/", "{}", content_type="application/json")
    request._body = b" " * 1_000_001

    assert VIEW(request).status_code == 413


@override_settings(DBOPT={"GRAPHQL": {"MAX_BODY_BYTES": 100}})
def test_uploads_have_no_limit_of_ours():
    data = {"query": "{ node { name } }", "padding": "x" * 1000}

    assert VIEW(RequestFactory().post("/", data)).status_code == 200


@pytest.mark.parametrize(
    ("variables", "actual"),
    [
        ({"x": ["a"] * 10_000}, 10_001),
        ({f"x{n}": n for n in range(10_001)}, 10_001),
        ({"x": [["a"] * 99] * 200}, 10_002),
        ({"x": [{"a": 1, "b": [2]}] * 5_000}, 10_001),
        (["a"] * 20_000, 20_000),
    ],
)
def test_variables_may_hold_so_many_values(variables, actual):
    status, answer = ask(VIEW, {"query": "query ($x: [String]) { node(x: $x) { name } }", "variables": variables})

    assert status == 400
    assert errors_of(answer) == [
        (
            f"{actual} or more values in the variables; at most 10000 are allowed.",
            {"code": "VALUE_LIMIT", "limit": 10_000, "actual": actual},
        )
    ]


def test_variables_within_the_limit_are_taken():
    body = {"query": "query ($x: [String]) { node(x: $x) { name } }", "variables": {"x": ["a"] * 9_999}}

    assert ask(VIEW, body) == (200, {"data": {"node": None}})


@override_settings(DBOPT={"GRAPHQL": {"MAX_BODY_BYTES": None, "MAX_BATCH": None, "MAX_VALUES": None}})
def test_limits_of_requests_can_be_taken_away():
    body = [{"query": "{ node { name } }", "variables": {"x": ["x"] * 20_000}}] * 12

    status, answer = ask(BATCH, body)

    assert (status, len(answer)) == (200, 12)


def test_stock_view_in_comparison_accepts_what_is_refused_here():
    text, _ = DOCUMENTS["300 aliases"]

    assert ask(StockView.as_view(schema=SCHEMA), {"query": text})[0] == 200
