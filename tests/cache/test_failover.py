"""A server that takes another's place may not know what the other was told: no value of the past comes back with it."""

from __future__ import annotations

import threading

import pytest
from django.conf import settings
from django.test import override_settings

from dbopt.cache import statistics
from dbopt.cache.server import servers
from dbopt.cache.server.exchange import CacheServer
from dbopt.conf import dbopt_settings
from tests.cache import shop
from tests.cache.conftest import wait_until
from tests.cache.valkeys import OwnValkey, Proxy
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

EPOCH = "dbopt:g:{_}:E"
TAG = "{_}:T:default.testapp_author"


@pytest.fixture
def valkeys(tmp_path):
    """Two servers."""
    pair = [
        OwnValkey(folder, "--repl-diskless-sync-delay", "0") for folder in (tmp_path / "first", tmp_path / "second")
    ]
    for server in pair:
        server._folder.mkdir()
        server.start()
    yield pair
    for server in pair:
        server.close()


@pytest.fixture
def address(valkeys):
    """The address that the project knows; it leads to the first server."""
    proxy = Proxy(valkeys[0].port)
    with use(proxy.url):
        yield proxy
    proxy.close()


def use(url):
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    return override_settings(CACHES=caches, DBOPT={**settings.DBOPT, "CACHE": {"BREAKER_SECONDS": 0.1}})


@pytest.fixture
def ada(address):
    return Author.objects.create(name="Ada", email="ada@example.org")


def replicate(primary, replica):
    """Make the second server a copy of the first, and wait until it is one."""
    replica.client.replicaof("127.0.0.1", primary.port)
    wait_until(lambda: in_step(primary, replica), what="a replica in step")


def in_step(primary, replica):
    facts = replica.client.info("replication")
    offset = primary.client.info("replication")["master_repl_offset"]
    return facts.get("master_link_status") == "up" and facts.get("slave_repl_offset") == offset


def promote(replica):
    replica.client.replicaof("NO", "ONE")


def renewals_of(server, action):
    """Return how often everything was renewed on a server during an action."""
    before = server.client.info("commandstats").get("cmdstat_set", {"calls": 0})["calls"]
    action()
    return server.client.info("commandstats").get("cmdstat_set", {"calls": 0})["calls"] - before


def test_renewal_that_the_new_primary_never_got_is_made_up_for(ada, valkeys, address, elsewhere):
    first, second = valkeys
    assert shop.names() == shop.names() == ["Ada"]
    replicate(first, second)
    promote(second)
    Author.objects.update(name="Grace")

    address.lead_to(second.port)

    assert elsewhere(shop.names) == ["Grace"]
    assert statistics()["debt"] == 0


def test_reader_that_wrote_nothing_notices_too(ada, valkeys, address, outside, elsewhere):
    first, second = valkeys
    assert shop.names() == shop.names() == ["Ada"]
    replicate(first, second)
    promote(second)
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    first.client.set(f"dbopt:g:{TAG}", "the token of another process")

    address.lead_to(second.port)

    assert shop.names() == ["Grace"]


def test_restart_from_an_old_file_revives_no_value(ada, valkeys, address, elsewhere, outcomes):
    first, _ = valkeys
    assert shop.names() == shop.names() == ["Ada"]
    first.client.save()
    Author.objects.update(name="Grace")
    assert elsewhere(shop.names) == ["Grace"]

    first.kill()
    first.start()

    assert elsewhere(shop.names) == ["Grace"]
    assert outcomes(shop.names)["errors"] == 0


def test_many_processes_renew_everything_once(ada, valkeys, address):
    first, second = valkeys
    replicate(first, second)
    many = [CacheServer(dbopt_settings.cache) for _ in range(8)]
    for server in many:
        server.look("dbopt:v:{_}:x", [TAG])
    promote(second)
    address.lead_to(second.port)
    barrier = threading.Barrier(len(many))

    def look(server):
        barrier.wait(20)
        return server.look("dbopt:v:{_}:x", [TAG])

    def all_at_once():
        readers = [threading.Thread(target=look, args=(server,)) for server in many]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(20)

    assert renewals_of(second, all_at_once) == 1
    assert renewals_of(second, lambda: CacheServer(dbopt_settings.cache).look("dbopt:v:{_}:x", [TAG])) == 0


