"""Invalidation by hand in the middle of a transaction: others may store what they read before its COMMIT."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.cache import cached_query, invalidate, invalidate_all, invalidate_tenant, writes
from dbopt.tenancy import tenant_context
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300, level="ttl", tags=["by_hand"])
def kept():
    return list(Author.objects.values_list("name", flat=True))


@cached_query(timeout=300)
def followed():
    return list(Author.objects.values_list("name", flat=True))


WAYS = {
    "tag": (kept, lambda: invalidate("by_hand")),
    "everything": (kept, invalidate_all),
    "function": (kept, kept.invalidate_all),
    "call": (kept, kept.invalidate),
    "tenant": (kept, lambda: invalidate_tenant(1)),
    "model": (followed, lambda: invalidate(Author)),
}


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


@pytest.fixture
def one_tenant():
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y"}}), tenant_context(1):
        yield


def rename_unseen():
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE testapp_author SET name = 'Grace'")


def asked_elsewhere(elsewhere, function):
    def ask():
        with tenant_context(1):
            return function()

    return elsewhere(ask)


@pytest.mark.parametrize("first", ["write", "invalidation"])
@pytest.mark.parametrize("way", WAYS)
def test_counts_once_more_after_the_commit(ada, one_tenant, elsewhere, way, first):
    function, invalidates = WAYS[way]
    assert asked_elsewhere(elsewhere, function) == ["Ada"]
    with atomic():
        for act in (rename_unseen, invalidates) if first == "write" else (invalidates, rename_unseen):
            act()
            Author.objects.count()
            # Stored again, from before the COMMIT.
            assert asked_elsewhere(elsewhere, function) == ["Ada"]

    assert asked_elsewhere(elsewhere, function) == ["Grace"]


def test_counts_for_the_primary_of_a_replica(ada, outside, elsewhere):
    known = connections["default"].settings_dict
    connections.settings["copy"] = {**known, "TEST": {**known["TEST"], "MIRROR": "default"}}
    try:
        for name, invalidates in (("Grace", lambda: invalidate(Author, using="copy")), ("Eve", declared)):
            elsewhere(followed)
            outside.execute("UPDATE testapp_author SET name = %s", [name])
            invalidates()
            assert elsewhere(followed) == [name]
    finally:
        del connections.settings["copy"]


def declared():
    with writes(Author, using="copy"):
        pass
