"""Every hazard of promise 2.3 that an operation could meet."""

from __future__ import annotations

import sys
import threading

import graphene
import pytest
from promise import Promise
from promise.dataloader import DataLoader as StockLoader
from promise.promise import async_instance

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import GraphQLView
from dbopt.graphql.execution import promises
from dbopt.graphql.execution.promises import LoaderPromise, held_queue, reset_thread_state, run_next_job, self_test
from dbopt.graphql.loading.loaders import DataLoader
from tests.graphql.running import run


class Doubles(DataLoader):
    def batch_load(self, keys):
        self.context.setdefault("calls", []).append(list(keys))
        return [key * 2 for key in keys]


def drain():
    while run_next_job():
        pass


def test_loads_outside_a_tick_do_not_meet_but_inside_an_operation_they_do():
    outside, inside = {}, {}

    Doubles(outside).load(1)
    Doubles(outside).load(2)
    with held_queue():
        Doubles(inside).load(1)
        Doubles(inside).load(2)
        drain()

    assert outside["calls"] == [[1], [2]]
    assert inside["calls"] == [[1, 2]]


def test_callback_left_behind_by_one_operation_does_not_run_in_the_next():
    ran = []

    def die():
        with held_queue():
            Promise.resolve(1).then(lambda _: ran.append("first"))
            raise SystemExit

    with pytest.raises(SystemExit):
        die()

    with held_queue():
        Promise.resolve(1).then(lambda _: ran.append("second"))
        drain()

    assert ran == ["second"]


def test_reset_forgets_what_a_swallowed_exit_left_in_the_queue():
    ran = []

    def dies(value):
        # Queued while the tick runs, behind a job that kills the tick: promise swallows the exit and keeps the rest.
        Promise.resolve(1).then(lambda _: ran.append("left behind"))
        raise SystemExit

    Promise.resolve(1).then(dies)
    assert async_instance.is_tick_used

    assert reset_thread_state() == 1
    Promise.resolve(1).then(lambda _: ran.append("mine"))
    assert ran == ["mine"]


def test_seventy_thousand_callbacks_on_one_promise():
    with held_queue():
        loader = Doubles({})
        everything = loader.load_many([1] * 70_000)
        told = []
        loader.load(1).then(told.append)
        drain()

    assert everything.get() == [2] * 70_000
    assert told == [2]


def test_get_on_a_promise_of_a_loader_that_nothing_settles_raises():
    class Never(DataLoader):
        def batch_load(self, keys):
            return Promise()

    with held_queue():
        promise = Never().load(1)
        with pytest.raises(RuntimeError) as caught:
            promise.get()

    assert str(caught.value) == "This promise will never be settled: nothing is left to run that could settle it."


def test_get_keeps_the_tick_so_that_later_loads_meet():
    context = {}
    with held_queue():
        assert Doubles(context).load(1).get() == 2
        Doubles(context).load(2)
        Doubles(context).load(3)
        drain()

    assert context["calls"] == [[1], [2, 3]]


def test_plain_promise_that_follows_a_loader_promise_settles():
    seen = []
    with held_queue():
        loader = Doubles({})
        Promise.resolve(1).then(loader.load).then(lambda value: value + 1).then(seen.append)
        Promise.resolve(None).then(loader.load).catch(lambda error: seen.append(str(error)))
        drain()

    assert sorted(seen, key=str) == [3, "Doubles.load() needs a key, got None."]


def test_rejection_of_a_loader_reaches_plain_promises_that_follow_it():
    class Fails(DataLoader):
        def batch_load(self, keys):
            raise ValueError("no")

    seen = []
    with held_queue():
        promise = Promise.resolve(1).then(Fails().load)
        promise.then(seen.append)
        promise.catch(lambda error: seen.append(str(error)))
        drain()

    assert seen == ["no"]


def test_callback_of_a_loader_promise_may_return_any_promise():
    with held_queue():
        loader = Doubles({})
        plain = loader.load(1).then(lambda value: Promise.resolve(value + 1))
        chained = loader.load(1).then(loader.load).then(loader.load)
        both = LoaderPromise.all([plain, chained])
        drain()

    assert both.get() == [3, 8]


def test_stock_loader_is_emptied_in_another_thread_but_ours_refuses():
    loader = Doubles({}).prime(1, "mine")
    errors = []

    def elsewhere():
        for use in (lambda: loader.load(1), lambda: loader.prime(2, 2), lambda: loader.clear(1), loader.clear_all):
            with pytest.raises(RuntimeError) as caught:
                use()
            errors.append(str(caught.value))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert (
        errors
        == [
            "Doubles belongs to another thread. Take one from this thread's own context; a coroutine of its operation calls it by sync_to_async."
        ]
        * 4
    )
    assert loader.load(1).get() == "mine"


