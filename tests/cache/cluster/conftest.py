"""The same tests on a cluster: three primaries, each with a replica, started when the first test needs them."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest
import redis
from django.test import override_settings

from dbopt.testing.services import valkey_cluster


@pytest.fixture(scope="session")
def whole_cluster():
    """A cluster that nobody harms."""
    with valkey_cluster.start() as cluster:
        yield cluster


@contextmanager
def on(cluster):
    """Have the project's cache there, as users of django-redis set it up."""
    default = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ",".join(cluster.urls),
        "KEY_PREFIX": f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}",
        "OPTIONS": {"REDIS_CLIENT_CLASS": "redis.cluster.RedisCluster"},
    }
    with override_settings(CACHES={"default": default}):
        yield


@pytest.fixture
def cluster(whole_cluster):
    return whole_cluster


@pytest.fixture
def valkey(cluster):
    """A client of the cluster, beside the one under test."""
    with on(cluster):
        client = redis.RedisCluster.from_url(cluster.urls[0])
        yield client
        client.close()
