"""Loaders: batches, contract, registry, tenant, end."""

from __future__ import annotations

import gc
import weakref

import pytest
from django.test import RequestFactory
from promise import Promise

from dbopt.exceptions import LoaderContractError
from dbopt.graphql.execution.promises import held_queue, run_next_job
from dbopt.graphql.loading.loaders import DataLoader
from dbopt.signals import batch_loaded
from dbopt.tenancy import current_tenant, tenant_context
from tests.graphql.running import messages, run


class Doubles(DataLoader):
    def batch_load(self, keys):
        return [key * 2 for key in keys]


class Returns(DataLoader):
    """Returns what its context says."""

    def batch_load(self, keys):
        answer = self.context["answer"]
        return answer(keys) if callable(answer) else answer


class Context:
    """Takes attributes."""


def results(*promises):
    """Drain, then return (value, error) of each promise."""
    while run_next_job():
        pass
    return [promise.reason if promise.is_rejected else promise.value for promise in promises]


def test_keys_are_loaded_once_and_in_order(batches):
    with held_queue():
        loader = Doubles({})
        found = results(*[loader.load(key) for key in (3, 1, 3, 2)])

    assert found == [6, 2, 6, 4]
    assert batches == [("Doubles", 3)]


def test_batches_have_at_most_max_batch_size_keys(batches):
    class Small(Doubles):
        max_batch_size = 2

    with held_queue():
        found = results(Small({}).load_many(range(5)))

    assert found == [[0, 2, 4, 6, 8]]
    assert batches == [("Small", 2), ("Small", 2), ("Small", 1)]


def test_signal_tells_size_hits_and_seconds():
    seen = []

    def receive(sender, **facts):
        seen.append((sender, facts))

    batch_loaded.connect(receive)
    with held_queue():
        loader = Doubles({})
        results(loader.load(1), loader.load(1), loader.load(2))
        results(loader.load(1), loader.load(3))
    batch_loaded.disconnect(receive)

    told = [(sender, facts["loader"], facts["size"], facts["hits"]) for sender, facts in seen]
    assert told == [(Doubles, "Doubles", 2, 1), (Doubles, "Doubles", 1, 1)]
    assert all(facts["seconds"] >= 0 for _, facts in seen)


def test_mapping_may_leave_out_keys_and_promises_are_followed():
    with held_queue():
        mapping = Returns({"answer": {1: "one"}})
        promised = Returns({"answer": lambda keys: Promise.resolve([key + 1 for key in keys])})
        later = Returns({"answer": lambda keys: [Doubles({}).load(key) for key in keys]})
        found = results(mapping.load(1), mapping.load(2), promised.load(1), later.load(5))

    assert found == ["one", None, 2, 10]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            ["only one"],
            (
                "Returns.batch_load returned 1 values for 2 keys. "
                "Return one value a key, in the order of the keys, or a mapping."
            ),
        ),
        (
            None,
            "Returns.batch_load must return one value for each of its 2 keys as a list or a mapping, not None.",
        ),
        (5, "Returns.batch_load must return one value for each of its 2 keys as a list or a mapping, not int."),
        ("ab", "Returns.batch_load must return one value for each of its 2 keys as a list or a mapping, not str."),
        ({1, 2}, "Returns.batch_load must return one value for each of its 2 keys as a list or a mapping, not set."),
        (
            lambda keys: Promise.resolve([1, 2, 3]),
            (
                "Returns.batch_load returned 3 values for 2 keys. "
                "Return one value a key, in the order of the keys, or a mapping."
            ),
        ),
    ],
)
def test_broken_contract_names_the_loader_and_the_counts(answer, message):
    with held_queue():
        loader = Returns({"answer": answer})
        found = results(loader.load(1), loader.load(2))

    assert [(type(error), str(error)) for error in found] == [(LoaderContractError, message)] * 2


def test_failing_chunk_leaves_the_others_and_is_tried_again():
    class Flaky(DataLoader):
        max_batch_size = 2
        broken = True

        def batch_load(self, keys):
            if self.broken and 3 in keys:
                raise ValueError("3 is broken")
            return keys

    with held_queue():
        loader = Flaky({})
        first = results(*[loader.load(key) for key in (1, 2, 3, 4, 5)])
        loader.broken = False
        second = results(loader.load(3), loader.load(1))

    assert [str(value) for value in first] == ["1", "2", "3 is broken", "3 is broken", "5"]
    assert second == [3, 1]


def test_exception_as_value_rejects_its_key_only():
    with held_queue():
        loader = Returns({"answer": lambda keys: [ValueError("no") if key == 2 else key for key in keys]})
        found = results(loader.load(1), loader.load(2), loader.load(3))

    assert [str(value) for value in found] == ["1", "no", "3"]


def test_none_is_no_key():
    with pytest.raises(TypeError) as caught:
        Doubles({}).load(None)

    assert str(caught.value) == "Doubles.load() needs a key, got None."


def test_prime_and_clear(batches):
    with held_queue():
        loader = Doubles({})
        loader.prime(1, "primed").prime(2, ValueError("primed"))
        first = results(loader.load(1), loader.load(2), loader.load(3))
        loader.prime(3, "too late")
        again = results(loader.load(3))
        loader.clear(1).clear(3)
        cleared = results(loader.load(1), loader.load(3))
        loader.clear_all()
        everything = results(loader.load(1))

    assert [str(value) for value in first] == ["primed", "primed", "6"]
    assert (again, cleared, everything) == ([6], [2, 6], [2])
    assert batches == [("Doubles", 1), ("Doubles", 2), ("Doubles", 1)]