def test_twenty_thousand_chained_callbacks_do_not_recurse():
    with held_queue():
        promise = Doubles({}).load(1)
        for _ in range(20_000):
            promise = promise.then(lambda value: value + 1)
        drain()

    assert promise.get() == 20_002


def test_stock_loaders_work_unchanged_and_batch():
    calls = []

    class Stock(StockLoader):
        def batch_load_fn(self, keys):
            calls.append(keys)
            return Promise.resolve([key * 10 for key in keys])

    loader = Stock()
    resolvers = {
        "Query.items": lambda root, info: loader.load_many([1, 2]),
        "Item.n": lambda n, info: loader.load(n),
        "Item.m": lambda n, info: loader.load(n + 1).then(lambda value: value + 1),
    }

    result = run("type Query { items: [Item] } type Item { n: Int m: Int }", "{ items { n m } }", resolvers=resolvers)

    assert result.data == {"items": [{"n": 100, "m": 111}, {"n": 200, "m": 211}]}
    assert calls == [[1, 2], [10, 20, 11, 21]]


class SaleorLoader(StockLoader):
    """The base class that projects with graphene 2 carry along."""

    context_key = None
    context = None

    def __new__(cls, context):
        loaders = context.setdefault("dataloaders", {})
        if cls.context_key not in loaders:
            loaders[cls.context_key] = super().__new__(cls, context)
        return loaders[cls.context_key]

    def __init__(self, context):
        if self.context is not context:
            self.context = context
            super().__init__()

    def batch_load_fn(self, keys):
        self.context["calls"].append((self.context_key, list(keys)))
        results = self.batch_load(keys)
        return results if isinstance(results, Promise) else Promise.resolve(results)


class KindById(SaleorLoader):
    context_key = "kind"

    def batch_load(self, keys):
        return [f"kind {key}" for key in keys]


class ProductById(SaleorLoader):
    context_key = "product"

    def batch_load(self, keys):
        return [{"id": key, "kind": key % 2} for key in keys]


class KindOfProduct(SaleorLoader):
    context_key = "kind of product"

    def batch_load(self, keys):
        def kinds(products):
            return KindById(self.context).load_many([product["kind"] for product in products])

        return ProductById(self.context).load_many(keys).then(kinds)


def test_loaders_in_the_style_of_saleor_batch_at_every_level():
    context = {"calls": []}
    resolvers = {
        "Query.lines": lambda root, info: [1, 2, 3],
        "Line.product": lambda line, info: ProductById(info.context).load(line),
        "Line.kind": lambda line, info: KindOfProduct(info.context).load(line),
        "Product.kind": lambda product, info: KindById(info.context).load(product["kind"]).then(str.upper),
    }
    schema = """
        type Query { lines: [Line!]! } type Line { product: Product! kind: String }
        type Product { id: Int! kind: String! }
    """

    result = run(schema, "{ lines { kind product { id kind } } }", resolvers=resolvers, context=context)

    assert result.errors is None
    assert result.data["lines"][2] == {"kind": "kind 1", "product": {"id": 3, "kind": "KIND 1"}}
    assert sorted(context["calls"]) == [("kind", [1, 0]), ("kind of product", [1, 2, 3]), ("product", [1, 2, 3])]


class Waits:
    """Resolvers that wait for stock loaders."""

    @staticmethod
    def in_a_loop(root, info):
        return [KindById(info.context).load(key).get() for key in range(10)]

    @staticmethod
    def for_what_follows(root, info):
        return [KindById(info.context).load(key).then(str.upper).get() for key in range(10)]

    @staticmethod
    def for_what_asks_another_loader(root, info):
        return [KindOfProduct(info.context).load(key).get() for key in range(10)]

    @staticmethod
    def four_times(root, info):
        return [KindById(info.context).load(key).get() for key in range(4)]

    @staticmethod
    def for_all(root, info):
        return KindById(info.context).load_many(range(10)).get()

    @staticmethod
    def for_pairs(root, info):
        return [KindById(info.context).load_many([key, key + 10]).get()[0] for key in range(10)]

    @staticmethod
    def for_what_is_known(root, info):
        return [KindById(info.context).load(1).get() for _ in range(10)]

    @staticmethod
    def not_at_all(root, info):
        return KindById(info.context).load_many(range(10))


