"""`@batch`: one call for all parents that reached a field together."""

from __future__ import annotations

import graphene
import pytest
from graphql import GraphQLError

from dbopt.graphql import DboptExecutionContext, batch, requires
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.loading.loaders import DataLoader

calls = []


class Item(graphene.ObjectType):
    label = graphene.String(prefix=graphene.String(default_value=""))
    friend = graphene.Field(lambda: Item)

    @requires("number")
    @batch
    def resolve_label(parents, info, prefix):  # noqa: N805
        calls.append(list(parents))
        return [GraphQLError("three") if parent == 3 else f"{prefix}{parent}" for parent in parents]

    @batch
    def resolve_friend(parents, info):  # noqa: N805
        return [Doubles(info.context).load(parent) for parent in parents]


class Doubles(DataLoader):
    def batch_load(self, keys):
        return [key * 2 for key in keys]


class Query(graphene.ObjectType):
    items = graphene.List(Item)

    def resolve_items(self, info):
        return [1, 2, 3]


@pytest.fixture
def schema():
    calls.clear()
    return graphene.Schema(query=Query)


def test_column_is_resolved_in_one_call_and_an_error_value_fails_its_parent_only(schema):
    result = schema.execute(
        '{ items { label(prefix: "n") friend { label } } }',
        context_value={},
        **executed_by(DboptExecutionContext),
    )

    assert result.data == {
        "items": [
            {"label": "n1", "friend": {"label": "2"}},
            {"label": "n2", "friend": {"label": "4"}},
            {"label": None, "friend": {"label": "6"}},
        ]
    }
    assert [(error.message, error.path) for error in result.errors] == [("three", ["items", 2, "label"])]
    assert calls == [[1, 2, 3], [2, 4, 6]]


def test_other_executors_and_middleware_get_one_parent_a_call(schema):
    plain = schema.execute("{ items { label } }")
    wrapped = schema.execute(
        "{ items { label } }",
        middleware=[lambda resolve, root, info, **arguments: resolve(root, info, **arguments)],
        **executed_by(DboptExecutionContext),
    )

    assert plain.data == wrapped.data == {"items": [{"label": "1"}, {"label": "2"}, {"label": None}]}
    assert [str(error.message) for error in plain.errors] == ["three"]
    assert calls == [[1], [2], [3]] * 2


@pytest.mark.parametrize(
    ("answer", "got"), [([1, 2], "2 values"), (None, "NoneType"), ("abc", "str"), ({1: 2}, "dict")]
)
def test_wrong_number_of_values_is_an_error_that_names_the_resolver(answer, got):
    @batch
    def resolve_items(parents, info):
        return answer

    query = type("Query", (graphene.ObjectType,), {"items": graphene.Int(), "resolve_items": resolve_items})
    result = graphene.Schema(query=query).execute("{ items }", **executed_by(DboptExecutionContext))

    assert result.data == {"items": None}
    assert result.errors[0].message == (
        f"{resolve_items.__qualname__} is a @batch resolver: it must return a list of 1 values, "
        f"one a parent, not {got}."
    )


def test_decorators_combine_in_either_order():
    def read(parents, info):
        """Read."""

    for function in (batch(requires("a")(read)), requires("a")(batch(read))):
        assert (function.requires, function.__doc__, callable(function.batch_resolve)) == (("a",), "Read.", True)