def test_clear_leaves_a_waiting_load_alone(batches):
    with held_queue():
        loader = Doubles({})
        promise = loader.load(1)
        loader.clear(1).clear_all()
        found = results(promise, loader.load(1))

    assert found == [2, 2]
    assert batches == [("Doubles", 1)]


def test_loader_without_cache_asks_again(batches):
    class Fresh(Doubles):
        cache = False

    with held_queue():
        loader = Fresh({})
        found = results(loader.load(1), loader.load(1)) + results(loader.load(1))

    assert found == [2, 2, 2]
    assert batches == [("Fresh", 1), ("Fresh", 1)]


@pytest.mark.parametrize("make", [dict, Context, lambda: RequestFactory().get("/")])
def test_one_instance_lives_on_a_context(make):
    first, second = make(), make()

    assert Doubles(first) is Doubles(first)
    assert Doubles(first) is not Doubles(second)
    assert Doubles(first, "parameter") is not Doubles(first)
    assert Doubles(first).params == ()
    assert Doubles(first, "parameter").params == ("parameter",)


def test_without_context_the_loader_is_the_callers_own():
    assert Doubles() is not Doubles()
    with held_queue():
        assert results(Doubles().load(1)) == [2]


def test_context_that_takes_no_attributes_is_refused():
    with pytest.raises(TypeError) as caught:
        Doubles("text")

    assert str(caught.value) == (
        "Loaders cannot live on a context of type str: it takes no attributes. "
        "Use a request, a dictionary, or an object with attributes."
    )


def test_context_key_belongs_to_one_class():
    class One(Doubles):
        context_key = "doubles"

    class Two(Doubles):
        context_key = "doubles"

    context = {}
    One(context)

    with pytest.raises(TypeError) as caught:
        Two(context)

    assert str(caught.value) == ("context_key 'doubles' of Two is already used by One. Give one of them another name.")


def test_tenants_never_share_a_loader_and_batches_run_as_their_tenant():
    class Tenants(DataLoader):
        def batch_load(self, keys):
            return [(current_tenant(), key) for key in keys]

    context = {}
    with held_queue():
        with tenant_context(1):
            first = Tenants(context).load("k")
        with tenant_context(2):
            second = Tenants(context).load("k")
            found = results(first, second)

    assert found == [(1, "k"), (2, "k")]


def test_loaders_are_closed_at_the_end_of_their_operation():
    held = []

    def a(root, info):
        held.append(Doubles(info.context))
        return held[0].load(1)

    context = {}
    result = run("type Query { a: Int }", "{ a }", resolvers={"Query.a": a}, context=context)

    assert result.data == {"a": 2}
    assert context == {}
    with pytest.raises(RuntimeError) as caught:
        held[0].load(1)
    assert str(caught.value) == ("The operation of this Doubles has ended. Take a new one: Doubles(info.context).")


def test_next_operation_on_the_same_context_asks_again_after_a_mutation(batches):
    rows = {1: "before"}

    class Rows(DataLoader):
        def batch_load(self, keys):
            return [rows[key] for key in keys]

    def write(root, info):
        rows[1] = "after"
        return "ok"

    schema = "type Query { row: String } type Mutation { write: String }"
    resolvers = {"Query.row": lambda root, info: Rows(info.context).load(1), "Mutation.write": write}
    request = RequestFactory().get("/")

    answers = [
        run(schema, text, resolvers=resolvers, context=request).data
        for text in ("{ row }", "mutation { write }", "{ row }")
    ]

    assert answers == [{"row": "before"}, {"write": "ok"}, {"row": "after"}]
    assert not hasattr(request, "_dbopt_loaders")


def test_failing_operation_closes_its_loaders_too():
    def a(root, info):
        Doubles(info.context).load(1)
        raise SystemExit

    context = {}
    with pytest.raises(SystemExit):
        run("type Query { a: Int }", "{ a }", resolvers={"Query.a": a}, context=context)

    assert context == {}


def test_no_reference_cycle_keeps_the_operations_rows():
    class Row:
        n = 1

    class Rows(DataLoader):
        def batch_load(self, keys):
            rows = [Row() for _ in keys]
            kept.extend(map(weakref.ref, rows))
            return rows

    kept = []
    schema = "type Query { rows: [Row] row: Row } type Row { n: Int }"
    resolvers = {
        "Query.rows": lambda root, info: [Rows(info.context).load(key) for key in range(10)],
        "Query.row": lambda root, info: Rows(info.context).load(20).then(lambda row: row),
    }
    context = Context()
    kept.append(weakref.ref(context))
    gc.collect()
    gc.disable()
    try:
        result = run(schema, "{ rows { n } row { n } }", resolvers=resolvers, context=context)
        del context
        alive = [reference() for reference in kept if reference() is not None]
    finally:
        gc.enable()

    assert result.data["rows"] == [{"n": 1}] * 10
    assert len(kept) == 12
    assert alive == []


def test_error_of_one_key_in_a_column_is_an_error_of_its_field_only():
    class Halves(DataLoader):
        def batch_load(self, keys):
            return [ValueError(f"{key} is odd") if key % 2 else key // 2 for key in keys]

    result = run(
        "type Query { items: [Item] } type Item { n: Int }",
        "{ items { n } }",
        root={"items": [2, 3]},
        resolvers={"Item.n": lambda n, info: Halves(info.context).load(n)},
    )

    assert result.data == {"items": [{"n": 1}, {"n": None}]}
    assert messages(result) == [("3 is odd", ["items", 1, "n"])]
