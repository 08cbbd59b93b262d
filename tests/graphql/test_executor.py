"""The executor by hand: what the fuzz does not reach."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import transaction
from django.db.models import IntegerField
from django.db.models.expressions import RawSQL
from graphql import GraphQLError, build_schema, execute, parse
from promise import Promise
from promise.promise import async_instance

from dbopt.exceptions import InvalidCursorError, PageSizeError, TenantRequiredError
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.execution.executor import DboptExecutionContext
from dbopt.graphql.loading.loaders import DataLoader
from tests.graphql.running import messages, run
from tests.testapp.models import Tag


class Doubles(DataLoader):
    def batch_load(self, keys):
        self.context.setdefault("calls", []).append(list(keys))
        return [key * 2 for key in keys]


def test_promises_in_nested_lists_are_patched_in():
    def rows(root, info):
        return [[Doubles(info.context).load(1), 5], Promise.resolve([Doubles(info.context).load(2)]), None]

    context = {}
    result = run("type Query { rows: [[Int]] }", "{ rows }", resolvers={"Query.rows": rows}, context=context)

    assert (result.data, result.errors) == ({"rows": [[2, 5], [4], None]}, None)
    assert context["calls"] == [[1, 2]]


def test_keys_keep_the_order_of_the_document_after_deferral():
    resolvers = {"Query.a": lambda root, info: Doubles(info.context).load(1), "Query.b": lambda root, info: 1}

    result = run("type Query { a: Int b: Int }", "{ x: a __typename b a }", resolvers=resolvers)

    assert list(result.data.items()) == [("x", 2), ("__typename", "Query"), ("b", 1), ("a", 2)]


def test_error_two_deferred_levels_down_nulls_the_nearest_nullable_parent():
    schema = "type Query { a: A } type A { b: B! } type B { c: Int! }"
    resolvers = {
        "Query.a": lambda root, info: Doubles(info.context).load(1),
        "A.b": lambda root, info: Doubles(info.context).load(2),
        "B.c": lambda root, info: Promise.reject(ValueError("broken")),
    }

    result = run(schema, "{ a { b { c } } }", resolvers=resolvers)

    assert result.data == {"a": None}
    assert messages(result) == [("broken", ["a", "b", "c"])]


def test_null_for_a_non_null_root_field_nulls_the_data():
    result = run("type Query { a: Int! b: Int }", "{ a b }", root={"a": None, "b": 1})

    assert result.data is None
    assert messages(result) == [("Cannot return null for non-nullable field Query.a.", ["a"])]


def test_work_that_is_pending_below_a_nulled_parent_is_dropped_without_error():
    schema = "type Query { a: A } type A { bad: Int! late: [B!]! } type B { c: Int! }"
    resolvers = {
        "Query.a": lambda root, info: {},
        "A.late": lambda root, info: Doubles(info.context).load_many([1, 2]),
        "A.bad": lambda root, info: 1 / 0,
        "B.c": lambda root, info: pytest.fail("resolved below a nulled parent"),
    }

    result = run(schema, "{ a { late { c } bad } }", resolvers=resolvers)

    assert result.data == {"a": None}
    assert messages(result) == [("division by zero", ["a", "bad"])]


def test_each_failing_list_item_nulls_itself_only():
    schema = "type Query { items: [Item] } type Item { n: Int! }"
    resolvers = {"Item.n": lambda n, info: 10 // n}

    result = run(schema, "{ items { n } }", root={"items": [1, 0, 5, 0]}, resolvers=resolvers)

    assert result.data == {"items": [{"n": 10}, None, {"n": 2}, None]}
    assert [path for _, path in messages(result)] == [["items", 1, "n"], ["items", 3, "n"]]


def test_ten_thousand_errors_take_linear_time():
    schema = "type Query { items: [Item] } type Item { n: Int! m: Int }"
    items = [{"n": None, "m": 1}] * 10_000

    result = run(schema, "{ items { n m } }", root={"items": items})

    assert result.data == {"items": [None] * 10_000}
    assert len(result.errors) == 10_000


def test_path_of_info_is_right_inside_deferred_lists():
    seen = []
    schema = "type Query { items: [Item] } type Item { n: Int }"

    def n(item, info):
        seen.append(info.path.as_list())

    resolvers = {"Query.items": lambda root, info: Doubles(info.context).load_many([1, 2]), "Item.n": n}
    run(schema, "{ x: items { y: n } }", resolvers=resolvers)

    assert seen == [["x", 0, "y"], ["x", 1, "y"]]


def test_info_is_what_graphql_core_passes():
    seen = []
    schema = build_schema("type Query { a(x: Int): Int }")
    schema.query_type.fields["a"].resolve = lambda root, info, **arguments: seen.append((info, arguments))
    text = parse("query Q($v: Int) { k: a(x: $v) }")

    for context_class in (None, DboptExecutionContext):
        options = executed_by(context_class) if context_class else {}
        execute(schema, text, root_value="r", context_value={"c": 1}, variable_values={"v": 3}, **options)

    (expected, arguments), (actual, same_arguments) = seen
    names = [name for name in expected._fields if name not in ("path", "is_awaitable", "async_helpers")]
    assert [getattr(actual, name) for name in names] == [getattr(expected, name) for name in names]
    assert actual.path == expected.path
    assert arguments == same_arguments == {"x": 3}


def test_resolver_may_change_its_mutable_argument():
    def n(item, info, ns):
        ns.append(item)
        return ns

    result = run(
        "type Query { items: [Item] } type Item { n(ns: [Int]): [Int] }",
        "{ items { n(ns: [7]) } }",
        root={"items": [1, 2]},
        resolvers={"Item.n": n},
    )

    assert result.data == {"items": [{"n": [7, 1]}, {"n": [7, 2]}]}


def test_wrong_argument_is_an_error_of_its_field_only():
    result = run(
        "type Query { a(x: Int!): Int b: Int }",
        "query Q($v: Int) { a(x: $v) b }",
        root={"a": 1, "b": 2},
    )

    assert result.data == {"a": None, "b": 2}
    assert [path for _, path in messages(result)] == [["a"]]


def test_fragments_on_interfaces_and_unions_over_promises():
    schema = """
        interface Named { name: String }
        type Cat implements Named { name: String meow: Int }
        type Dog implements Named { name: String bark: Int }
        union Pet = Cat | Dog
        type Query { named: [Named] pets: [Pet] }
    """
    cat, dog = {"__typename": "Cat", "name": "Tom", "meow": 1}, {"__typename": "Dog", "name": "Rex", "bark": 2}
    root = {"named": Promise.resolve([cat, Promise.resolve(dog)]), "pets": [dog, cat]}
    text = """
        query Q($yes: Boolean = true) {
            named { name ... on Cat { meow } ...D }
            pets { __typename ...D @include(if: $yes) ... on Named @skip(if: $yes) { name } }
        }
        fragment D on Dog { bark }
    """

    def types(value, info, kind):
        return value["__typename"]

    result = run(schema, text, root=root, type_resolver=types)

    assert result.errors is None
    assert result.data == {
        "named": [{"name": "Tom", "meow": 1}, {"name": "Rex", "bark": 2}],
        "pets": [{"__typename": "Dog", "bark": 2}, {"__typename": "Cat"}],
    }


def test_seventy_thousand_cells_may_wait_for_one_key():
    context = {}
    resolvers = {"Query.items": lambda root, info: [Doubles(info.context).load(1)] * 70_000}

    result = run("type Query { items: [Int] }", "{ items }", resolvers=resolvers, context=context)

    assert result.data == {"items": [2] * 70_000}
    assert context["calls"] == [[1]]


def test_promise_that_nothing_settles_is_an_error_and_no_hang():
    result = run("type Query { a: Int b: Int }", "{ a b }", root={"a": Promise(), "b": 1})

    assert result.data is None
    assert messages(result) == [
        ("1 promise(s) were never settled: nothing is left to run that could settle them.", None)
    ]


def test_coroutine_is_a_clear_error_and_is_closed():
    async def a(root, info):
        await asyncio.sleep(0)

    result = run("type Query { a: Int b: Int }", "{ a b }", root={"b": 1}, resolvers={"Query.a": a})

    assert result.data == {"a": None, "b": 1}
    assert messages(result) == [
        (
            (
                "The resolver of Query.a returned an awaitable, which this view cannot wait for. "
                "Make the resolver synchronous, or use AsyncGraphQLView."
            ),
            ["a"],
        )
    ]


def test_get_in_a_resolver_works_and_later_loads_still_meet():
    context = {}
    resolvers = {
        "Query.items": lambda root, info: [1, 2, 3],
        "Item.now": lambda n, info: Doubles(info.context).load(100 + n).get(),
        "Item.all": lambda n, info: Promise.all([Doubles(info.context).load(200 + n)]).get()[0],
        "Item.later": lambda n, info: Doubles(info.context).load(n),
    }
    schema = "type Query { items: [Item] } type Item { now: Int all: Int later: Int }"

    result = run(schema, "{ items { now all later } }", resolvers=resolvers, context=context)

    assert result.data["items"][2] == {"now": 206, "all": 406, "later": 6}
    assert context["calls"][-1] == [1, 2, 3]


def test_get_inside_batch_load_works():
    class Outer(DataLoader):
        def batch_load(self, keys):
            return Doubles(self.context).load_many(keys).get()

    result = run(
        "type Query { a: Int }", "{ a }", resolvers={"Query.a": lambda root, info: Outer(info.context).load(4)}
    )

    assert (result.data, result.errors) == ({"a": 8}, None)


@pytest.mark.parametrize("same_context", [True, False])
def test_operation_inside_a_resolver_leaves_the_outer_one_alone(same_context):
    schema = build_schema("type Query { outer: [Int] inner: Int late: Int }")
    fields = schema.query_type.fields
    fields["inner"].resolve = lambda root, info: Doubles(info.context).load(7)
    fields["late"].resolve = lambda root, info: Doubles(info.context).load(8)

    def outer(root, info):
        first = Doubles(info.context).load(1)
        inner = run(schema, "{ inner }", context=info.context if same_context else {})
        return [first, inner.data["inner"], Doubles(info.context).load(2)]

    fields["outer"].resolve = outer

    result = run(schema, "{ outer late }", context={})

    assert (result.data, result.errors) == ({"outer": [2, 14, 4], "late": 16}, None)


def test_operation_inside_a_batch_leaves_the_outer_one_alone():
    schema = build_schema("type Query { a: Int b: Int inner: Int }")

    class Nested(DataLoader):
        def batch_load(self, keys):
            return [run(schema, "{ inner }", context={}).data["inner"] + key for key in keys]

    schema.query_type.fields["a"].resolve = lambda root, info: Nested(info.context).load(1)
    schema.query_type.fields["b"].resolve = lambda root, info: Doubles(info.context).load(1)
    schema.query_type.fields["inner"].resolve = lambda root, info: Doubles(info.context).load(7)

    result = run(schema, "{ a b }", context={})

    assert (result.data, result.errors) == ({"a": 15, "b": 2}, None)


@pytest.mark.parametrize("death", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("where", ["resolver", "batch"])
def test_dying_operation_leaves_nothing_for_the_next_one(death, where):
    ran = []

    class Dies(DataLoader):
        def batch_load(self, keys):
            if where == "batch":
                raise death
            return keys

    def a(root, info):
        Promise.resolve(1).then(lambda value: ran.append("callback of the first operation"))
        return Dies(info.context).load(1)

    def b(root, info):
        if where == "resolver":
            raise death

    schema = "type Query { a: Int b: Int ok: Int }"
    with pytest.raises(death):
        run(schema, "{ a b }", resolvers={"Query.a": a, "Query.b": b})
    ran.clear()

    second = run(schema, "{ ok }", resolvers={"Query.ok": lambda root, info: Doubles(info.context).load(2)})

    assert second.data == {"ok": 4}
    assert ran == []
    assert (len(async_instance.normal_queue), async_instance.is_tick_used) == (0, False)


def test_jobs_queued_by_others_are_kept_and_do_not_run_inside_an_operation():
    ran = []
    async_instance.is_tick_used = True
    async_instance.normal_queue.append(lambda: ran.append("theirs"))

    result = run("type Query { a: Int }", "{ a }", resolvers={"Query.a": lambda root, info: len(ran)})

    assert result.data == {"a": 0}
    assert (ran, len(async_instance.normal_queue), async_instance.is_tick_used) == ([], 1, True)
    async_instance.normal_queue.clear()
    async_instance.is_tick_used = False


def test_eight_threads_at_once_do_not_see_each_other():
    barrier = threading.Barrier(8)
    results = {}

    def work(number):
        def item(root, info):
            return [Doubles(info.context).load(number * 10 + index) for index in range(3)]

        context = {}
        barrier.wait()
        result = run("type Query { a: [Int] }", "{ a }", resolvers={"Query.a": item}, context=context)
        results[number] = (result.data["a"], context["calls"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {
        number: (
            [(number * 10 + index) * 2 for index in range(3)],
            [[number * 10 + index for index in range(3)]],
        )
        for number in range(8)
    }


def test_mutations_are_serial_also_when_deferred():
    seen = []

    def field(name):
        def resolve(root, info):
            seen.append(f"start {name}")
            return Doubles(info.context).load(len(seen)).then(lambda value: seen.append(f"end {name}") or {"n": 1})

        return resolve

    def n(source, info):
        seen.append(f"below {info.path.as_list()[0]}")
        return 1

    schema = "type Query { a: Int } type Mutation { a: R b: R } type R { n: Int }"
    resolvers = {"Mutation.a": field("a"), "Mutation.b": field("b"), "R.n": n}

    result = run(schema, "mutation { a { n } b { n } }", resolvers=resolvers)

    assert result.data == {"a": {"n": 1}, "b": {"n": 1}}
    assert seen == ["start a", "end a", "below a", "start b", "end b", "below b"]


def test_tallest_loader_goes_first_so_that_loads_below_meet():
    class Owners(DataLoader):
        def batch_load(self, keys):
            self.context["order"].append(("owners", list(keys)))
            return [{"id": key} for key in keys]

    class Relations(DataLoader):
        def batch_load(self, keys):
            self.context["order"].append(("relations", list(keys)))
            return [[{"target": key + 100}] for key in keys]

    schema = """
        type Query { es: [E] } type E { owner: O rels: [R] } type O { id: Int } type R { target: O }
    """
    resolvers = {
        "Query.es": lambda root, info: [1, 2],
        "E.owner": lambda e, info: Owners(info.context).load(e),
        "E.rels": lambda e, info: Relations(info.context).load(e),
        "R.target": lambda r, info: Owners(info.context).load(r["target"]),
    }
    context = {"order": []}

    result = run(schema, "{ es { owner { id } rels { target { id } } } }", resolvers=resolvers, context=context)

    assert result.data["es"][1] == {"owner": {"id": 2}, "rels": [{"target": {"id": 102}}]}
    assert context["order"] == [("relations", [1, 2]), ("owners", [1, 2, 101, 102])]


def test_middleware_sees_every_field_and_introspection():
    seen = []

    def middleware(following, root, info, **arguments):
        seen.append(info.field_name)
        return following(root, info, **arguments)

    result = run(
        "type Query { items: [Item] } type Item { n: Int }",
        "{ __typename items { n __typename } }",
        root={"items": [{"n": 1}, {"n": 2}]},
        middleware=[middleware],
    )

    assert result.data["items"] == [{"n": 1, "__typename": "Item"}, {"n": 2, "__typename": "Item"}]
    assert seen == ["__typename", "items", "n", "n", "__typename", "__typename"]


@pytest.mark.parametrize("value", ["text", 5, {"a": 1}, b"bytes"])
def test_what_is_no_list_is_an_error(value):
    result = run("type Query { a: [String] }", "{ a }", resolvers={"Query.a": lambda root, info: value})

    assert result.data == {"a": None}
    assert messages(result) == [("Expected Iterable, but did not find one for field 'Query.a'.", ["a"])]


def test_generator_that_fails_while_it_is_read_is_an_error_of_its_field():
    def items():
        yield 1
        raise ValueError("half way")

    result = run("type Query { a: [Int] b: Int }", "{ a b }", root={"a": items(), "b": 1})

    assert result.data == {"a": None, "b": 1}
    assert messages(result) == [("half way", ["a"])]


def test_stock_is_type_of_may_refuse():
    schema = build_schema("type Query { a: A b: A } type A { n: Int }")
    schema.type_map["A"].is_type_of = lambda value, info: value["ok"]

    result = run(schema, "{ a { n } b { n } }", root={"a": {"ok": True, "n": 1}, "b": {"ok": False, "n": 2}})

    assert result.data == {"a": {"n": 1}, "b": None}
    assert messages(result) == [("Expected value of type 'A' but got: {'ok': False, 'n': 2}.", ["b"])]


def test_deep_selections_do_not_recurse():
    depth = 3000
    root = {}
    root["a"] = root
    fragments = " ".join(f"fragment F{level} on Query {{ a {{ ...F{level + 1} }} }}" for level in range(depth))

    result = run(
        "type Query { a: Query n: Int! }", f"{{ ...F0 }} {fragments} fragment F{depth} on Query {{ n }}", root=root
    )

    assert [error.path for error in result.errors] == [["a"] * depth + ["n"]]
    value = result.data
    for _ in range(depth - 1):
        value = value["a"]
    assert value == {"a": None}


def test_unknown_root_type_is_refused_as_by_graphql_core():
    result = run("type Query { a: Int }", "mutation { a }")

    assert messages(result) == [("Schema is not configured to execute mutation operation.", None)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TenantRequiredError("Set a tenant."), "TENANT_REQUIRED"),
        (InvalidCursorError("after", "it is cut off"), "INVALID_CURSOR"),
        (PageSizeError("Too many.", code="PAGE_TOO_LARGE"), "PAGE_TOO_LARGE"),
        (GraphQLError("Mine.", extensions={"code": "MINE"}), "MINE"),
    ],
)
def test_errors_carry_their_code(error, code):
    def fail(root, info):
        raise error

    result = run("type Query { a: Int }", "{ a }", resolvers={"Query.a": fail})

    assert [item.extensions for item in result.errors] == [{"code": code}]


def test_introspection_is_graphql_cores():
    from graphql import get_introspection_query

    schema = build_schema("type Query { a(x: [Int!]! = [1]): [A!]! } interface A { n: Int } enum E { X Y }")
    text = parse(get_introspection_query())

    expected = execute(schema, text)
    actual = execute(schema, text, **executed_by(DboptExecutionContext))

    assert actual == expected


@pytest.mark.parametrize("make", [lambda: None, dict, type("Context", (), {}), object])
def test_any_context_will_do(make):
    class Doubles(DataLoader):
        def batch_load(self, keys):
            return [key * 2 for key in keys]

    context = make()
    schema = build_schema("type Query { a: Int }")
    schema.query_type.fields["a"].resolve = lambda root, info: Doubles(
        info.context if hasattr(info.context, "__dict__") or isinstance(info.context, dict) else None
    ).load(1)

    result = execute(schema, parse("{ a }"), context_value=context, **executed_by(DboptExecutionContext))

    assert (result.data, result.errors) == ({"a": 2}, None)


@pytest.mark.django_db(transaction=True)
def test_rolled_back_transaction_leaves_no_load_behind():
    class Tags(DataLoader):
        def batch_load(self, keys):
            found = Tag.objects.in_bulk(keys, field_name="slug")
            return [found.get(key) for key in keys]

    def write(root, info):
        Tag.objects.create(slug="new")
        Tags(info.context).load("new")
        raise ValueError("no")

    context = {}
    resolvers = {"Mutation.write": write, "Query.a": lambda root, info: Tags(info.context).load("new").then(bool)}
    schema = "type Query { a: Boolean } type Mutation { write: Int! }"
    with transaction.atomic():
        result = run(schema, "mutation { write }", resolvers=resolvers, context=context)
        transaction.set_rollback(True)

    assert messages(result) == [("no", ["write"])]
    assert context == {}
    assert run(schema, "{ a }", resolvers=resolvers, context=context).data == {"a": False}


@pytest.mark.django_db
def test_queryset_that_fails_while_it_is_read_is_an_error_of_its_field():
    broken = Tag.objects.annotate(n=RawSQL("1 / (length(slug) - length(slug))", [], output_field=IntegerField()))
    Tag.objects.create(slug="t")

    with transaction.atomic():
        result = run(
            "type Query { tags: [Tag] a: Int } type Tag { slug: String }",
            "{ tags { slug } a }",
            resolvers={"Query.tags": lambda root, info: broken, "Query.a": lambda root, info: 1},
        )
        transaction.set_rollback(True)

    assert result.data == {"tags": None, "a": 1}
    assert messages(result) == [("division by zero", ["tags"])]


@pytest.mark.parametrize("count", [1, 3])
def test_thread_that_asks_a_loader_of_another_gets_an_error_of_its_field(count):
    class Doubles(DataLoader):
        def batch_load(self, keys):
            return [key * 2 for key in keys]

    def a(root, info):
        errors = []

        def elsewhere():
            try:
                Doubles(info.context).load(1)
            except RuntimeError as error:
                errors.append(error)

        Doubles(info.context)
        threads = [threading.Thread(target=elsewhere) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(errors) == count
        raise errors[0]

    result = run("type Query { a: Int }", "{ a }", resolvers={"Query.a": a})

    assert messages(result) == [
        (
            "Doubles belongs to another thread. Take one from this thread's own context; a coroutine of its operation calls it by sync_to_async.",
            ["a"],
        )
    ]
