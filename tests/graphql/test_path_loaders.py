"""Loaders along relations: the first rows a parent, filters, aggregates, generic relations."""

from __future__ import annotations

import graphene
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Avg, Count, Max, Q
from django.test.utils import CaptureQueriesContext
from graphene_django import DjangoListField, DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import AggregateLoader, DboptExecutionContext, RelatedLoader, optimize
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.execution.promises import held_queue, run_next_job
from dbopt.graphql.loading.top_rows import top_rows
from tests.testapp.models import Author, Book, Note, Publisher, Tag

pytestmark = pytest.mark.django_db


class BooksByAuthor(RelatedLoader):
    relation = Author.books
    order_by = ("-pages", "-id")
    filters = ("publisher__name", "pages__in")


class TopBooksByAuthor(BooksByAuthor):
    limit = 2


class TagsByBook(RelatedLoader):
    relation = Book.tags
    order_by = ("-slug",)
    limit = 2


class NotesByAuthor(RelatedLoader):
    relation = Author.notes
    order_by = ("-text",)


class BookCount(AggregateLoader):
    relation = Author.books
    filters = ("pages__gt",)


class MostPages(AggregateLoader):
    relation = Author.books
    aggregate = Max("pages")


class TagCount(AggregateLoader):
    relation = Book.tags


class MeanBookOfTag(AggregateLoader):
    relation = Tag.books
    aggregate = Avg("pages")


class FriendCount(AggregateLoader):
    relation = Author.friends


class NoteCount(AggregateLoader):
    relation = Author.notes


@pytest.fixture
def authors():
    """Three authors: the first with five books, the second with one, the third with none."""
    publishers = [Publisher.objects.create(name=name) for name in "PQ"]
    authors = [Author.objects.create(name=f"A{number}", email=f"a{number}@example.com") for number in range(3)]
    for number in range(5):
        Book.objects.create(title=f"B{number}", author=authors[0], pages=number % 3, publisher=publishers[number % 2])
    Book.objects.create(title="only", author=authors[1], pages=7)
    return authors


def load(loader, keys):
    """Return (values, statements)."""
    with CaptureQueriesContext(connection) as captured, held_queue():
        promise = loader.load_many(keys)
        while run_next_job():
            pass
    return promise.get(), len(captured)


def titles(lists):
    return [[book.title for book in books] for books in lists]


def test_first_rows_of_each_parent_in_their_order(authors):
    values, statements = load(TopBooksByAuthor({}), [author.pk for author in authors])

    assert titles(values) == [["B2", "B4"], ["only"], []]
    assert statements == 1


def test_limit_zero_gives_nothing_and_a_negative_one_is_refused(authors):
    assert load(BooksByAuthor.narrowed({}, limit=0), [authors[0].pk])[0] == [[]]

    with pytest.raises(ValueError, match=r"BooksByAuthor was asked for -1 rows a parent. Ask for 0 or more."):
        BooksByAuthor.narrowed({}, limit=-1)


def test_filters_are_part_of_the_loaders_identity(authors):
    context, key = {}, authors[0].pk

    assert titles(load(BooksByAuthor.narrowed(context, publisher__name="P"), [key])[0]) == [["B2", "B4", "B0"]]
    assert titles(load(BooksByAuthor.narrowed(context, publisher__name="Q", limit=1), [key])[0]) == [["B1"]]
    assert titles(load(BooksByAuthor.narrowed(context, pages__in=[0, 1], limit=3), [key])[0]) == [["B4", "B1", "B3"]]
    assert BooksByAuthor.narrowed(context, publisher__name=None, pages__in=[1]) is BooksByAuthor.narrowed(
        context, pages__in=(1,)
    )
    with pytest.raises(TypeError, match=r"BooksByAuthor cannot filter by 'title'. Add the name to its `filters`."):
        BooksByAuthor.narrowed(context, title="B1")


@pytest.mark.parametrize(
    "narrow",
    [
        lambda rows: rows,
        lambda rows: rows.only("title", "author_id"),
        lambda rows: rows.annotate(tag_count=Count("tags")),
        lambda rows: rows.select_related("publisher"),
        lambda rows: rows.prefetch_related("tags"),
        lambda rows: rows.distinct(),
        lambda rows: rows.filter(Q(title__startswith="B") | Q(publisher=None)),
        lambda rows: rows.reverse(),
        lambda rows: rows.filter(title="50% off"),
        lambda rows: rows.none(),
    ],
)
def test_top_rows_of_any_queryset_are_what_slicing_each_parent_gives(authors, narrow):
    rows = narrow(Book.objects.order_by("pages", "pk"))
    expected = {author.pk: list(rows.filter(author=author)[:2]) for author in authors}

    with CaptureQueriesContext(connection) as captured:
        found = top_rows(rows, Book._meta.get_field("author"), [author.pk for author in authors], limit=2)
        for book in (book for books in found.values() for book in books):
            list(book.tags.all() if book.__dict__.get("_prefetched_objects_cache") else [])

    assert {key: value for key, value in expected.items() if value} == dict(found)
    assert [vars(book).get("tag_count") for books in found.values() for book in books] == [
        vars(book).get("tag_count") for key in found for book in expected[key]
    ]
    assert len(captured) <= 2


