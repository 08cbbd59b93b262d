"""Fixtures of the caches of GraphQL: those of the cache itself, and nothing learned before."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from dbopt.graphql.cache import operations, telling
from tests.cache.conftest import (  # noqa: F401  # fixtures
    _django_db_marker,
    commands,
    connect,
    empty_cache,
    queries,
    shop_database,
    threads,
    valkey,
)
from tests.graphql.cache.bookshop import CALLS


@pytest.fixture
def new_process():
    """Forget what this process has learned, as another one would not know it."""

    def forget():
        operations._operations.clear()
        # Schemas of earlier tests that look alike, and were not collected yet, would keep each other out.
        operations._keys.clear()
        operations._schemas.clear()
        telling._permissions._spec.forget()

    return forget


@pytest.fixture(autouse=True)
def nothing_learned(new_process):
    new_process()
    CALLS.clear()


@pytest.fixture
def people(shop_database):  # noqa: F811  # the fixture
    yield [User.objects.create_user(name) for name in ("ann", "bob")]
    with connect() as cleaner:
        cleaner.execute("TRUNCATE auth_user, auth_group CASCADE")
