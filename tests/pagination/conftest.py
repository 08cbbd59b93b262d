"""A shelf of books with ties in every column."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from functools import cache

import pytest
from django.db import connections

from tests.pagination.specimens import Specimen
from tests.testapp.models import Author, Book

START = datetime.datetime(2024, 3, 31, 0, 59, 59, 999_999, tzinfo=datetime.UTC)


@pytest.fixture
def authors(db):
    names = ["Ångström", "Brontë", 'O"Neill', "", "Zoë"]
    return Author.objects.bulk_create(
        Author(name=name, email=f"author{number}@example.com") for number, name in enumerate(names)
    )


@pytest.fixture
def shelf(authors):
    """Make books: `shelf(23)`."""

    def fill(count):
        return Book.objects.bulk_create(
            Book(
                key=uuid.UUID(int=(number * 7919) % 1009 << 90 | number),
                title=["Emma", "emma", "Émile", "a'b", ""][number % 5],
                author=authors[number * 3 % 5],
                price=Decimal(number % 4) / 4,
                rating=[0.1, -0.0, 0.0, 1e300, None, float("inf"), float("nan")][number % 7],
                pages=number % 3,
                published_at=None if number % 6 == 0 else START + datetime.timedelta(microseconds=number % 4),
            )
            for number in range(count)
        )

    return fill


@pytest.fixture
def sqlite(db):
    """Another database than PostgreSQL, in memory."""
    default = connections["default"].settings_dict
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
    connections.settings["sqlite"] = {**default, **engine}
    # By hand: Django's test case keeps databases from being opened that it did not know.
    connections["sqlite"].connect()
    yield connections["sqlite"]
    connections["sqlite"].connection.close()
    del connections["sqlite"], connections.settings["sqlite"]


@pytest.fixture
def specimens(sqlite):
    """Make the table of specimens in a database: `specimens("sqlite")` is its manager."""

    @cache
    def manager(alias):
        with connections[alias].schema_editor() as editor:
            editor.create_model(Specimen)
        return Specimen.objects.using(alias)

    return manager