def test_process_that_renewed_at_the_old_primary_after_the_failover_renews_again(valkeys):
    first, second = valkeys
    replicate(first, second)
    roads = [Proxy(first.port) for _ in range(3)]
    early, late, idle = processes = [on(road) for road in roads]
    for process in (late, idle, early):
        process.renew([TAG])
    promote(second)

    roads[0].lead_to(second.port)
    assert renewals_of(second, lambda: early.peek([TAG])) == 1
    seen = second.client.get(EPOCH)
    late.renew([TAG])
    roads[1].lead_to(second.port)
    assert renewals_of(second, lambda: late.peek([TAG])) == 1
    roads[2].lead_to(second.port)
    assert renewals_of(second, lambda: idle.peek([TAG])) == 0

    assert second.client.get(EPOCH) != seen
    for process, road in zip(processes, roads, strict=True):
        process.close()
        road.close()


def on(proxy):
    with use(proxy.url):
        return CacheServer(dbopt_settings.cache)


def test_address_that_leads_back_is_noticed(ada, valkeys, address, elsewhere):
    """The first primary was never told that it is none any more; it has the values of the past, and their tokens."""
    first, second = valkeys
    replicate(first, second)
    # Its history has a new name since it has a replica.
    first.client.client_kill_filter(_type="normal", skipme=True)
    assert shop.names() == shop.names() == ["Ada"]
    wait_until(lambda: in_step(first, second), what="a replica in step")
    promote(second)
    address.lead_to(second.port)
    Author.objects.update(name="Grace")
    assert elsewhere(shop.names) == ["Grace"]

    address.lead_to(first.port)

    assert elsewhere(shop.names) == ["Grace"]


def test_replica_is_not_asked(ada, valkeys, address, outcomes):
    first, second = valkeys
    assert shop.names() == shop.names() == ["Ada"]
    replicate(first, second)

    address.lead_to(second.port)

    assert shop.names() == ["Ada"]
    assert outcomes(shop.names)["hits"] == 1
    assert set(servers.known_faults()) == {"ReadOnlyError"}


def test_primary_made_a_replica_refuses_and_is_used_again_as_a_primary(ada, valkeys, address, elsewhere):
    first, second = valkeys
    assert shop.names() == shop.names() == ["Ada"]
    replicate(second, first)

    Author.objects.update(name="Grace")
    assert statistics()["debt"] == 2
    assert elsewhere(shop.names) == ["Grace"]
    promote(first)

    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    Author.objects.update(name="Hedy")
    assert elsewhere(shop.names) == ["Hedy"]
    assert servers.known_faults()["ReadOnlyError"] > 0


def test_server_that_does_not_tell_who_it_is_is_used(valkeys, outcomes):
    first, _ = valkeys
    first.client.acl_setuser("shy", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-info"])
    with use(f"redis://shy:secret@127.0.0.1:{first.port}/0"):
        assert shop.names() == shop.names() == []

    assert outcomes(shop.names)["hits"] == 1


def test_idle_connection_that_was_closed_is_replaced_at_once(ada, valkeys, outcomes):
    shop.names()
    valkeys[0].client.client_kill_filter(_type="normal", skipme=True)

    assert shop.names() == ["Ada"]

    assert (outcomes(shop.names)["hits"], outcomes(shop.names)["errors"]) == (1, 0)


def test_every_identity_is_one_key(valkeys, address):
    first, _ = valkeys
    for _ in range(3):
        CacheServer(dbopt_settings.cache).renew([TAG])

    assert sorted(first.client.keys()) == [EPOCH.encode(), b"dbopt:s:{_}:servers"]
    assert first.client.hlen("dbopt:s:{_}:servers") == 1
