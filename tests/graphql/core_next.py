"""What only graphql-core 3.3 has: run by test_core_releases with that release, not collected otherwise."""

from __future__ import annotations

import asyncio
import enum

import graphene
import graphql
import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings
from graphql import GraphQLField, GraphQLObjectType, GraphQLScalarType, GraphQLSchema, build_schema, execute, parse
from graphql.pyutils import AbortController

from dbopt.graphql import AsyncGraphQLView, DataLoader, DboptExecutionContext, GraphQLView
from tests.graphql.posting import ask, errors_of
from tests.graphql.running import messages, run


class Doubles(DataLoader):
    def batch_load(self, keys):
        return [key * 2 for key in keys]


def test_class_is_an_executor(batches):
    schema = build_schema("type Query { a: [Int] }")
    schema.query_type.fields["a"].resolve = lambda root, info: [Doubles(info.context).load(key) for key in (1, 2)]

    result = execute(schema, parse("{ a }"), context_value={}, executor_class=DboptExecutionContext)

    assert result == ({"a": [2, 4]}, None)
    assert batches == [("Doubles", 2)]
    assert issubclass(DboptExecutionContext, graphql.Executor)


def test_fragments_with_variables_are_refused():
    text = "{ ...F(x: 1) } fragment F($x: Int) on Query { a(x: $x) }"
    schema = build_schema("type Query { a(x: Int): Int }")

    result = execute(schema, parse(text, experimental_fragment_arguments=True), executor_class=DboptExecutionContext)

    assert result.data is None
    assert messages(result) == [("Fragments with variables of their own are not supported.", None)]


def test_error_propagation_can_be_switched_off():
    schema = "type Query { a: A } type A { b: Int! c: [Int!]! d: Int }"
    root = {"a": {"b": None, "c": [1, ValueError("no"), 3], "d": 4}}

    result = run(schema, "query @experimental_disableErrorPropagation { a { b c d } }", root=root)

    assert result.data == {"a": {"b": None, "c": [1, None, 3], "d": 4}}
    assert [path for _, path in messages(result)] == [["a", "b"], ["a", "c", 1]]
    assert run(schema, "{ a { b c d } }", root=root).data == {"a": None}


def test_nothing_is_deferred():
    schema = build_schema("directive @defer(if: Boolean! = true) on INLINE_FRAGMENT type Query { a: Int b: Int }")

    result = graphql.experimental_execute_incrementally(
        schema, parse("{ a ... @defer { b } }"), {"a": 1, "b": 2}, executor_class=DboptExecutionContext
    )

    assert result == ({"a": 1, "b": 2}, None)


def test_operation_that_was_aborted_does_not_begin():
    controller = AbortController()
    controller.abort(RuntimeError("enough"))

    with pytest.raises(RuntimeError, match="enough"):
        run("type Query { a: Int }", "{ a }", root={"a": 1}, abort_signal=controller.signal)


def test_scalars_with_the_new_method_and_enums_of_graphene_with_the_old_one():
    other = GraphQLScalarType("Other", coerce_output_value=lambda value: None if value == 2 else f"<{value}>")
    fields = {name: GraphQLField(other) for name in "ab"}
    result = run(GraphQLSchema(GraphQLObjectType("Query", fields)), "{ a b }", root={"a": 1, "b": 2})

    assert result.data == {"a": "<1>", "b": None}
    assert "`Other.coerce_output_value(2)`" in result.errors[0].message

    class Colour(enum.Enum):
        RED = 1

    class Query(graphene.ObjectType):
        colour = graphene.Enum.from_enum(Colour)()

    view = GraphQLView.as_view(schema=graphene.Schema(query=Query), root_value={"colour": 1})
    assert ask(view, {"query": "{ colour }"}) == (200, {"data": {"colour": "RED"}})


class Filter(graphene.InputObjectType):
    name = graphene.String()


class Query(graphene.ObjectType):
    size = graphene.Int(where=Filter())
    variables = graphene.String(x=graphene.Int())
    together = graphene.List(graphene.Int)

    def resolve_variables(self, info, x):
        return str(info.variable_values.coerced)

    async def resolve_together(self, info):
        return await info.async_helpers.gather([asyncio.sleep(0, 1), asyncio.sleep(0, 2)])


SCHEMA = graphene.Schema(query=Query)


@pytest.mark.parametrize("shows", [True, False])
def test_variables_are_refused_with_a_suggestion_only_where_one_is_wanted(shows):
    body = {"query": "query ($w: Filter) { size(where: $w) }", "variables": {"w": {"nameX": "a"}}}

    with override_settings(DBOPT={"GRAPHQL": {"SUGGESTIONS": shows}}):
        status, answer = ask(GraphQLView.as_view(schema=SCHEMA), body)

    ((message, _),) = errors_of(answer)
    assert (status, "Did you mean 'name'?" in message, "nameX" in message) == (400, shows, True)


@pytest.mark.parametrize("variables", ["5", [1]])
def test_variables_that_are_no_dictionary_are_refused(variables):
    status, answer = ask(GraphQLView.as_view(schema=SCHEMA), {"query": "{ size }", "variables": variables})

    assert status == 400
    assert "must be provided as a dictionary" in answer["errors"][0]["message"]


def test_resolvers_get_what_graphql_core_gives():
    body = {"query": "query ($x: Int) { variables(x: $x) }", "variables": {"x": 3}}
    assert ask(GraphQLView.as_view(schema=SCHEMA), body) == (200, {"data": {"variables": "{'x': 3}"}})
    assert ask(async_to_sync(AsyncGraphQLView.as_view(schema=SCHEMA)), {"query": "{ together }"}) == (
        200,
        {"data": {"together": [1, 2]}},
    )
