"""Cached functions over the bookshop. They stand here, not inside tests: a closure's values are part of its key."""

from __future__ import annotations

from django.db import connection
from django.db.models.expressions import RawSQL
from django.db.transaction import atomic

from dbopt.cache import cached_query
from tests.cache.conftest import GATE
from tests.testapp.models import Author, Book

PASSES_GATE = "pg_advisory_xact_lock_shared(%s) IS NULL"


@cached_query(timeout=300)
def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300)
def authors():
    return Author.objects.order_by("name")


@cached_query(timeout=300)
def how_many():
    return Author.objects.count()


@cached_query(timeout=300)
def titles_of(author: str):
    return list(Book.objects.filter(author__name=author).order_by("title").values_list("title", flat=True))


@cached_query(timeout=300)
def names_slowly():
    """Its statement has its snapshot, then waits at the gate."""
    rows = Author.objects.annotate(gate=RawSQL(PASSES_GATE, [GATE])).order_by("name")
    return [author.name for author in rows]


@cached_query(timeout=300)
def count_slowly():
    return Author.objects.annotate(gate=RawSQL(PASSES_GATE, [GATE])).filter(gate__isnull=False).count()


@cached_query(timeout=300)
def names_then_titles():
    """Two statements with a wait between them."""
    found = list(Author.objects.order_by("name").values_list("name", flat=True))
    list(Author.objects.annotate(gate=RawSQL(PASSES_GATE, [GATE])))
    return found, list(Book.objects.order_by("title").values_list("title", flat=True))


@cached_query(timeout=300)
def names_of_snapshot():
    with atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return list(Author.objects.values_list("name", flat=True))
