"""Resolvers of a project that follow relations themselves: never more statements than without `optimize`."""

from __future__ import annotations

import graphene
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dbopt.graphql import optimize, requires
from tests.graphql.running import messages
from tests.graphql.test_relations import ask, build, fill, sorted_lists

pytestmark = pytest.mark.django_db


def asked_as_stock(text, **parts):
    """Return (answer, statements) of graphene-django alone."""
    with CaptureQueriesContext(connection) as statements:
        result = build(**parts).execute(text, context_value={})
    assert result.errors is None
    return result.data, len(statements)


def test_rows_of_a_related_manager_are_told_their_parent_without_a_statement_a_row():
    fill(3)
    parts = {"Author_resolve_books": lambda author, info: author.books.order_by("pk")}
    text = "{ authors { books { title } } }"

    result, statements = ask(optimize(build(**parts)), text)

    assert (result.data, statements) == asked_as_stock(text, **parts)


def test_resolver_that_follows_a_row_back_to_its_parent_asks_nothing():
    fill(3)
    label = {"label": graphene.String(), "resolve_label": lambda row, info: f"{row.author.name} <{row.author.email}>"}
    parts = {f"{name}_{key}": value for name in ("Book", "Profile") for key, value in label.items()}
    text = "{ authors { id books { label } profile { label } } }"

    result, statements = ask(optimize(build(**parts)), text)

    assert sorted_lists(result.data) == sorted_lists(asked_as_stock(text, **parts)[0])
    assert statements == 3


def test_parent_that_permissions_hide_is_not_what_the_row_shows():
    fill(1)
    parts = {"Book_label": graphene.String(), "Book_resolve_label": lambda row, info: row.author.name}
    parts["Author_get_queryset"] = classmethod(lambda cls, rows, info: rows.none())
    text = "{ authors { books { label author { name } } } }"

    result, _ = ask(optimize(build(**parts)), text)

    expected = build(**parts).execute(text, context_value={})
    assert result.data == expected.data
    assert [path for _, path in messages(result)] == [path for _, path in messages(expected)]


def test_only_rows_whose_resolvers_may_look_anywhere_make_parents_whole():
    fill(1)
    parts = {"Book_label": graphene.String(), "Book_resolve_label": requires("title")(lambda row, info: row.title)}

    with CaptureQueriesContext(connection) as captured:
        ask(optimize(build(**parts)), "{ authors { name books { label } } }")

    assert [query["sql"].partition(" FROM ")[0].count(",") for query in captured.captured_queries] == [1, 2]
