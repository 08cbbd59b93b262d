"""Rows of another database, which is SQLite: no LATERAL, no arrays, no array of keys."""

from __future__ import annotations

import graphene
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, models
from django.test.utils import CaptureQueriesContext, isolate_apps
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import DboptExecutionContext, KeysetConnectionField, optimize
from dbopt.graphql.execution.core_versions import executed_by
from tests.testapp.models import Author, Book, Publisher, Tag

pytestmark = pytest.mark.django_db

ALIAS = "elsewhere"


@pytest.fixture
def elsewhere():
    """An empty bookshop in the memory of this process."""
    connections.settings[ALIAS] = connections.settings["default"] | {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
    }
    connection = connections[ALIAS]
    # Django's tests let nobody connect to a database that they do not know; this one is connected already.
    connection.connect()
    try:
        with connection.schema_editor() as editor:
            for model in (ContentType, Publisher, Author, Tag, Book):
                editor.create_model(model)
        yield connection
    finally:
        connection.close()
        del connections[ALIAS], connections.settings[ALIAS]


def fill(using):
    """Make authors with 0 to 3 books, tags on them, and the first author as the editor of all."""
    tags = [Tag.objects.using(using).create(slug=f"t{number}") for number in range(3)]
    authors = []
    for number in range(4):
        author = Author.objects.using(using).create(name=f"{using} {number}", email=f"{number}@example.com")
        authors.append(author)
        for index in range(number):
            book = Book(title=f"{using} {number}.{index}", pages=index // 2, author=author, editor=authors[0])
            book.save(using=using)
            book.tags.add(*tags[index:])
    return authors


def schema(authors, *, get_queryset=None, optimized=True):
    registry = Registry()

    def node(model, *fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry, "name": model.__name__})
        return type(model.__name__, (DjangoObjectType,), {"Meta": meta, **attributes})

    see = {} if get_queryset is None else {"get_queryset": classmethod(get_queryset)}
    tag = node(Tag, "slug")
    book = node(
        Book,
        "title",
        "author",
        "editor",
        "tags",
        tag_pages=KeysetConnectionField(tag, relation="tags", order_by="-slug"),
    )
    author = node(
        Author,
        "name",
        "books",
        pages=KeysetConnectionField(book, relation="books", order_by=("-pages", "title")),
        **see,
    )
    query = {"authors": graphene.List(author), "resolve_authors": lambda root, info: authors()}
    made = graphene.Schema(query=type("Query", (graphene.ObjectType,), query))
    return optimize(made) if optimized else made


def ask(of, text, *, executor=DboptExecutionContext, **variables):
    """Return (data, messages, statements here, statements elsewhere)."""
    with CaptureQueriesContext(connections["default"]) as here, CaptureQueriesContext(connections[ALIAS]) as there:
        result = of.execute(text, context_value={}, variable_values=variables, **executed_by(executor))
    return result.data, [error.message for error in result.errors or ()], len(here), len(there)


def everybody():
    return Author.objects.using(ALIAS).order_by("pk")


def test_relations_are_read_where_their_parents_are(elsewhere):
    fill(ALIAS)
    text = "{ authors { name books { title author { name } editor { name } tags { slug } } } }"

    data, messages, here, there = ask(schema(everybody), text)

    assert messages == []
    assert [len(row["books"]) for row in data["authors"]] == [0, 1, 2, 3]
    assert data["authors"][3]["books"][0]["editor"] == {"name": "elsewhere 0"}
    assert {len(book["tags"]) for row in data["authors"] for book in row["books"]} == {1, 2, 3}
    # Authors; books; authors and editors together; pairs, tags.
    assert (here, there) == (0, 5)


PAGE = """query($first: Int, $last: Int, $after: String, $before: String) {
    authors { pages(first: $first, last: $last, after: $after, before: $before) {
        totalCount pageInfo { hasNextPage hasPreviousPage }
        edges { cursor node { title tagPages(first: 2) { totalCount pageInfo { hasNextPage } nodes { slug } } } }
    } }
}"""


