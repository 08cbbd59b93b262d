"""Results that depend on the time or on chance: kept only where it is said for how long that is right."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models.functions import Now

from dbopt.cache import cached_query
from dbopt.exceptions import ConfigurationError
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


def published(is_volatile):
    now = Now() if is_volatile else "2026-01-01T00:00Z"
    return Book.objects.filter(published_at__lte=now).count()


@cached_query(timeout=300, volatile_ok=20)
def published_for_a_while(is_volatile: bool):
    return published(is_volatile)


@cached_query(timeout=5, volatile_ok=20)
def published_briefly():
    return published(True)


@cached_query(timeout=300, volatile_ok=20)
def by_chance():
    with connection.cursor() as cursor:
        cursor.execute("SELECT random()")
        return cursor.fetchall()


@cached_query(timeout=300, volatile_ok=20)
def overtaken():
    Author.objects.update(name="x")
    return published(True)


@cached_query(timeout=300)
def around():
    return published_for_a_while(True)


@cached_query(timeout=300, volatile_ok=60)
def around_for_longer():
    return published_for_a_while(False)


@pytest.fixture
def book():
    author = Author.objects.create(name="Ada", email="ada@example.org")
    return Book.objects.create(title="Notes", author=author, published_at="2025-01-01T00:00Z")


def life(function, valkey):
    """Seconds that the only stored result of a function has left."""
    (key,) = valkey.scan_iter(match=f"*:v:*{function.__name__}:*", count=1000)
    return valkey.pttl(key) / 1000


@pytest.mark.parametrize(("is_volatile", "seconds"), [(True, 20), (False, 300)])
def test_only_what_is_volatile_ends_early(book, valkey, outcomes, is_volatile, seconds):
    assert [published_for_a_while(is_volatile) for _ in range(3)] == [1, 1, 1]

    assert outcomes(published_for_a_while)["hits"] == 2
    assert 0.85 * seconds < life(published_for_a_while, valkey) <= seconds


def test_timeout_that_is_shorter_stays(book, valkey):
    published_briefly()

    assert life(published_briefly, valkey) <= 5


def test_tables_are_followed_all_the_same(book):
    assert published_for_a_while(True) == 1

    book.delete()

    assert published_for_a_while(True) == 0


def test_statement_without_tables_is_kept(outcomes):
    assert by_chance() == by_chance()
    assert outcomes(by_chance)["hits"] == 1


def test_other_reasons_stay(book, outcomes):
    overtaken()

    assert outcomes(overtaken)["refused"] == {"writes": 1}


@pytest.mark.parametrize("function", [around, around_for_longer])
def test_function_around_is_not_stored_on_top_of_it(book, outcomes, function):
    """Neither the run nor a hit within may add its seconds to those of the function around."""
    assert [function(), function()] == [1, 1]

    assert outcomes(function)["refused"] == {"inner_volatile": 2}


@pytest.mark.parametrize("given", [-1, True, "60"])
def test_seconds_are_checked(given):
    with pytest.raises(ConfigurationError, match=r"volatile_ok=.*give seconds, at least 0.001, or 0"):
        cached_query(volatile_ok=given)(published)
