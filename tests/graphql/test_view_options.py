"""What the view adds to graphene-django's, part by part, each of which can be switched off."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import graphene
import pytest
from django.db import connection
from django.test import RequestFactory, override_settings
from graphene.types.generic import GenericScalar
from graphene_django.constants import MUTATION_ERRORS_FLAG
from graphene_django.views import GraphQLView as StockView
from graphql import get_introspection_query

from dbopt.conf import GraphQLSettings, dbopt_settings
from dbopt.graphql import GraphQLView
from dbopt.graphql.encoding import encode
from dbopt.graphql.execution.core_versions import ExecutionContext
from dbopt.graphql.safety.documents import documents_of
from tests.graphql.posting import ask, errors_of
from tests.testapp.models import Author


class Filter(graphene.InputObjectType):
    name = graphene.String()


class Query(graphene.ObjectType):
    filtered = graphene.String(where=Filter())
    hello = graphene.String(name=graphene.String(), size=graphene.Int())
    several = graphene.List(lambda: Query, first=graphene.Int())
    data = GenericScalar()
    fail = graphene.String()

    def resolve_hello(self, info, name="", size=0):
        return f"Hello {name}{size}"

    def resolve_several(self, info, first=1):
        return [Query()] * first

    def resolve_data(self, info):
        return {1: 2**70, "ü": [1.5, None, True]}

    def resolve_fail(self, info):
        raise ValueError("No hello. Did you mean it?")


class Write(graphene.Mutation):
    class Arguments:
        name = graphene.String()
        flagged = graphene.Boolean()

    ok = graphene.Boolean()

    def mutate(self, info, name, flagged=False):
        Author.objects.create(name=name, email=f"{name}@example.com")
        if flagged:
            setattr(info.context, MUTATION_ERRORS_FLAG, True)
        if name == "fail":
            raise ValueError("after the write")
        return Write(ok=True)


class Mutation(graphene.ObjectType):
    write = Write.Field()


SCHEMA = graphene.Schema(query=Query, mutation=Mutation)
VIEW = GraphQLView.as_view(schema=SCHEMA)


def options(**values):
    return override_settings(DBOPT={"GRAPHQL": {name.upper(): value for name, value in values.items()}})


# Introspection


@pytest.mark.parametrize(
    "text",
    [
        get_introspection_query(),
        '{ __type(name: "Query") { name } }',
        "{ x: __schema { description } }",
        "{ ...F } fragment F on Query { ... { __schema { description } } }",
        "{ hello } fragment Unused on Query { __schema { description } }",
    ],
)
def test_introspection_can_be_switched_off(text):
    with options(introspection=False):
        assert errors_of(ask(VIEW, {"query": text})[1])[0] == (
            "Introspection is disabled.",
            {"code": "INTROSPECTION_DISABLED"},
        )


def test_introspection_query_is_within_the_limits():
    status, answer = ask(VIEW, {"query": get_introspection_query(input_value_deprecation=True, specified_by_url=True)})

    assert status == 200
    assert answer["data"]["__schema"]["queryType"]["name"] == "Query"


def test_typename_works_without_introspection():
    with options(introspection=False):
        answer = ask(VIEW, {"query": "{ __typename several { __typename } }"})

    assert answer == (200, {"data": {"__typename": "Query", "several": [{"__typename": "Query"}]}})


# Suggestions

SUGGESTING = [
    ({"query": "{ hell }"}, "Cannot query field 'hell' on type 'Query'.", " Did you mean 'hello'?"),
    (
        {"query": "{ hello(nameX: 1) }"},
        "Unknown argument 'nameX' on field 'Query.hello'.",
        " Did you mean 'name'?",
    ),
    # Found when the operation runs, where versions of graphql-core cannot be told to hide it.
    (
        {"query": "query ($w: Filter) { filtered(where: $w) }", "variables": {"w": {"nameX": "a"}}},
        "Variable '$w' got invalid value {'nameX': 'a'}; Field 'nameX' is not defined by type 'Filter'.",
        " Did you mean 'name'?",
    ),
    ({"query": "{ ... on Quer { hello } }"}, "Unknown type 'Quer'.", " Did you mean 'Query'?"),
]


@pytest.mark.parametrize(("body", "message", "suggestion"), SUGGESTING, ids=["field", "argument", "variables", "type"])
def test_suggestions_are_for_debugging(body, message, suggestion):
    assert ask(VIEW, body)[1]["errors"][0]["message"] == message

    with override_settings(DEBUG=True):
        assert ask(VIEW, body)[1]["errors"][0]["message"] == message + suggestion
    with options(suggestions=True):
        assert ask(VIEW, body)[1]["errors"][0]["message"] == message + suggestion
    with override_settings(DEBUG=True), options(suggestions=False):
        assert ask(VIEW, body)[1]["errors"][0]["message"] == message


def test_messages_of_resolvers_are_left_alone():
    assert ask(VIEW, {"query": "{ fail }"})[1]["errors"][0]["message"] == "No hello. Did you mean it?"


# Limits


@pytest.mark.parametrize(
    ("body", "code", "limit", "actual"),
    [
        ({"query": "{ several { hello } }"}, "COST_LIMIT", 50, 101),
        ({"query": "query ($n: Int) { several(first: $n) { hello } }", "variables": {"n": 60}}, "COST_LIMIT", 50, 61),
        (
            {"query": "query ($n: Int) { several(first: $n) { hello } }", "variables": '{"n": 70}'},
            "COST_LIMIT",
            50,
            71,
        ),
        ({"query": "{ a: hello b: hello }"}, "ALIAS_LIMIT", 1, 2),
        ({"query": "{ several { several { hello } } }"}, "DEPTH_LIMIT", 2, 3),
    ],
)
def test_limit_of_the_settings_refuses_with_400(body, code, limit, actual):
    with options(max_cost=50, max_aliases=1, max_depth=2):
        status, answer = ask(VIEW, body)

    assert (status, list(answer)) == (400, ["errors"])
    assert [extensions for _, extensions in errors_of(answer)] == [{"code": code, "limit": limit, "actual": actual}]


def test_cost_is_that_of_the_operation_that_runs():
    text = "query Small { hello } query Large { several { hello } }"

    with options(max_cost=50):
        small = ask(VIEW, {"query": text, "operationName": "Small"})
        large, _ = ask(VIEW, {"query": text, "operationName": "Large"})

    assert (small, large) == ((200, {"data": {"hello": "Hello 0"}}), 400)


def test_view_may_have_limits_of_its_own():
    class Internal(GraphQLView):
        def get_options(self, request):
            return dataclasses.replace(dbopt_settings.graphql, max_depth=None)

    text = "{ several { several { hello } } }"

    with options(max_depth=2):
        assert ask(VIEW, {"query": text})[0] == 400
        assert ask(Internal.as_view(schema=SCHEMA), {"query": text})[0] == 200


# GET


def test_get_reads_and_never_writes(db):
    write = 'mutation W { write(name: "x") { ok } } query R { hello }'

    assert ask(VIEW, {"query": "{ hello }"}, method="get") == (200, {"data": {"hello": "Hello 0"}})
    assert ask(VIEW, {"query": write, "operationName": "R"}, method="get")[0] == 200
    assert ask(VIEW, {"query": write, "operationName": "W"}, method="get") == (
        405,
        {"errors": [{"message": "Can only perform a mutation operation from a POST request."}]},
    )
    assert ask(VIEW, {"query": write}, method="get")[0] == 400
    assert not Author.objects.exists()


# Documents


def test_document_is_remembered_between_requests():
    schema = graphene.Schema(query=Query)
    view = GraphQLView.as_view(schema=schema)

    for number in range(3):
        body = {"query": "query ($n: Int) { hello(size: $n) }", "variables": {"n": number}}
        assert ask(view, body) == (200, {"data": {"hello": f"Hello {number}"}})

    assert len(documents_of(schema.graphql_schema).valid) == 1


# JSON


def test_both_ways_of_writing_json_mean_the_same():
    with options(orjson=True):
        fast = ask(VIEW, {"query": "{ hello data }"})
    with options(orjson=False):
        plain = ask(VIEW, {"query": "{ hello data }"})

    assert fast == plain == (200, {"data": {"hello": "Hello 0", "data": {"1": 2**70, "ü": [1.5, None, True]}}})


@pytest.mark.parametrize("value", [{"a": "ü", "b": [1, 2.5, None]}, {1: 2}, 2**70, "\ud800", {"a": -(2**63)}])
def test_encoding_falls_back_where_orjson_cannot(value):
    assert json.loads(encode(value, fast=True)) == json.loads(encode(value, fast=False))


def test_encoding_is_fast_where_it_can_be():
    assert encode({"a": "ü"}, fast=True) == '{"a":"ü"}'.encode()
    assert encode({"a": "ü"}, fast=False) == b'{"a":"\\u00fc"}'


@pytest.mark.parametrize("value", [datetime(2020, 1, 1, tzinfo=UTC), object(), {1, 2}, GraphQLSettings()])
def test_what_is_no_json_is_an_error_in_both(value):
    for fast in (True, False):
        with pytest.raises(TypeError):
            encode(value, fast=fast)


def test_pretty_and_batched_responses_keep_their_form():
    request = RequestFactory().post("/?pretty=1", '{"query": "{ hello }"}', content_type="application/json")
    batch = GraphQLView.as_view(schema=SCHEMA, batch=True)

    assert VIEW(request).content == b'{\n  "data": {\n    "hello": "Hello 0"\n  }\n}'
    assert ask(batch, [{"query": "{ hello }", "id": 7}, {"query": "{ nope }"}]) == (
        400,
        [
            {"data": {"hello": "Hello 0"}, "id": 7, "status": 200},
            {
                "errors": [
                    {
                        "message": "Cannot query field 'nope' on type 'Query'.",
                        "locations": [{"line": 1, "column": 3}],
                    }
                ],
                "id": None,
                "status": 400,
            },
        ],
    )


# With all parts off, and upstream's rules

ALL_OFF = {
    **{item.name: None for item in dataclasses.fields(GraphQLSettings) if item.name.startswith("max_")},
    "max_page_size": 1000,
    "suggestions": True,
    "document_cache_characters": 0,
    "orjson": False,
}
BODIES = [
    {"query": '{ hello(name: "ü") several(first: 2) { hello } data }'},
    {"query": "query A { hello } query B { fail }", "operationName": "B"},
    {"query": "query A { hello } query B { fail }"},
    {"query": "{ hell }"},
    {"query": "{ hello"},
    {"query": ""},
    {},
    {"query": "query ($n: Int!) { hello(size: $n) }", "variables": {"n": "x"}},
    {"query": "query ($n: Int!) { hello(size: $n) }", "variables": "{"},
    {"query": "{ " + " ".join(f"x{n}: hello" for n in range(60)) + "}"},
    {"query": get_introspection_query()},
    {"query": 'mutation { write(name: "x") { ok } }'},
    {"query": 'mutation { write(name: "fail") { ok } }'},
    {"query": "subscription { hello }"},
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("method", ["post", "get"])
@pytest.mark.django_db
def test_with_all_parts_off_it_answers_as_the_stock_view_does(body, method):
    context = {"execution_context_class": ExecutionContext}

    with options(**ALL_OFF):
        ours = ask(GraphQLView.as_view(schema=SCHEMA, **context), body, method=method)
    Author.objects.all().delete()
    stock = ask(StockView.as_view(schema=SCHEMA), body, method=method)

    assert ours == stock


@pytest.mark.parametrize(("flagged", "written"), [(False, 1), (True, 0)])
@pytest.mark.django_db
def test_flagged_errors_roll_an_atomic_mutation_back(flagged, written, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_MUTATIONS", True)
    status, _ = ask(VIEW, {"query": f'mutation {{ write(name: "x", flagged: {str(flagged).lower()}) {{ ok }} }}'})

    assert status == 200
    assert Author.objects.count() == written


def test_graphiql_is_shown_to_browsers():
    request = RequestFactory().get("/graphql", HTTP_ACCEPT="text/html")

    response = GraphQLView.as_view(schema=SCHEMA, graphiql=True)(request)

    assert response.status_code == 200
    assert b"graphiql" in response.content