def test_pages_of_many_parents_are_numbered(elsewhere):
    fill(ALIAS)
    made, plain = schema(everybody), schema(everybody, optimized=False)
    cursors = [edge["cursor"] for edge in ask(made, PAGE)[0]["authors"][3]["pages"]["edges"]]
    places = [{}, {"after": cursors[0]}, {"before": cursors[2]}, {"after": cursors[0], "before": cursors[2]}]
    for place in places:
        for size in ({"first": 1}, {"first": 2}, {"last": 1}, {"last": 3}, {"first": 0}):
            data, messages, here, there = ask(made, PAGE, **size, **place)

            assert messages == []
            assert data == ask(plain, PAGE, executor=None, **size, **place)[0]
            # Authors; pages, totals, what lies behind, before, and beyond empty pages; pairs, tags, totals.
            assert here == 0
            assert there <= 9


def test_parents_of_two_databases_are_asked_about_where_they_are(elsewhere):
    fill(ALIAS)
    fill("default")

    def both():
        return [*everybody(), *Author.objects.order_by("pk")]

    text = "{ authors { name books { title } pages(first: 9) { nodes { title } } } }"

    data, messages, here, there = ask(schema(both), text)

    assert messages == []
    for row in data["authors"]:
        titles = [book["title"] for book in row["books"]]
        assert len(titles) == int(row["name"][-1])
        assert all(title.startswith(row["name"]) for title in titles)
        assert sorted(titles) == sorted(book["title"] for book in row["pages"]["nodes"])
    assert (here, there) == (3, 3)


def test_get_queryset_may_use_another_database(elsewhere):
    """Its rows are found by the same keys there."""
    for pk in (1001, 1002):
        Author.objects.create(pk=pk, name="here", email=f"{pk}@example.com")
        Author.objects.using(ALIAS).create(pk=pk, name=f"there {pk}", email=f"{pk}@example.com")
        Book.objects.create(title=f"B{pk}", author_id=pk)
    made = schema(
        lambda: Author.objects.filter(pk__gt=1000).order_by("pk"),
        get_queryset=lambda cls, queryset, info: queryset.using(ALIAS),
    )

    data, messages, here, there = ask(made, "{ authors { books { title author { name } } } }")

    assert messages == []
    assert [row["books"][0]["author"]["name"] for row in data["authors"]] == ["there 1001", "there 1002"]
    assert (here, there) == (2, 1)


def test_foreign_key_to_a_proxy(elsewhere, monkeypatch):
    authors = fill("default")
    with isolate_apps("tests.testapp"):

        class Writer(Author):
            class Meta:
                app_label = "testapp"
                proxy = True

        class Essay(models.Model):
            title = models.CharField(max_length=200)
            author = models.ForeignKey(Writer, models.CASCADE, related_name="essays")

            class Meta:
                app_label = "testapp"
                managed = False
                db_table = Book._meta.db_table

            def __str__(self):
                return self.title

    registry = Registry()

    def node(model, *fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry, "name": model.__name__})
        return type(model.__name__, (DjangoObjectType,), {"Meta": meta, **attributes})

    # A model that is no longer isolated is not found by the registry of all: what it would find there.
    monkeypatch.setitem(vars(Author._meta), "related_objects", (*Author._meta.related_objects, Author.essays.rel))
    writer = node(Writer, "name")
    author = node(Author, "name", "essays")
    essay = node(Essay, "title", "author")
    query = {
        "essays": graphene.List(essay),
        "resolve_essays": lambda root, info: Essay.objects.order_by("pk"),
        "writers": graphene.List(writer),
        "resolve_writers": lambda root, info: Writer.objects.order_by("pk"),
        "authors": graphene.List(author),
        "resolve_authors": lambda root, info: Author.objects.order_by("pk"),
    }
    made = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query)))

    data, messages, here, _ = ask(made, "{ essays { title author { name } } }")

    assert messages == []
    assert len(data["essays"]) == 6
    assert all(row["title"].startswith(row["author"]["name"]) for row in data["essays"])
    assert here == 2
    assert len(authors) == 4

    data, messages, here, _ = ask(made, "{ authors { name essays { title } } }")

    assert messages == []
    assert sum(len(row["essays"]) for row in data["authors"]) == 6
    assert all(essay["title"].startswith(row["name"]) for row in data["authors"] for essay in row["essays"])
    assert here == 2
