"""Projection: only the needed columns are read, and nobody ever notices but the database."""

from __future__ import annotations

import re

import graphene
import pytest
from django.db import connection
from django.db.models import Prefetch
from django.db.models.signals import post_init
from django.test.utils import CaptureQueriesContext
from graphene.relay import Node
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry
from graphql import parse

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import DboptExecutionContext, ModelLoader, optimize, requires
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.loading.projection import projector_of
from tests.graphql.test_relations import ask, build, fill
from tests.testapp.models import Author, Book, Publisher, Shop, Tag

pytestmark = pytest.mark.django_db


def columns(schema, text):
    """Return (data, the columns that each statement reads)."""
    with CaptureQueriesContext(connection) as captured:
        result = schema.execute(text, context_value={}, **executed_by(DboptExecutionContext))
    assert result.errors is None
    read = [set(re.findall(r'"(\w+)"', query["sql"].partition(" FROM ")[0])) for query in captured.captured_queries]
    return result.data, [{name for name in names if not name.startswith("testapp_")} for names in read]


def test_only_selected_columns_and_keys_are_read():
    fill(2)

    data, read = columns(optimize(build()), "{ authors { name books { title publisher { name } tags { slug } } } }")

    assert data["authors"][1]["books"][0]["title"] == "B1.0"
    assert read == [
        {"id", "name"},
        {"id", "title", "author_id", "publisher_id"},
        {"id", "name"},
        {"book_id", "tag_id"},
        {"id", "slug"},
    ]


def test_all_selections_of_a_type_count_whatever_skip_and_fragments_say():
    fill(1)
    text = """{
        authors { name ...more @skip(if: true) }
        books { author { ... on AuthorNode { born } } }
    }
    fragment more on AuthorNode { email }"""

    _, read = columns(optimize(build()), text)

    assert read == [{"id", "name", "email", "born"}, {"id", "author_id"}, {"id", "name", "email", "born"}]


def test_resolver_without_requires_reads_whole_rows_and_with_it_only_what_it_names():
    fill(1)

    def label(self, info):
        return f"{self.name} <{self.email}>"

    def schema(resolver):
        return optimize(build(Author_label=graphene.String(), Author_resolve_label=resolver))

    data, read = columns(schema(label), "{ authors { label } }")
    assert data == {"authors": [{"label": "A0 <a0@example.com>"}]}
    assert read == [{"id", "name", "email", "born"}]

    data, read = columns(schema(requires("name", "email")(label)), "{ authors { label } }")
    assert data == {"authors": [{"label": "A0 <a0@example.com>"}]}
    assert read == [{"id", "name", "email"}]


def test_requires_of_an_unknown_name_is_refused():
    label = requires("title")(lambda self, info: "")

    with pytest.raises(ConfigurationError) as caught:
        optimize(build(Author_label=graphene.String(), Author_resolve_label=label))

    assert str(caught.value) == (
        "A resolver of AuthorNode requires 'title', which is no column of Author. Name fields of the model in @requires."
    )


def test_property_reads_whole_rows_without_a_statement_a_row():
    fill(3)
    schema = optimize(build(Author_pk=graphene.Int(), Book_price_text=graphene.String()))

    result, statements = ask(schema, "{ books { title priceText author { pk } } }")

    assert result.errors is None
    assert statements == 2


def test_columns_left_out_are_still_there_for_those_who_ask():
    fill(1)
    seen = []

    def resolve_name(self, info):
        seen.append(self.email)
        return self.name

    schema = optimize(build(Author_resolve_name=requires("name")(resolve_name)))
    result, statements = ask(schema, "{ authors { name } }")

    assert result.data == {"authors": [{"name": "A0"}]}
    assert seen == ["a0@example.com"]
    # The column that nobody declared costs a statement a row.
    assert statements == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (lambda: Book.objects.only("pages"), {"id", "pages", "title", "author_id"}),
        (lambda: Book.objects.defer("title"), None),
        (Book.objects.distinct, None),
        (lambda: Book.objects.select_related("author"), None),
        (lambda: Book.objects.order_by("pk")[:2], {"id", "author_id"}),
        (lambda: Book.objects.filter(title="B0.0") | Book.objects.filter(title="B0.1"), {"id", "author_id"}),
        (lambda: Book.objects.filter(title="B0.0").union(Book.objects.filter(title="B0.1")), None),
    ],
)
def test_who_chose_columns_or_related_rows_gets_them(rows, expected):
    fill(1)
    schema = optimize(build(books=rows()))

    data, read = columns(schema, "{ books { author { name } } }")

    assert data["books"] == [{"author": {"name": "A0"}}] * 2
    if expected == {"id", "author_id"}:
        assert read[0] == expected
    else:
        assert read[0] != {"id", "author_id"}


def test_prefetched_rows_keep_what_prefetching_needs():
    fill(2)
    authors = Author.objects.prefetch_related(Prefetch("books", Book.objects.select_related("publisher")))

    result, statements = ask(optimize(build(authors=authors)), "{ authors { name books { publisher { name } } } }")

    assert result.errors is None
    assert statements == 2


def test_rows_that_were_read_already_are_not_read_again():
    fill(2)
    authors = Author.objects.all()
    len(authors)

    result, statements = ask(optimize(build(authors=authors)), "{ authors { name } }")

    assert len(result.data["authors"]) == 2
    assert statements == 0


