"""Django's TestCase runs in one transaction that is rolled back: nothing of it may ever be stored."""

from __future__ import annotations

from django.db.transaction import atomic
from django.test import TestCase

from tests.cache import shop
from tests.testapp.models import Author


class InsideTestCase(TestCase):
    def test_rows_of_the_test_are_read_past_the_cache(self):
        Author.objects.create(name="Ada", email="ada@example.org")
        assert shop.names() == ["Ada"]
        Author.objects.create(name="Grace", email="grace@example.org")
        assert shop.names() == ["Ada", "Grace"]

    def test_captured_hooks_do_not_make_uncommitted_rows_shareable(self):
        from dbopt.cache.counters import counters_of

        with self.captureOnCommitCallbacks(execute=True), atomic():
            Author.objects.create(name="Ada", email="ada@example.org")
        assert shop.names() == ["Ada"]
        assert counters_of(shop.names._spec.name).snapshot()["sets"] == 0
