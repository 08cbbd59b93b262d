"""Sessions on a Redis Cluster: those of a user lie on several nodes, and their list on yet another."""

from __future__ import annotations

import pytest
import redis
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.test import override_settings

from dbopt.cache.sessions import SessionStore, revoke, sessions_of
from dbopt.cache.sessions import records as session_records
from tests.cache.visits import _sessions, again, dbopt_with, of_user, stored, user  # noqa: F401 - a fixture

valkey_cluster = pytest.importorskip("dbopt.testing.services.valkey_cluster")


@pytest.fixture(scope="module")
def cluster():
    with valkey_cluster.start() as running:
        yield running


@pytest.fixture(autouse=True)
def _on_cluster(cluster, _sessions):  # noqa: F811 - the fixture
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": cluster.urls[0]}}
    with override_settings(CACHES=caches, DBOPT=dbopt_with(CLUSTER=True)):
        yield
        session_records.forget()


def test_keys_of_a_user_lie_on_several_nodes_and_are_found(cluster):
    sessions = [of_user(7) for _ in range(20)]

    assert len(sessions_of(user(7))) == 20
    client = redis.RedisCluster.from_url(cluster.urls[0])
    nodes = {client.get_node_from_key(key).port for key in client.keys("*:session:*", target_nodes="primaries")}
    client.close()
    assert len(nodes) == 3

    assert revoke(user(7), keep=sessions[0]) == 19
    assert [found.session_key for found in sessions_of(user(7))] == [sessions[0].session_key]


def test_changes_are_merged_and_ends_are_final():
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()
    second["c"] = 3
    second.save()
    assert dict(again(first).items()) == {"a": 1, "b": 2, "c": 3}

    second.flush()
    with pytest.raises(UpdateError):
        first.save()


def test_new_key_lies_elsewhere_and_the_old_one_ends():
    for _ in range(5):
        session = of_user(8, a=1)
        slow = again(session)
        session.cycle_key()
        assert again(session)["a"] == 1
        with pytest.raises(SessionInterrupted):
            slow.cycle_key()
        assert SessionStore(slow.session_key).load() == {}
    assert len(sessions_of(user(8))) == 5