def test_top_rows_read_converted_values(authors):
    Book.objects.filter(author=authors[1]).update(data={"a": [1]}, price="1.50")

    (book,) = top_rows(Book.objects.all(), Book._meta.get_field("author"), [authors[1].pk], limit=1)[authors[1].pk]

    assert (book.data, str(book.price), book._state.adding, book._state.db) == ({"a": [1]}, "1.50", False, "default")


def test_first_rows_of_a_many_to_many_relation(authors):
    tags = [Tag.objects.create(slug=f"t{number}") for number in range(4)]
    first, second = Book.objects.order_by("pk")[:2]
    first.tags.set(tags)
    second.tags.set(tags[:1])

    values, statements = load(TagsByBook({}), [first.pk, second.pk])
    assert [[tag.slug for tag in found] for found in values] == [["t3", "t2"], ["t0"]]
    assert statements == 1


def test_aggregates_of_every_kind_of_relation(authors):
    tags = [Tag.objects.create(slug=f"t{number}") for number in range(2)]
    first, second = Book.objects.order_by("pk")[:2]
    first.tags.set(tags)
    second.tags.set(tags[:1])
    authors[0].friends.add(authors[1], authors[2])
    Note.objects.create(text="n", subject=authors[1])
    Note.objects.create(text="of a book with the same key", subject=Book(pk=authors[1].pk))
    keys = [author.pk for author in authors]

    assert load(BookCount({}), keys) == ([5, 1, 0], 1)
    assert load(BookCount.narrowed({}, pages__gt=1), keys) == ([1, 1, 0], 1)
    assert load(MostPages({}), keys) == ([2, 7, None], 1)
    assert load(TagCount({}), [second.pk, first.pk, 0]) == ([1, 2, 0], 1)
    assert load(MeanBookOfTag({}), [tags[0].pk, tags[1].pk]) == ([0.5, 0.0], 1)
    assert load(FriendCount({}), keys) == ([2, 1, 1], 1)
    ContentType.objects.get_for_model(Author)
    assert load(NoteCount({}), keys) == ([0, 1, 0], 1)


def test_count_of_what_may_be_seen(authors):
    class Visible(TagCount):
        def get_queryset(self):
            return Tag.objects.filter(books__title="B1")

    tags = [Tag.objects.create(slug=f"t{number}") for number in range(2)]
    first, second = Book.objects.order_by("pk")[:2]
    first.tags.set(tags)
    second.tags.set(tags[:1])

    # Only t0 is a tag of B1, and both books have it: the condition must not share the join of the grouping.
    assert load(Visible({}), [first.pk, second.pk])[0] == [1, 1]


def test_row_that_a_condition_joins_twice_counts_once(authors):
    class Tagged(BookCount):
        def get_queryset(self):
            return Book.objects.filter(tags__slug__startswith="t")

    class OfBooks(TagCount):
        def get_queryset(self):
            return Tag.objects.filter(books__title__startswith="B")

    tags = [Tag.objects.create(slug=f"t{number}") for number in range(2)]
    for book in Book.objects.order_by("pk")[:2]:
        book.tags.set(tags)

    assert load(Tagged({}), [authors[0].pk])[0] == [2]
    assert load(OfBooks({}), [Book.objects.order_by("pk")[0].pk])[0] == [2]


def generic_schema(**hooks):
    registry = Registry()

    def node(model, names, **own):
        meta = type("Meta", (), {"model": model, "fields": names, "registry": registry})
        own.update({key.partition("_")[2]: hook for key, hook in hooks.items() if key.startswith(model.__name__)})
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta, **own})

    author_node = node(Author, ["name"], notes=DjangoListField(lambda: note_node))
    tag_node = node(Tag, ["slug"])
    subject = type("Subject", (graphene.Union,), {"Meta": type("Meta", (), {"types": (author_node, tag_node)})})
    note_node = node(Note, ["text"], subject=graphene.Field(subject))
    query = {
        "notes": graphene.List(note_node),
        "resolve_notes": lambda root, info: hooks.get("notes", Note.objects.order_by("pk")),
        "authors": graphene.List(author_node),
        "resolve_authors": lambda root, info: hooks.get("authors", Author.objects.order_by("pk")),
    }
    return graphene.Schema(query=type("Query", (graphene.ObjectType,), query))


