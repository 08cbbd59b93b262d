"""What only a cluster does: slots on several nodes, which move, and nodes that are replaced."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis
from django.conf import settings
from django.test import override_settings

from dbopt.cache import cached_query, statistics
from dbopt.cache.server import servers
from dbopt.cache.server.exchange import CacheServer
from dbopt.conf import dbopt_settings
from dbopt.tenancy import tenant_context
from dbopt.testing.services import valkey_cluster
from tests.cache import shop
from tests.cache.cluster.conftest import on
from tests.cache.conftest import wait_until
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

# Where the tokens of tables lie.
SHARED = "{_}"

# Several time limits, each of a fifth of a second, and slack for a busy machine.
PATIENCE = 4.0


@cached_query(timeout=300, local=True)
def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@pytest.fixture(autouse=True)
def new_process():
    names._spec.forget()


@pytest.fixture
def fragile(monkeypatch):
    """A cluster of the test's own, which it may harm; the breaker gives nodes no rest."""
    with valkey_cluster.start() as cluster, on(cluster):
        dbopt = {**settings.DBOPT, "CACHE": {"BREAKER_SECONDS": 0.1}}
        with override_settings(DBOPT=dbopt):
            yield Harmed(cluster)
            servers.forget()


class Harmed:
    """The node of shared tags, its replica, and what may happen to them."""

    def __init__(self, cluster):
        self.cluster = cluster
        with redis.RedisCluster.from_url(cluster.urls[0]) as client:
            nodes = client.nodes_manager.slots_cache[client.keyslot(SHARED)]
            self.primary, self.replica = (redis.Redis(port=node.port, socket_timeout=5) for node in nodes)
            self._pids = [cluster.pid(node.port) for node in nodes]

    def kill_primary(self):
        os.kill(self._pids[0], signal.SIGKILL)

    def freeze_primary(self):
        os.kill(self._pids[0], signal.SIGSTOP)

    def thaw_primary(self):
        os.kill(self._pids[0], signal.SIGCONT)

    def freeze_replica(self):
        """It also gets nothing of what the primary is told from now on."""
        os.kill(self._pids[1], signal.SIGSTOP)
        self.primary.client_kill_filter(_type="replica")

    def thaw_replica(self):
        os.kill(self._pids[1], signal.SIGCONT)

    def wait_for_failover(self):
        wait_until(lambda: self.replica.role()[0] == b"master", what="a new primary")


@pytest.fixture
def ada(valkey):
    return Author.objects.create(name="Ada", email="ada@example.org")


def timed(function, *args):
    started = time.monotonic()
    result = function(*args)
    assert time.monotonic() - started < PATIENCE
    return result


def hit(function, outcomes):
    before = outcomes(function)["hits"]
    function()
    return outcomes(function)["hits"] > before


def test_keys_of_a_tenant_and_shared_ones_are_asked_for_at_once(ada, commands, valkey):
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "tests.testapp.tenants.of_request"}}):
        with tenant_context(7):
            shop.names()
            with commands() as sent:
                assert shop.names() == ["Ada"]

        slots = {valkey.keyslot(key) for key in valkey.scan_iter()}

    assert sent == [["MGET", "MGET"]]
    assert slots == {valkey.keyslot("{7}"), valkey.keyslot("{_}")}


def test_cluster_is_one_when_the_setting_says_so(ada, cluster, outcomes):
    default = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": list(cluster.urls)}
    dbopt = {**settings.DBOPT, "CACHE": {"CLUSTER": True}}
    with override_settings(CACHES={"default": default}, DBOPT=dbopt):
        assert shop.names() == shop.names() == ["Ada"]

    assert outcomes(shop.names)["hits"] == 1


def test_cluster_that_nobody_calls_one_answers_nothing(ada, cluster, outcomes):
    """At least some keys lie elsewhere: no key is used."""
    elsewhere = next(url for url in cluster.urls[:3] if not url.endswith(str(port_of(cluster, SHARED))))
    with override_settings(CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": elsewhere}}):
        assert shop.names() == shop.names() == ["Ada"]

        assert set(servers.known_faults()) == {"MovedError"}
    assert outcomes(shop.names)["hits"] == 0


def port_of(cluster, key):
    with redis.RedisCluster.from_url(cluster.urls[0]) as client:
        return client.get_node_from_key(key).port


def test_cluster_out_of_reach_is_an_outage(ada, outcomes):
    default = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://127.0.0.1:1,redis://127.0.0.1:2",
        "OPTIONS": {"REDIS_CLIENT_CLASS": "redis.cluster.RedisCluster"},
    }
    with override_settings(CACHES={"default": default}):
        assert timed(shop.names) == ["Ada"]

        Author.objects.update(name="Grace")

        assert timed(shop.names) == ["Grace"]
        assert statistics()["debt"] > 0


