"""Totals: what they say, and what they cost."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext

from dbopt.exceptions import ConfigurationError
from dbopt.pagination import Total, count_rows, keyset_page
from tests.testapp.models import Author, Book, Tag

pytestmark = pytest.mark.django_db


def analyze():
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ANALYZE testapp_book")


def only_statement_of(ask):
    with CaptureQueriesContext(connection) as captured:
        answer = ask()
    (query,) = captured
    return answer, query["sql"]


def test_exact_is_one_count_whatever_the_cursors(shelf):
    shelf(7)
    after = keyset_page(Book.objects.order_by("title"), first=2).end_cursor

    page = keyset_page(Book.objects.order_by("title"), first=2, after=after)

    total, statement = only_statement_of(lambda: page.count("exact"))
    assert (total, str(total), page.total()) == (Total(7), "7", 7)
    assert statement.startswith("SELECT COUNT(*)")
    assert "ORDER BY" not in statement


@pytest.mark.parametrize(
    ("cap", "total", "text"),
    [(0, Total(0, "more than"), "more than 0"), (6, Total(6, "more than"), "more than 6"), (7, Total(7), "7")],
)
def test_capped_says_when_it_stopped(shelf, cap, total, text):
    shelf(7)

    found, statement = only_statement_of(lambda: count_rows(Book.objects.order_by("title"), "capped", cap=cap))

    assert (found, str(found)) == (total, text)
    assert f"LIMIT {cap + 1}" in statement


def test_estimated_asks_the_planner_alone(shelf):
    shelf(25)
    analyze()

    total, statement = only_statement_of(lambda: count_rows(Book.objects.order_by("title"), "estimated"))

    assert (total, str(total)) == (Total(25, "about"), "about 25")
    assert statement.startswith("EXPLAIN (FORMAT json)")
    assert "ORDER BY" not in statement


def test_estimate_of_rows_that_cannot_be_is_exactly_none(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert count_rows(Book.objects.filter(pk__in=[]), "estimated") == Total(0)


@pytest.mark.parametrize("mode", ["exact", "capped", "estimated"])
@pytest.mark.parametrize(
    "narrow",
    [
        lambda books: books.filter(tags__slug__in="abc").distinct(),
        lambda books: books.annotate(popularity=Count("tags")).filter(popularity__gt=0),
        lambda books: books.select_related("author").only("title", "author__name"),
    ],
    ids=["distinct", "aggregate", "narrowed"],
)
def test_any_queryset_can_be_counted(shelf, mode, narrow):
    made = shelf(6)
    tags = [Tag.objects.create(slug=slug) for slug in "abc"]
    for book in made:
        book.tags.set(tags)
    analyze()

    total = count_rows(narrow(Book.objects.all()), mode)

    # An estimate of a join of tables that were never analysed is any number.
    assert total.kind == "about" if mode == "estimated" else total == Total(6)


def test_each_total_is_asked_for_once(shelf, django_assert_num_queries):
    shelf(3)
    page = keyset_page(Book.objects.all())

    with django_assert_num_queries(3):
        for _ in range(2):
            assert (page.count("exact"), page.count("capped", cap=2)) == (Total(3), Total(2, "more than"))
            assert page.count("estimated").kind == "about"


def test_no_total_asks_nothing(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert count_rows(Author.objects.all(), None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "roughly"}, "The total 'roughly' is unknown. Use one of: exact, estimated, capped, None."),
        ({"mode": "capped", "cap": -1}, "The cap of a total is -1; it must not be negative."),
    ],
)
def test_unknown_total_is_refused(options, message):
    with pytest.raises(ConfigurationError) as caught:
        count_rows(Book.objects.all(), **options)

    assert str(caught.value) == message
