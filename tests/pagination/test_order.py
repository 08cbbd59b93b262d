"""Orders that a page refuses: the message names the key and the way out."""

from __future__ import annotations

import pytest
from django.db.models import F, Max, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Lower, NullIf

from dbopt.exceptions import ConfigurationError
from dbopt.pagination import keyset_page
from dbopt.pagination.order import order_of
from tests.testapp.models import Author, Book

UNKNOWN = (
    "Cannot page by {!r}: testapp.Book has no such column or annotation. "
    "A transform of a column must be annotated; then order by the annotation's name."
)
JSON = (
    "Cannot page by {!r}: it is JSON, whose order no cursor can hold. "
    "Annotate Cast(...) of the text to a type and order by the annotation."
)
MANY = (
    "Cannot page by {!r}: {!r} may have several rows, or none. "
    "Order by columns of the model, or by a path of foreign keys."
)


@pytest.mark.parametrize(
    ("order_by", "message"),
    [
        ("absent", UNKNOWN.format("absent")),
        ("data__shelf", UNKNOWN.format("data__shelf")),
        ("title__lower", UNKNOWN.format("title__lower")),
        ("author__absent", UNKNOWN.format("author__absent")),
        ("tags", MANY.format("tags", "tags")),
        ("tags__slug", MANY.format("tags__slug", "tags")),
        ("author__books", MANY.format("author__books", "books")),
        ("author__profile", MANY.format("author__profile", "profile")),
        ("data", JSON.format("data")),
        ("?", "Cannot page in random order ('?'). Order by columns."),
        (Lower("title"), "Cannot page by an expression (Lower). Annotate it and order by its name."),
        (Lower("title").desc(), "Cannot page by an expression (Lower). Annotate it and order by its name."),
    ],
)
def test_order_is_refused(order_by, message):
    with pytest.raises(ConfigurationError) as caught:
        order_of(Book.objects.all(), order_by)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    "annotation",
    [Max("tags__pk"), NullIf("title", Value("")), F("rating"), Lower("editor__name"), Lower("tags__slug")],
    ids=str,
)
def test_annotation_that_can_be_null_has_a_place_for_its_nulls(annotation):
    order = order_of(Book.objects.annotate(key_of_mine=annotation), "-key_of_mine")

    assert [(key.is_nullable, key.nulls_first) for key in order.keys] == [(True, True), (False, True)]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Value(None), "Cannot page by 'mine': the annotation has no type. Give it an output_field."),
        (KeyTransform("shelf", "data"), JSON.format("mine")),
    ],
    ids=["no type", "JSON"],
)
def test_annotation_is_refused(annotation, message):
    with pytest.raises(ConfigurationError) as caught:
        order_of(Book.objects.annotate(mine=annotation), "mine")

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("order_by", "text"),
    [
        ("rating", "rating, id"),
        ("-rating", "-rating, -id"),
        (F("rating").asc(nulls_first=True), "rating nulls first, id"),
        (F("rating").desc(nulls_last=True), "-rating nulls last, -id"),
        (F("rating").desc(nulls_first=True), "-rating, -id"),
        (("pages", "-title"), "pages, -title, -id"),
        (("-pages", F("editor").asc(nulls_last=True)), "-pages, editor, id"),
        ("editor__name", "editor__name, id"),
    ],
)
def test_order_puts_nulls_where_postgresql_does_unless_told(order_by, text):
    assert ", ".join(map(str, order_of(Book.objects.all(), order_by).keys)) == text


def test_reversed_order_turns_nulls_around_too():
    queryset = Book.objects.order_by("pages", F("rating").desc(nulls_last=True)).reverse()

    assert ", ".join(map(str, order_of(queryset).keys)) == "-pages, rating nulls first, id"


@pytest.mark.parametrize(
    ("order_by", "paths"),
    [
        (None, ["id"]),
        ((), ["id"]),
        ("key", ["key"]),
        (("pages", "key", "title"), ["pages", "key"]),
        (("pk", "-title"), ["id"]),
        (("title", "title", "-title"), ["title", "id"]),
        (("author", "author_id", "id"), ["author_id", "id"]),
        ("author__email", ["author__email", "id"]),
    ],
)
def test_order_is_made_total_by_a_unique_column(order_by, paths):
    order = order_of(Book.objects.all(), order_by)

    assert [key.path for key in order.keys] == paths


def test_primary_key_follows_the_direction_of_the_last_key():
    assert [key.is_descending for key in order_of(Book.objects.all(), ("-pages", "-title")).keys] == [True] * 3


@pytest.mark.parametrize(
    ("queryset", "fault"),
    [
        (lambda: Book.objects.all()[:5], "a sliced queryset"),
        (lambda: Book.objects.filter(pk=1).union(Book.objects.filter(pk=2)), "a union of querysets"),
        (lambda: Book.objects.distinct("title"), "distinct() with field names"),
        (lambda: Book.objects.values("title"), "values() or values_list()"),
        (lambda: Author.objects.values_list("pk"), "values() or values_list()"),
    ],
)
def test_queryset_is_refused(queryset, fault):
    with pytest.raises(ConfigurationError) as caught:
        keyset_page(queryset())

    assert str(caught.value) == f"Cannot page {fault}. Give the plain queryset of model rows with its filters."


def test_order_of_extra_is_refused():
    with pytest.raises(ConfigurationError, match=r"Cannot page by extra\(order_by=\.\.\.\)"):
        keyset_page(Book.objects.extra(order_by=["title"]))


def test_row_without_a_value_where_none_may_be_missing_gets_no_cursor():
    page = keyset_page(Book.objects.all(), order_by="pages")

    with pytest.raises(ConfigurationError) as caught:
        page.cursor(Book(pk=1, pages=None))

    assert str(caught.value) == "Cannot page by 'pages': a row has no value, but the column is declared NOT NULL."