@pytest.mark.parametrize(
    ("resolver", "loaders"),
    [
        (Waits.in_a_loop, ["KindById"]),
        (Waits.for_what_follows, ["KindById"]),
        (Waits.for_what_asks_another_loader, ["KindOfProduct", "ProductById"]),
        (Waits.four_times, []),
        (Waits.for_all, []),
        (Waits.for_pairs, []),
        (Waits.for_what_is_known, []),
        (Waits.not_at_all, []),
    ],
)
def test_stock_loader_that_is_waited_for_one_key_at_a_time_is_told_once(caplog, resolver, loaders):
    context = {"calls": []}

    with caplog.at_level("WARNING", "dbopt.graphql"):
        result = run("type Query { a: [String] }", "{ a }", resolvers={"Query.a": resolver}, context=context)

    assert result.errors is None
    line = resolver.__code__.co_firstlineno + 2
    name = resolver.__qualname__ if sys.version_info >= (3, 12) else f"{resolver.__qualname__}.<locals>.<listcomp>"
    assert caplog.messages == [
        f"{loader} does not batch: {name} (tests/graphql/test_promises.py:{line}) waited for it with .get() 5 times, "
        "each time for one key. Return the promise, or load all keys before you wait: loader.load_many(keys)."
        for loader in loaders
    ]


def test_stock_loads_after_a_wait_in_the_same_resolver_still_meet():
    context = {"calls": []}

    run("type Query { a: [String] }", "{ a }", resolvers={"Query.a": Waits.for_pairs}, context=context)

    assert context["calls"] == [("kind", [key, key + 10]) for key in range(10)]


def test_waits_for_stock_loaders_outside_an_operation_are_promises_own(caplog):
    context = {"calls": []}

    with held_queue():
        pass
    found = [KindById(context).load(key).get() for key in range(10)]

    assert found == [f"kind {key}" for key in range(10)]
    assert caplog.messages == []
    assert "drain_queue_until_resolved" not in vars(async_instance)


def test_empty_cache_given_to_a_stock_loader_is_ignored_but_ours_is_the_contexts():
    mine = {}
    StockLoader(batch_load_fn=Promise.resolve, cache_map=mine).prime(1, "value")
    context = {}
    Doubles(context).prime(1, "value")

    assert mine == {}
    assert Doubles(context).load(1).get() == "value"


def test_rejection_that_nobody_handles_is_logged_without_its_message(caplog):
    class Fails(DataLoader):
        def batch_load(self, keys):
            raise ValueError("of a row")

    def a(root, info):
        Fails(info.context).load(1)
        Fails(info.context).load(2).catch(lambda error: None)
        return 1

    with caplog.at_level("DEBUG", "dbopt.graphql.execution.promises"):
        result = run("type Query { a: Int }", "{ a }", resolvers={"Query.a": a})

    assert result.errors is None
    assert caplog.messages == ["Nobody waits for a load of Fails that failed with ValueError."]


def test_view_drops_what_an_earlier_user_of_the_thread_left_behind(rf):
    ran = []
    query = type("Query", (graphene.ObjectType,), {"a": graphene.Int(), "resolve_a": lambda root, info: 1})
    view = GraphQLView.as_view(schema=graphene.Schema(query=query))
    async_instance.is_tick_used = True
    async_instance.normal_queue.append(lambda: ran.append("of tenant B"))

    response = view(rf.post("/graphql", {"query": "{ a }"}, content_type="application/json"))

    assert (response.status_code, ran) == (200, [])
    assert (len(async_instance.normal_queue), async_instance.is_tick_used) == (0, False)


def test_self_test_refuses_a_promise_that_works_differently(monkeypatch):
    self_test()
    monkeypatch.setattr(promises.LoaderPromise, "_tell", lambda self, value, error: None)
    self_test.cache_clear()

    with pytest.raises(ConfigurationError) as caught:
        self_test()

    assert str(caught.value) == (
        "The installed package 'promise' works differently inside than version 2.3. Install promise==2.3."
    )
    monkeypatch.undo()
    self_test()


def test_self_test_leaves_queued_jobs_alone():
    ran = []
    async_instance.is_tick_used = True
    async_instance.normal_queue.append(lambda: ran.append(1))
    self_test.cache_clear()

    self_test()

    assert (ran, len(async_instance.normal_queue), async_instance.is_tick_used) == ([], 1, True)
    reset_thread_state()
