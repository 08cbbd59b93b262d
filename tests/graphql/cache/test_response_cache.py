"""Responses that are kept whole."""

from __future__ import annotations

import pytest

from tests.graphql.cache.bookshop import CALLS, ask
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

BOOKS = "{ books { title author { name } } }"


@pytest.fixture
def books(shop_database):
    author = Author.objects.create(name="Ann", email="ann@example.com")
    return [Book.objects.create(title=title, author=author, pages=pages) for title, pages in (("One", 1), ("Two", 2))]


def test_second_answer_costs_one_round_trip_and_no_statement(books, commands, queries):
    first = ask(BOOKS)

    with commands() as sent, queries() as ran:
        second = ask(BOOKS)

    assert second == first == {"data": {"books": [{"title": t, "author": {"name": "Ann"}} for t in ("One", "Two")]}}
    assert (len(sent), ran, CALLS) == (1, [], ["books"])