def ask(schema, text):
    # Django keeps the content types it has seen: that is not counted here.
    ContentType.objects.get_for_models(Author, Tag, Book)
    with CaptureQueriesContext(connection) as captured:
        result = schema.execute(text, context_value={}, **executed_by(DboptExecutionContext))
    return result, len(captured)


SUBJECTS = "{ notes { text subject { __typename ... on AuthorNode { name } ... on TagNode { slug } } } }"


def test_relation_with_arguments_is_a_statement_for_each_set_of_them(authors):
    registry = Registry()

    def node(model, *fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry})
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta, **attributes})

    def resolve_books(root, info, publisher=None, first=None):
        return BooksByAuthor.narrowed(info.context, limit=first, publisher__name=publisher).load(root.pk)

    books = graphene.List(node(Book, "title"), publisher=graphene.String(), first=graphene.Int())
    author = node(Author, "name", books=books, resolve_books=resolve_books)
    query = {"authors": graphene.List(author), "resolve_authors": lambda root, info: Author.objects.order_by("pk")}
    schema = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query)))
    text = """{ authors {
        p: books(publisher: "P", first: 2) { title } q: books(publisher: "Q") { title } same: books(publisher: "Q") { title }
    } }"""

    with CaptureQueriesContext(connection) as captured:
        result = schema.execute(text, context_value={}, **executed_by(DboptExecutionContext))

    assert result.errors is None
    first = result.data["authors"][0]
    assert titles_of(first["p"]) == ["B2", "B4"]
    assert titles_of(first["q"]) == titles_of(first["same"]) == ["B1", "B3"]
    assert len(captured) == 3


def titles_of(books):
    return [book["title"] for book in books]


def test_generic_foreign_keys_cost_a_statement_a_model(authors):
    tag = Tag.objects.create(slug="t")
    for subject in (*authors, tag, *authors):
        Note.objects.create(text="n", subject=subject)
    Note.objects.create(text="gone", content_type=ContentType.objects.get_for_model(Tag), object_id=0)
    # Of a model that is gone itself.
    Note.objects.create(
        text="gone", content_type=ContentType.objects.create(app_label="gone", model="gone"), object_id=1
    )

    result, statements = ask(optimize(generic_schema()), SUBJECTS)

    assert result.errors is None
    assert result.data == generic_schema().execute(SUBJECTS).data
    assert result.data["notes"][3]["subject"] == {"__typename": "TagNode", "slug": "t"}
    assert [note["subject"] for note in result.data["notes"][7:]] == [None, None]
    # With one for the content type that this process has not seen.
    assert statements == 4


def test_generic_foreign_keys_ask_get_queryset_and_one_failing_model_leaves_the_others(authors):
    tag = Tag.objects.create(slug="t")
    for subject in (authors[0], authors[1], tag):
        Note.objects.create(text="n", subject=subject)

    def fails(cls, queryset, info):
        raise PermissionError("no tags")

    visible = classmethod(lambda cls, queryset, info: queryset.filter(name="A1"))
    schema = generic_schema(Author_get_queryset=visible, Tag_get_queryset=classmethod(fails))
    result, _ = ask(optimize(schema), SUBJECTS)

    assert [note["subject"] for note in result.data["notes"]] == [
        None,
        {"__typename": "AuthorNode", "name": "A1"},
        None,
    ]
    assert [(error.message, error.path) for error in result.errors] == [("no tags", ["notes", 2, "subject"])]


def test_generic_relations_are_read_for_all_parents_at_once(authors):
    for number in range(3):
        Note.objects.create(text=f"n{number}", subject=authors[number % 2])
    Note.objects.create(text="of a tag", subject=Tag.objects.create(pk=authors[0].pk, slug="t"))
    text = "{ authors { name notes { text } } }"

    result, statements = ask(optimize(generic_schema()), text)

    assert result.data == generic_schema().execute(text).data
    assert [len(row["notes"]) for row in result.data["authors"]] == [2, 1, 0]
    assert statements == 2
    values, _ = load(NotesByAuthor({}), [authors[0].pk])
    assert [note.text for note in values[0]] == ["n2", "n0"]


@pytest.mark.parametrize("field", ["authors", "notes"])
def test_prefetched_generic_relations_win(authors, field):
    Note.objects.create(text="n", subject=authors[0])
    rows = {"authors": Author.objects.prefetch_related("notes"), "notes": Note.objects.prefetch_related("subject")}
    text = SUBJECTS if field == "notes" else "{ authors { notes { text } } }"

    result, statements = ask(optimize(generic_schema(**{field: rows[field]})), text)

    assert result.errors is None
    assert statements == 2
