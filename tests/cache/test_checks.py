"""System checks of the cache, on its real server where they ask one."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from dbopt.cache.checks import check_cache, check_cache_deployment, check_cache_server
from dbopt.pagination import declarations
from tests.cache.valkeys import OwnValkey

REDIS = "django_redis.cache.RedisCache"
MEMORY = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def ids(check, databases=None, **changed):
    with override_settings(**changed):
        return [message.id for message in check(None, databases=databases)]


def caches(location="redis://127.0.0.1:1/0", **more):
    return {"default": {"BACKEND": REDIS, "LOCATION": location, **more}}


def test_the_settings_of_the_suite_are_fine(monkeypatch):
    # Orders of lists that other tests made up need no index.
    monkeypatch.setattr(declarations, "_declared", {})
    assert [message for message in run_checks() if message.id.startswith("dbopt")] == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"CACHES": caches()}, []),
        ({"CACHES": MEMORY}, []),
        ({"CACHES": MEMORY, "DBOPT": {"CACHE": {"TIMEOUT": 5}}}, ["dbopt.E201"]),
        ({"CACHES": MEMORY, "SESSION_ENGINE": "dbopt.cache.sessions"}, ["dbopt.E201"]),
        ({"CACHES": caches(), "DBOPT": {"CACHE": {"ALIAS": "other"}}}, ["dbopt.E201"]),
        ({"CACHES": caches(OPTIONS={"CONNECTION_POOL_KWARGS": {"decode_responses": True}})}, ["dbopt.W202"]),
        ({"CACHES": caches(), "DBOPT": {"CACHE": {"SOCKET_TIMEOUT": 5}}}, ["dbopt.W203"]),
        ({"CACHES": caches(), "DBOPT": {"CACHE": {"NOPE": 5}}}, []),
    ],
)
def test_settings(changed, expected):
    assert ids(check_cache, **changed) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"CACHES": caches()}, ["dbopt.W204"]),
        ({"CACHES": caches(KEY_PREFIX="shop")}, []),
        ({"CACHES": caches(), "DBOPT": {"CACHE": {"PREFIX": "shop"}}}, []),
        ({"CACHES": MEMORY}, []),
    ],
)
def test_prefix_of_a_deployment(changed, expected):
    assert ids(check_cache_deployment, **changed) == expected


def test_server_is_asked_only_with_databases():
    assert ids(check_cache_server, CACHES=caches()) == []
    assert ids(check_cache_server, ["default"], CACHES=caches()) == ["dbopt.W205"]
    assert ids(check_cache_server, ["default"], CACHES=MEMORY) == []


@pytest.fixture
def own(tmp_path):
    valkey = OwnValkey(tmp_path)
    valkey.start()
    yield valkey
    valkey.close()


def test_policy_of_the_server(own):
    changed = {"CACHES": caches(own.url)}
    sessions = {**changed, "SESSION_ENGINE": "dbopt.cache.sessions"}
    assert ids(check_cache_server, ["default"], **changed) == ["dbopt.W206"]

    own.client.config_set("maxmemory", "100mb")
    assert ids(check_cache_server, ["default"], **changed) == ["dbopt.W207"]

    own.client.config_set("maxmemory-policy", "allkeys-lru")
    assert ids(check_cache_server, ["default"], **changed) == []
    assert ids(check_cache_server, ["default"], **sessions) == ["dbopt.W208"]
    behind = {"CACHE": {"SESSION_WRITE_BEHIND": 1}}
    assert ids(check_cache_server, ["default"], **sessions, DBOPT=behind) == []
