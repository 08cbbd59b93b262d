"""Relay's `node(id)`: graphene's answers and refusals, one statement for all nodes of a type."""

from __future__ import annotations

import graphene
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphene import relay
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import DboptExecutionContext, optimize
from dbopt.graphql.execution.core_versions import executed_by
from tests.testapp.models import Author, Book, Publisher, Shop, Tag

pytestmark = pytest.mark.django_db

REGISTRY = Registry()


def node(model, *fields, interfaces=(relay.Node,), **attributes):
    meta = {"model": model, "fields": fields, "registry": REGISTRY, "interfaces": interfaces, "name": model.__name__}
    return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": type("Meta", (), meta), **attributes})


def visible(cls, queryset, info):
    return queryset.exclude(slug="hidden")


TagNode = node(Tag, "slug", get_queryset=classmethod(visible))
AuthorNode = node(Author, "name", "email")
ShopNode = node(Shop, "code", "tenant")
PlainNode = node(Book, "title", interfaces=())
OwnNode = node(Publisher, "name", get_node=classmethod(lambda cls, info, pk: Publisher(pk=pk, name="own")))


class Strict(relay.Node):
    class Meta:
        name = "Strict"

    @classmethod
    def get_node_from_global_id(cls, info, global_id, only_type=None):
        return Author(name=f"strict {global_id}")


class Query(graphene.ObjectType):
    node = relay.Node.Field()
    tag = relay.Node.Field(TagNode)
    strict = Strict.Field(AuthorNode)
    book = graphene.Field(PlainNode)
    publisher = graphene.Field(OwnNode)
    shop = graphene.Field(ShopNode)


def make():
    return graphene.Schema(query=Query, types=[TagNode, AuthorNode, ShopNode, OwnNode])


SCHEMA = optimize(make())


def ask(text, *, schema=SCHEMA, executor=DboptExecutionContext):
    """Return (data, messages, statements)."""
    with CaptureQueriesContext(connection) as captured:
        result = schema.execute(text, context_value={}, **executed_by(executor))
    return result.data, [error.message for error in result.errors or ()], [q["sql"] for q in captured.captured_queries]


def global_id(row):
    return relay.Node.to_global_id(type(row).__name__, row.pk)


@pytest.fixture
def tags():
    return [Tag.objects.create(slug=slug) for slug in ("a", "b", "hidden")]


def aliases(rows, selection, field="node"):
    return "{" + " ".join(f'x{n}: {field}(id: "{global_id(row)}") {selection}' for n, row in enumerate(rows)) + "}"


def test_nodes_of_a_type_are_one_statement_with_permissions(tags):
    text = aliases([*tags, tags[0]], "{ __typename id ... on Tag { slug } }")

    data, messages, asked = ask(text)

    assert messages == []
    assert [row and row["slug"] for row in data.values()] == ["a", "b", None, "a"]
    assert len(asked) == 1
    assert data == ask(text, schema=make(), executor=None)[0]


def test_nodes_of_several_types_are_a_statement_each_and_read_only_what_is_selected(tags):
    author = Author.objects.create(name="Ann", email="a@example.com")

    data, messages, asked = ask(aliases([author, *tags[:2]], "{ id ... on Tag { slug } ... on Author { name } }"))

    assert messages == []
    assert data["x0"] == {"id": global_id(author), "name": "Ann"}
    assert len(asked) == 2
    assert not any('"email"' in sql for sql in asked)


def test_field_of_one_type(tags):
    data, messages, asked = ask(aliases(tags, "{ slug }", field="tag"))

    assert messages == []
    assert data == {"x0": {"slug": "a"}, "x1": {"slug": "b"}, "x2": None}
    assert len(asked) == 1


def test_keys_of_text():
    shop = Shop.objects.create(code="one")

    assert ask(aliases([shop], "{ ... on Shop { code } }"))[0] == {"x0": {"code": "one"}}


@pytest.mark.parametrize(
    ("field", "global_id"),
    [
        ("node", "QXV0aG9yOg"),
        ("node", "nonsense"),
        ("node", relay.Node.to_global_id("Nothing", 1)),
        ("node", relay.Node.to_global_id("Book", 1)),
        ("node", relay.Node.to_global_id("Query", 1)),
        ("tag", relay.Node.to_global_id("Author", 1)),
        ("node", relay.Node.to_global_id("Tag", 10**9)),
    ],
)
def test_wrong_ids_are_refused_as_graphene_refuses_them(field, global_id):
    text = f'{{ {field}(id: "{global_id}") {{ __typename }} }}'

    assert ask(text)[:2] == ask(text, schema=make(), executor=None)[:2]


def test_key_that_cannot_be_one_is_null():
    assert ask(f'{{ node(id: "{relay.Node.to_global_id("Tag", "x")}") {{ id }} }}') == ({"node": None}, [], [])


def test_types_and_nodes_with_their_own_ways_keep_them(tags):
    data, messages, asked = ask(
        f'{{ node(id: "{relay.Node.to_global_id("Publisher", 7)}") {{ ... on Publisher {{ name }} }} strict(id: "7") {{ name }} }}'
    )

    assert (data, messages, asked) == ({"node": {"name": "own"}, "strict": {"name": "strict 7"}}, [], [])


def test_optimised_schema_answers_under_graphenes_executor_too(tags):
    text = aliases(tags[:2], "{ ... on Tag { slug } }")

    data, messages, asked = ask(text, executor=None)

    assert messages == []
    assert data == {"x0": {"slug": "a"}, "x1": {"slug": "b"}}
    assert len(asked) == 2
