"""What `dbopt.testing` offers to tests of cached functions."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.test import TestCase

from dbopt.cache import bypass, cached_query, invalidate
from dbopt.testing import cache_namespace, count_cache_operations
from tests.testapp.models import Author

pytestmark = pytest.mark.usefixtures("redis_server")


@cached_query(timeout=300, name="testing:names")
def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, name="testing:number", tags=["testing"])
def number(value: int):
    return value


def test_operations_are_counted():
    with cache_namespace():
        with count_cache_operations() as first:
            number(1)
        with count_cache_operations() as second:
            number(1)
            invalidate("testing")
            number(1)
            with bypass():
                number(1)

    assert first.reads == [("testing:number", "miss", None)]
    assert second.reads == [
        ("testing:number", "hit", None),
        ("testing:number", "stale", None),
        ("testing:number", "bypass", "bypass"),
    ]
    assert (second.hits, second.misses, second.bypasses, second.renewed_tags) == (1, 1, 1, 1)
    # One for the hit, one for the tag, two for the miss: a look and a store.
    assert second.round_trips == 4


def test_namespace_is_empty_and_leaves_nothing():
    with cache_namespace() as outer:
        number(1)
        with cache_namespace() as inner, count_cache_operations() as operations:
            number(1)
        assert operations.misses == 1
        with count_cache_operations() as operations:
            number(1)
        assert operations.hits == 1

    assert outer != inner
    import redis
    from django.conf import settings

    client = redis.Redis.from_url(settings.CACHES["default"]["LOCATION"])
    assert client.keys(f"{outer}:*") == client.keys(f"{inner}:*") == []
    client.close()


class InsideTestCase(TestCase):
    """The test's own transaction is never committed."""

    def test_cache_works_as_in_production(self):
        with cache_namespace(), count_cache_operations() as operations:
            Author.objects.create(name="Ada", email="ada@example.org")
            assert (names(), names()) == (["Ada"], ["Ada"])
            Author.objects.create(name="Bea", email="bea@example.org")
            assert (names(), names()) == (["Ada", "Bea"], ["Ada", "Bea"])
            assert [outcome for _, outcome, _ in operations.reads] == ["miss", "hit", "stale", "hit"]

    def test_transaction_of_the_code_counts(self):
        with cache_namespace(), count_cache_operations() as operations:
            assert names() == []
            with transaction.atomic():
                Author.objects.create(name="Ada", email="ada@example.org")
                assert names() == ["Ada"]
            assert (names(), names()) == (["Ada"], ["Ada"])
            assert [outcome for _, outcome, _ in operations.reads] == ["miss", "bypass", "stale", "hit"]

    def test_what_is_rolled_back_is_not_served(self):
        with cache_namespace():
            assert names() == []
            with transaction.atomic():
                Author.objects.create(name="Ada", email="ada@example.org")
                transaction.set_rollback(True)
            assert (names(), names()) == ([], [])

    def test_without_it_nothing_of_a_test_is_shared(self):
        Author.objects.create(name="Ada", email="ada@example.org")
        with count_cache_operations() as operations:
            assert names() == ["Ada"]
        assert operations.bypasses == 1
