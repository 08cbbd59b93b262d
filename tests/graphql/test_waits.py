"""The warning for loaders that do not batch because somebody waits for each load."""

from __future__ import annotations

import logging
import re
import threading

import graphene
import pytest
from django.test import override_settings
from promise import Promise

from dbopt.graphql import DataLoader, DboptExecutionContext, GraphQLView
from dbopt.graphql.execution.core_versions import executed_by
from tests.graphql.posting import ask

WARNING = (
    r"Doubles does not batch: {} \(tests/graphql/test_waits\.py:\d+\) waited for it with \.get\(\) 5 times, "
    r"each time for one key\. Return the promise, or load all keys before you wait: loader\.load_many\(keys\)\."
)


class Doubles(DataLoader):
    def batch_load(self, keys):
        return [2 * key for key in keys]


class Item(graphene.ObjectType):
    waited = graphene.Int()
    promised = graphene.Int()

    def resolve_waited(self, info):
        return Doubles(info.context).load(self).get()

    def resolve_promised(self, info):
        return Doubles(info.context).load(self)


class Query(graphene.ObjectType):
    items = graphene.List(Item, count=graphene.Int(default_value=10))
    loop = graphene.Int()
    chained = graphene.Int()
    wrapped = graphene.Int()
    together = graphene.Int()
    pairs = graphene.Int()

    def resolve_items(self, info, count):
        return range(1, count + 1)

    def resolve_loop(self, info):
        return sum(Doubles(info.context).load(key).get() for key in range(1, 11))

    def resolve_chained(self, info):
        return sum(Doubles(info.context).load(key).then(lambda value: value + 1).get() for key in range(1, 11))

    def resolve_wrapped(self, info):
        return sum(Promise.all([Doubles(info.context).load(key)]).get()[0] for key in range(1, 11))

    def resolve_together(self, info):
        loads = [Doubles(info.context).load(key) for key in range(1, 11)]
        return sum(Promise.all(loads).get())

    def resolve_pairs(self, info):
        loader = Doubles(info.context)
        return sum(sum(loader.load_many([key, key + 100]).get()) for key in range(1, 11))


SCHEMA = graphene.Schema(query=Query)
VIEW = GraphQLView.as_view(schema=SCHEMA)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, logger="dbopt.graphql")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "dbopt.graphql"]


def run(text):
    result = SCHEMA.execute(text, context_value={}, **executed_by(DboptExecutionContext))
    assert result.errors is None
    return result.data


@pytest.mark.parametrize(
    ("text", "resolver"),
    [
        ("{ loop }", r"Query\.resolve_loop\.<locals>\.<genexpr>"),
        ("{ chained }", r"Query\.resolve_chained\.<locals>\.<genexpr>"),
        ("{ wrapped }", r"Query\.resolve_wrapped\.<locals>\.<genexpr>"),
        ("{ items { waited } }", r"Item\.resolve_waited"),
    ],
)
def test_loop_that_waits_for_each_load_is_told_once(warnings, batches, text, resolver):
    run(text)

    assert batches == [("Doubles", 1)] * 10
    (warning,) = warnings()
    assert re.fullmatch(WARNING.format(resolver), warning)


@pytest.mark.parametrize(
    "text", ["{ together }", "{ pairs }", "{ items { promised } }", "{ items(count: 4) { waited } }"]
)
def test_loads_that_are_collected_and_few_waits_are_silent(warnings, text):
    run(text)

    assert warnings() == []


def test_loads_after_a_wait_in_the_same_resolver_still_meet(batches):
    run("{ pairs }")

    assert batches == [("Doubles", 2)] * 10


def test_each_operation_is_told_of_its_own(warnings):
    run("{ loop }")
    run("{ items(count: 4) { waited } }")
    run("{ loop a: chained }")

    assert len(warnings()) == 2


def test_load_outside_an_operation_is_silent(warnings):
    context = {}

    assert [Doubles(context).load(key).get() for key in range(1, 11)] == [2 * key for key in range(1, 11)]
    assert warnings() == []


def test_stock_executor_is_silent(warnings):
    assert SCHEMA.execute("{ loop }", context_value={}).data == {"loop": 110}
    assert warnings() == []


@override_settings(DEBUG=True)
def test_extensions_name_loader_and_resolver():
    _, answer = ask(VIEW, {"query": "{ items { waited promised } }"})

    (found,) = answer["extensions"]["dbopt"]["unbatched"]
    assert (found["loader"], found["resolver"]) == ("Doubles", "Item.resolve_waited")
    assert found["origin"].startswith("tests/graphql/test_waits.py:")
    assert ask(VIEW, {"query": "{ items { promised } }"})[1]["extensions"]["dbopt"]["unbatched"] == []


@override_settings(DEBUG=True)
def test_operations_of_other_threads_are_not_shown():
    barrier, found = threading.Barrier(4), []

    def work(text):
        barrier.wait()
        for _ in range(5):
            found.append((text, len(ask(VIEW, {"query": text})[1]["extensions"]["dbopt"]["unbatched"])))  # noqa: PERF401

    threads = [threading.Thread(target=work, args=(text,)) for text in ["{ loop }", "{ together }"] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == sorted([("{ loop }", 1), ("{ together }", 0)] * 10)