def test_script_finds_the_node_that_does_not_know_it(ada, valkey, outcomes):
    valkey.script_flush()

    assert hit(shop.names, outcomes) or hit(shop.names, outcomes)


@pytest.mark.long
def test_slot_on_the_move_and_moved_costs_misses_only(fragile, outcomes, elsewhere):
    Author.objects.create(name="Ada", email="ada@example.org")
    assert shop.names() == shop.names() == ["Ada"]
    source, target = fragile.primary, other_primary(fragile)
    with redis.RedisCluster.from_url(fragile.cluster.urls[0]) as client:
        slot = client.keyslot(SHARED)
    ids = [node.execute_command("CLUSTER MYID").decode() for node in (source, target)]
    target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
    source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
    keys = source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
    port = target.connection_pool.connection_kwargs["port"]
    for key in keys[: len(keys) // 2]:
        source.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)

    for name in ("Grace", "Hedy"):
        Author.objects.update(name=name)
        assert elsewhere(shop.names) == [name]
    for key in source.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
        source.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 5000)
    for node in (target, source):
        node.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])

    wait_until(lambda: statistics()["debt"] == 0 and hit(shop.names, outcomes), what="a hit at the new place")
    assert shop.names() == ["Hedy"]
    Author.objects.update(name="Ida")
    assert elsewhere(shop.names) == ["Ida"]


def other_primary(fragile):
    own = fragile.primary.connection_pool.connection_kwargs["port"]
    return redis.Redis(port=next(port for port in fragile.cluster.ports[:3] if port != own))


def test_killed_primary_costs_misses_only(fragile, outcomes, elsewhere):
    Author.objects.create(name="Ada", email="ada@example.org")
    assert shop.names() == shop.names() == ["Ada"]

    fragile.kill_primary()
    Author.objects.update(name="Grace")
    assert timed(shop.names) == ["Grace"]
    assert timed(elsewhere, shop.names) == ["Grace"]
    fragile.wait_for_failover()

    wait_until(lambda: statistics()["debt"] == 0 and hit(shop.names, outcomes), what="a hit at the new primary")
    assert elsewhere(shop.names) == ["Grace"]
    Author.objects.update(name="Hedy")
    assert elsewhere(shop.names) == ["Hedy"]


@pytest.mark.long
def test_renewal_that_died_with_the_primary_is_made_up_for(fragile, outcomes, elsewhere, outside):
    """The replica never got it. Another process has to notice that, one that wrote nothing."""
    Author.objects.create(name="Ada", email="ada@example.org")
    assert shop.names() == shop.names() == ["Ada"]
    wait_until(lambda: in_step(fragile), what="a replica in step")
    fragile.freeze_replica()
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    writer = CacheServer(dbopt_settings.cache)
    assert writer.renew(["{_}:T:default.testapp_author", "{_}:B:default.testapp_author"])
    assert shop.names() == ["Grace"]
    shop.names._spec.forget()

    fragile.kill_primary()
    fragile.thaw_replica()
    fragile.wait_for_failover()

    wait_until(lambda: hit(shop.names, outcomes), what="a hit at the new primary")
    assert shop.names() == ["Grace"]
    writer.close()


def in_step(fragile):
    offset = fragile.primary.info("replication")["master_repl_offset"]
    return fragile.replica.info("replication")["slave_repl_offset"] == offset


@pytest.mark.long
def test_frozen_primary_holds_nobody_up(fragile, elsewhere):
    Author.objects.create(name="Ada", email="ada@example.org")
    assert shop.names() == shop.names() == ["Ada"]

    fragile.freeze_primary()

    for name in ("Grace", "Hedy"):
        timed(lambda name=name: Author.objects.update(name=name))
        assert timed(shop.names) == [name]
    fragile.thaw_primary()
    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Hedy"]


def test_local_copy_is_told_by_every_primary(ada, commands, outside, valkey, outcomes):
    warm(commands, outcomes)
    other = CacheServer(dbopt_settings.cache)
    trackers = servers.server()._local._trackers
    assert set(trackers) == {node.name for node in valkey.get_primaries()}

    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    other.renew(["{_}:T:default.testapp_author"])

    wait_until(lambda: names() == ["Grace"], what="the new name")
    other.close()


@pytest.mark.long
def test_local_copy_outlives_no_primary(fragile, commands, outcomes):
    Author.objects.create(name="Ada", email="ada@example.org")
    warm(commands, outcomes)
    before = set(servers.server()._local._trackers)

    fragile.kill_primary()
    Author.objects.update(name="Grace")
    assert timed(names) == ["Grace"]
    fragile.wait_for_failover()

    warm(commands, outcomes)
    assert set(servers.server()._local._trackers) != before
    Author.objects.update(name="Hedy")
    assert names() == ["Hedy"]


def warm(commands, outcomes):
    def asks_nobody():
        with commands() as sent:
            return hit(names, outcomes) and sent == []

    wait_until(asks_nobody, what="a hit of the local copy")
