"""Faults in the middle of an operation: one clean error a field, and the next request is served as if nothing was."""

from __future__ import annotations

import asyncio
import io
import json
from wsgiref.util import setup_testing_defaults

import graphene
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test import RequestFactory, override_settings
from django.urls import path
from graphql import build_schema
from promise import Promise
from promise.promise import async_instance

from dbopt.graphql import DataLoader, GraphQLView
from tests.graphql.async_project import Caller, execute
from tests.graphql.running import messages, run
from tests.testapp.models import Author


class Names(DataLoader):
    def batch_load(self, keys):
        return dict(Author.objects.filter(pk__in=keys).values_list("pk", "name"))


class Query(graphene.ObjectType):
    count = graphene.Int()
    die = graphene.Int()
    name = graphene.String()
    constant = graphene.Int()

    def resolve_count(self, info):
        return Author.objects.count()

    def resolve_die(self, info):
        return execute("SELECT pg_terminate_backend(pg_backend_pid())::int")

    def resolve_name(self, info):
        return Names(info.context).load(1)

    def resolve_constant(self, info):
        return 1


class Mutation(graphene.ObjectType):
    write_and_die = graphene.Int()
    count = graphene.Int()

    def resolve_write_and_die(self, info):
        Author.objects.create(name="lost", email="lost@example.com")
        return execute("SELECT pg_terminate_backend(pg_backend_pid())::int")

    def resolve_count(self, info):
        return Author.objects.count()


urlpatterns = [path("graphql", GraphQLView.as_view(schema=graphene.Schema(query=Query, mutation=Mutation)))]


def serve(text):
    """Ask as a server does, with the signals at both ends of a request by which Django looks after connections."""
    body = json.dumps({"query": text}).encode()
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/graphql", "CONTENT_TYPE": "application/json"}
    environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), "HTTP_HOST": "testserver"}
    setup_testing_defaults(environ)
    started = []
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        response = WSGIHandler()(environ, lambda status, headers: started.append(status))
        answer = json.loads(b"".join(response))
        response.close()
    return started, answer


@pytest.mark.django_db(transaction=True)
def test_database_that_dies_is_an_error_of_each_field_and_the_next_request_is_clean():
    started, answer = serve("{ constant die count name again: constant }")

    assert started == ["200 OK"]
    assert answer["data"] == {"constant": 1, "die": None, "count": None, "name": None, "again": 1}
    assert sorted(error["path"] for error in answer["errors"]) == [["count"], ["die"], ["name"]]
    assert not any("Traceback" in error["message"] for error in answer["errors"])
    assert serve("{ count name }") == (["200 OK"], {"data": {"count": 0, "name": None}})