def test_one_queryset_for_all_parents_is_read_once():
    fill(3)
    shared = Tag.objects.order_by("pk")
    tags = graphene.List(graphene.String)
    schema = build(Author_labels=tags, Author_resolve_labels=lambda root, info: shared)

    result, statements = ask(optimize(schema), "{ authors { labels } }")

    assert result.data == {"authors": [{"labels": ["t0", "t1", "t2"]}] * 3}
    assert statements == 2


def test_projection_and_fast_rows_can_be_switched_off():
    fill(1)

    _, read = columns(optimize(build(), projection=False), "{ authors { name } }")
    assert read == [{"id", "name", "email", "born"}]

    schema = optimize(build(), fast_rows=False)
    assert not projector_of(schema.graphql_schema).reading(_info("{ authors { name } }"), "AuthorNode").is_quick


def _info(text):
    info = type("Info", (), {})()
    info.operation, info.fragments = parse(text).definitions[0], {}
    return info


def test_watched_models_are_made_by_their_own_init():
    fill(2)
    made = []

    def watch(sender, instance, **_):
        made.append(instance.__dict__.get("name"))

    post_init.connect(watch, sender=Author)
    try:
        result, _ = ask(optimize(build()), "{ books { author { name } } }")
    finally:
        post_init.disconnect(watch, sender=Author)

    assert result.errors is None
    assert sorted(made) == ["A0", "A1"]


def test_interfaces_and_global_ids_are_understood():
    fill(1)
    registry = Registry()
    meta = {"model": Author, "fields": ["name", "email", "id"], "registry": registry, "interfaces": [Node]}
    author_node = type("AuthorNode", (DjangoObjectType,), {"Meta": type("Meta", (), meta)})
    query = {"nodes": graphene.List(Node), "resolve_nodes": lambda root, info: Author.objects.all()}
    schema = graphene.Schema(query=type("Query", (graphene.ObjectType,), query), types=[author_node])

    with CaptureQueriesContext(connection) as captured:
        result = optimize(schema).execute(
            "{ nodes { id ... on AuthorNode { name } } }",
            context_value={},
            **executed_by(DboptExecutionContext),
        )

    assert [node["name"] for node in result.data["nodes"]] == ["A0"]
    assert len(captured) == 1
    needs = projector_of(schema.graphql_schema).reading(
        _info("{ nodes { id ... on AuthorNode { name } } }"), "AuthorNode"
    )
    assert needs.columns == {"id", "name"}


def test_resolve_type_that_looks_at_rows_gets_whole_rows():
    fill(2)
    registry = Registry()

    class Named(graphene.Interface):
        name = graphene.String()

        @classmethod
        def resolve_type(cls, instance, info):
            return author_node if instance.email else None

    meta = {"model": Author, "fields": ["name"], "registry": registry, "interfaces": [Named]}
    author_node = type("AuthorNode", (DjangoObjectType,), {"Meta": type("Meta", (), meta)})
    query = {"all": graphene.List(Named), "resolve_all": lambda root, info: Author.objects.all()}
    query |= {"authors": graphene.List(author_node), "resolve_authors": lambda root, info: Author.objects.all()}
    schema = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query), types=[author_node]))

    result, statements = ask(schema, "{ all { name } authors { name } }")

    assert result.errors is None
    assert statements == 2
    assert projector_of(schema.graphql_schema).reading(_info("{ all { name } }"), "AuthorNode").columns is None


def test_operations_on_one_context_read_what_each_needs():
    fill(2)
    schema = optimize(build())
    options = executed_by(DboptExecutionContext)

    def inner(root, info):
        result = schema.execute("{ books { author { email } } }", context_value=info.context, **options)
        return result.data["books"][0]["author"]["email"]

    outer = optimize(build(Author_inner=graphene.String(), Author_resolve_inner=requires("id")(inner)))
    result, statements = ask(outer, "{ books { author { name inner } } }")

    assert result.errors is None
    # Books and authors outside; inside books for each of four authors, and their authors with other columns once.
    assert statements == 2 + 4 + 1


def test_fragment_bomb_is_walked_in_linear_time():
    fragments = "".join(
        f"fragment f{number} on AuthorNode {{ ...f{number + 1} ...f{number + 1} }}" for number in range(60)
    )
    document = parse("{ authors { ...f0 } }" + fragments + "fragment f60 on AuthorNode { name }")
    info = type("Info", (), {})()
    info.operation = document.definitions[0]
    info.fragments = {node.name.value: node for node in document.definitions[1:]}

    assert projector_of(optimize(build()).graphql_schema).reading(info, "AuthorNode").columns == {"name"}


class PublisherById(ModelLoader):
    model = Publisher


class TagBySlug(ModelLoader):
    model = Tag
    key_field = "slug"


class ShopByCode(ModelLoader):
    model = Shop


def test_keys_that_no_row_can_have_fail_nobody():
    publisher = Publisher.objects.create(name="P")
    tag = Tag.objects.create(slug="t")

    assert PublisherById().batch_load([publisher.pk, 10**30, -(10**30)]) == {publisher.pk: publisher}
    assert TagBySlug().batch_load(["t", "a\0b", "t" + "x" * 100]) == {"t": tag}


def test_key_that_is_longer_than_its_column_is_not_cut_off():
    Shop.objects.create(code="0123456789")

    assert ShopByCode().batch_load(["0123456789abc"]) == {}
