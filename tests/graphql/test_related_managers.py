"""Resolvers of a project that follow relations themselves: never more statements than without `optimize`."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dbopt.graphql import optimize
from tests.graphql.test_relations import ask, build, fill

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