@pytest.mark.django_db(transaction=True)
def test_database_that_dies_in_an_atomic_mutation_rolls_it_back(monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_MUTATIONS", True)

    _, answer = serve("mutation { writeAndDie count }")

    assert answer["errors"]
    assert serve("{ count }") == (["200 OK"], {"data": {"count": 0}})


@pytest.mark.django_db(transaction=True)
def test_client_that_goes_away_from_the_view_without_coroutines_leaves_the_thread_clean():
    async def leave():
        caller = Caller("{ count name }")
        await caller.send()
        await caller.go_away()
        other = Caller("{ count name constant }")
        await other.send()
        return await other.answer()

    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        assert asyncio.run(leave()) == (200, {"data": {"count": 0, "name": None, "constant": 1}})


class BrokenStream(io.RawIOBase):
    def read(self, size=-1):
        raise OSError("the client has gone")


def test_body_of_a_client_that_has_gone_is_a_clean_400():
    view = GraphQLView.as_view(schema=graphene.Schema(query=Query))
    request = RequestFactory().post("/graphql", "{}", content_type="application/json")
    request._stream = BrokenStream()

    response = view(request)

    assert (response.status_code, json.loads(response.content)) == (
        400,
        {"errors": [{"message": "The body could not be read."}]},
    )


@pytest.mark.parametrize("death", [SystemExit, KeyboardInterrupt])
def test_exit_in_a_callback_is_not_swallowed_and_leaves_the_thread_clean(death):
    ran = []

    class Ones(DataLoader):
        def batch_load(self, keys):
            return [1] * len(keys)

    def dies(value):
        Promise.resolve(1).then(lambda _: ran.append("left behind"))
        raise death

    resolvers = {"Query.a": lambda root, info: Ones(info.context).load(1).then(dies)}
    with pytest.raises(death):
        run("type Query { a: Int }", "{ a }", resolvers=resolvers)

    assert (len(async_instance.normal_queue), async_instance.is_tick_used) == (0, False)
    assert run("type Query { a: Int }", "{ a }", root={"a": Promise.resolve(2)}).data == {"a": 2}
    assert ran == []


@pytest.mark.parametrize(
    ("text", "data", "place"),
    [
        ("{ item { n } b }", {"item": None, "b": 1}, ["item", "n"]),
        ("{ items { n } b }", {"items": [None, None], "b": 1}, ["items", 0, "n"]),
        ("{ strict b }", {"strict": None, "b": 1}, ["strict", 1]),
        ("{ root b }", None, ["root"]),
    ],
)
def test_nothing_from_a_loader_where_null_is_forbidden(text, data, place):
    class Nothing(DataLoader):
        def batch_load(self, keys):
            return {"there": 1}

    def load(source, info):
        return Nothing(info.context).load("gone")

    def load_many(source, info):
        return Nothing(info.context).load_many(["there", "gone"])

    schema = build_schema(
        "type Query { item: Item items: [Item] strict: [Int!] root: Int! b: Int } type Item { n: Int! }"
    )
    fields = schema.query_type.fields
    fields["item"].resolve, fields["items"].resolve = (lambda *_: {}), (lambda *_: [{}, {}])
    fields["strict"].resolve, fields["root"].resolve = load_many, load
    schema.type_map["Item"].fields["n"].resolve = load

    result = run(schema, text, root={"b": 1})

    assert result.data == data
    assert messages(result)[0][1] == place


def test_failing_batch_is_an_error_of_each_of_its_cells_and_tried_again():
    calls = []

    class Flaky(DataLoader):
        def batch_load(self, keys):
            calls.append(list(keys))
            if len(calls) == 1:
                raise ValueError("down")
            return keys

    context = {}
    resolvers = {"Query.items": lambda root, info: [1, 2], "Item.n": lambda n, info: Flaky(info.context).load(n)}
    schema = "type Query { items: [Item] } type Item { n: Int }"

    first = run(schema, "{ items { n } }", resolvers=resolvers, context=context)
    second = run(schema, "{ items { n } }", resolvers=resolvers, context=context)

    assert first.data == {"items": [{"n": None}, {"n": None}]}
    assert messages(first) == [("down", ["items", 0, "n"]), ("down", ["items", 1, "n"])]
    assert (second.data, calls) == ({"items": [{"n": 1}, {"n": 2}]}, [[1, 2], [1, 2]])


def test_generator_is_read_once_as_a_list():
    result = run("type Query { a: [[Int]] }", "{ a }", root={"a": (iter([n, None]) for n in range(3))})

    assert (result.data, result.errors) == ({"a": [[0, None], [1, None], [2, None]]}, None)


def test_type_that_is_told_by_a_coroutine_is_an_error_of_its_field():
    async def later(*_):
        return "A"

    schema = build_schema("type Query { i: I a: A } interface I { n: Int } type A implements I { n: Int }")
    schema.type_map["A"].is_type_of = later
    schema.type_map["I"].resolve_type = later

    result = run(schema, "{ i { n } a { n } }", root={"i": {"n": 1}, "a": {"n": 1}})

    assert result.data == {"i": None, "a": None}
    assert sorted(messages(result)) == [
        ("A.is_type_of must be told synchronously, not by an awaitable.", ["a"]),
        ("The type of I must be told synchronously, not by an awaitable.", ["i"]),
    ]


def test_loader_that_is_a_coroutine_is_an_error_that_says_so():
    class Later(DataLoader):
        async def batch_load(self, keys):
            return keys

    result = run(
        "type Query { a: Int }", "{ a }", resolvers={"Query.a": lambda root, info: Later(info.context).load(1)}
    )

    assert messages(result) == [
        ("Later.batch_load must return one value for each of its 1 keys as a list or a mapping, not coroutine.", ["a"])
    ]
