"""Hostile documents and requests: a clean refusal, with little work, and the next request is served."""

from __future__ import annotations

import json

import pytest
from django.test import RequestFactory, override_settings
from graphene_django.views import GraphQLView as StockView

from benchmarks.graphql_hostile import DOCUMENTS, UNREMEMBERED, build_schema
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
    assert calls < 6_000
    assert ask(VIEW, {"query": "{ node { name } }"}) == (200, {"data": {"node": None}})


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


@override_settings(DBOPT={"GRAPHQL": {"MAX_BODY_BYTES": None, "MAX_BATCH": None}})
def test_limits_of_requests_can_be_taken_away():
    body = [{"query": "{ node { name } }", "variables": {"x": "x" * 100_000}}] * 12

    status, answer = ask(BATCH, body)

    assert (status, len(answer)) == (200, 12)


def test_stock_view_in_comparison_accepts_what_is_refused_here():
    text, _ = DOCUMENTS["300 aliases"]

    assert ask(StockView.as_view(schema=SCHEMA), {"query": text})[0] == 200
