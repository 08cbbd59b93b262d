"""Without the cache server every answer comes from the database, no write is slow, and no renewal is lost."""

from __future__ import annotations

import logging
import time

import pytest
import redis
from django.conf import settings
from django.test import override_settings

from dbopt.cache import invalidate, statistics
from dbopt.cache.server import servers
from dbopt.cache.server.clients import build_client
from dbopt.conf import dbopt_settings
from tests.cache import shop
from tests.cache.conftest import wait_until
from tests.cache.valkeys import OwnValkey
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

# So long may one call take: two time limits of a socket, and slack for a busy machine.
PATIENCE = 2.0


@pytest.fixture
def own_valkey(tmp_path):
    server = OwnValkey(tmp_path)
    server.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    # The breaker waits for the tests: they tell it when to try again.
    dbopt = {**settings.DBOPT, "CACHE": {"BREAKER_FAILURES": 2, "BREAKER_SECONDS": 0.3}}
    with override_settings(CACHES=caches, DBOPT=dbopt):
        yield server
        servers.forget()
    server.close()


@pytest.fixture
def ada(own_valkey):
    return Author.objects.create(name="Ada", email="ada@example.org")


OUTAGES = {"killed": (OwnValkey.kill, OwnValkey.start), "frozen": (OwnValkey.freeze, OwnValkey.thaw)}


@pytest.fixture(params=OUTAGES)
def outage(request, own_valkey):
    stop, again = OUTAGES[request.param]
    yield lambda: stop(own_valkey), lambda: again(own_valkey)
    own_valkey.kill()


def timed(function, *args):
    started = time.monotonic()
    result = function(*args)
    assert time.monotonic() - started < PATIENCE
    return result


def test_r8_write_during_an_outage_is_seen_after_it(ada, outage, elsewhere):
    stop, again = outage
    assert shop.names() == ["Ada"]
    stop()

    ada.name = "Grace"
    timed(ada.save)

    assert timed(shop.names) == ["Grace"]
    again()
    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Grace"]
    assert shop.names() == ["Grace"]


def test_debt_is_paid_by_a_process_that_reads_nothing_more(ada, own_valkey):
    shop.names()
    key = f"{servers.server().namespace}:g:{{_}}:T:default.testapp_author"
    before = own_valkey.client.get(key)
    own_valkey.freeze()
    Author.objects.update(name="Grace")
    # The table and its rows.
    assert statistics()["debt"] == 2

    own_valkey.thaw()

    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert own_valkey.client.get(key) not in (before, None)


def test_outage_is_counted_and_logged_once(ada, own_valkey, outcomes, caplog):
    own_valkey.kill()

    with caplog.at_level(logging.WARNING, logger="dbopt.cache"):
        for _ in range(10):
            assert timed(shop.names) == ["Ada"]

    assert outcomes(shop.names)["errors"] == 10
    assert [record.getMessage() for record in caplog.records] == [
        "Cache 'default' failed (ConnectionError); answers come from the database until it is back."
    ]


def test_open_breaker_asks_nobody(ada, own_valkey, commands):
    own_valkey.kill()
    shop.names()
    shop.names()

    started = time.monotonic()
    with commands() as sent:
        while time.monotonic() - started < 0.2:
            assert shop.names() == ["Ada"]

    assert sent == []


def test_server_that_is_back_is_used_again(ada, own_valkey, outcomes):
    own_valkey.kill()
    shop.names()
    shop.names()
    own_valkey.start()

    def hit():
        shop.names()
        return outcomes(shop.names)["hits"] > 0

    wait_until(hit, what="a hit after the outage")


def test_outage_between_look_and_store_is_no_error(ada, own_valkey, outcomes, gate, threads):
    reader = threads(shop.names_slowly)
    gate.wait_for_visitor()
    own_valkey.kill()
    gate.open()

    assert reader.result(20) == ["Ada"]
    assert outcomes(shop.names_slowly)["refused"] == {"unreachable": 1}


def test_too_many_debts_become_one_for_everything(ada, own_valkey):
    from dbopt.cache.names.tokens import EPOCH
    from dbopt.cache.server.debt import Debt

    debt = Debt(3)
    debt.owe(["a", "b", "c"])
    assert len(debt) == 3

    debt.owe(["d"])

    assert set(debt.owed()) == {EPOCH}


def test_debt_that_grew_while_it_was_paid_is_kept():
    from dbopt.cache.server.debt import Debt

    debt = Debt(10)
    debt.owe(["a", "b"])
    paid = debt.owed()
    debt.owe(["a"])

    debt.settle(paid)

    assert set(debt.owed()) == {"a"}


def test_invalidation_by_hand_tells_that_it_is_only_owed(ada, own_valkey):
    own_valkey.kill()

    assert invalidate(Author) is False
    assert statistics()["debt"] == 2


def test_invalidated_entry_is_owed_as_the_whole_function(ada, own_valkey, elsewhere, outside):
    shop.names()
    own_valkey.freeze()
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    assert shop.names.invalidate() is False

    own_valkey.thaw()
    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Grace"]


@pytest.mark.parametrize("command", ["READONLY", "OOM"])
def test_server_that_refuses_writes_is_an_outage(ada, own_valkey, command, elsewhere):
    if command == "OOM":
        own_valkey.client.config_set("maxmemory", 1)
    else:
        own_valkey.client.config_set("min-replicas-to-write", 1)

    assert timed(shop.names) == ["Ada"]
    ada.name = "Grace"
    timed(ada.save)
    assert timed(shop.names) == ["Grace"]

    own_valkey.client.config_set("maxmemory", 0)
    own_valkey.client.config_set("min-replicas-to-write", 0)
    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Grace"]


def test_time_limits_are_those_of_the_settings_and_the_alias_keeps_its_own(own_valkey):
    from django.core.cache import cache

    kwargs = build_client(dbopt_settings.cache).connection_pool.connection_kwargs

    assert (kwargs["socket_connect_timeout"], kwargs["socket_timeout"]) == (0.1, 0.2)
    assert kwargs["retry"].get_retries() == 0
    assert "socket_timeout" not in cache.client.get_client().connection_pool.connection_kwargs


def test_refusals_are_logged_once_though_reads_go_on(ada, own_valkey, outcomes, caplog):
    shop.names()
    own_valkey.client.config_set("maxmemory", 1)

    with caplog.at_level(logging.WARNING, logger="dbopt.cache"):
        for name in ("Ada", "Bell", "Curie"):
            assert shop.names() == ["Ada"]
            assert shop.titles_of(name) == []
        own_valkey.client.config_set("maxmemory", 0)
        shop.titles_of("Daubechies")

    assert outcomes(shop.names)["hits"] == 3
    assert servers.known_faults() == {"OutOfMemoryError": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "Cache 'default' failed (OutOfMemoryError); answers come from the database until it is back.",
        "Cache 'default' answers again.",
    ]


def test_server_that_is_busy_with_a_script_is_an_outage(ada, own_valkey, threads, elsewhere):
    assert shop.names() == ["Ada"]
    own_valkey.client.config_set("busy-reply-threshold", 10)
    script = threads(own_valkey.client.eval, "while true do end", 0)
    wait_until(lambda: not own_valkey.answers(), what="a server that says BUSY")

    ada.name = "Grace"
    timed(ada.save)
    assert timed(shop.names) == ["Grace"]
    # The table and its row.
    assert statistics()["debt"] == 2
    own_valkey.client.script_kill()

    with pytest.raises(redis.ResponseError, match="killed"):
        script.result(20)
    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Grace"]


def test_server_that_loads_its_file_is_an_outage(ada, own_valkey, elsewhere):
    assert shop.names() == ["Ada"]
    own_valkey.client.eval("for i = 1, 5000 do redis.call('SET', 'filler' .. i, string.rep('x', 100)) end", 0)
    own_valkey.client.save()
    own_valkey.kill()
    own_valkey.begin("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    wait_until(own_valkey.loads, what="a server that says LOADING")

    ada.name = "Grace"
    timed(ada.save)
    assert timed(shop.names) == ["Grace"]
    assert "BusyLoadingError" in servers.known_faults()
    own_valkey.client.config_set("key-load-delay", 0)

    wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
    assert elsewhere(shop.names) == ["Grace"]


def test_renewal_whose_answer_came_too_late_is_made_again(ada, own_valkey, elsewhere):
    """The server took it: nobody knows."""
    shop.names()
    key = f"{servers.server().namespace}:g:{{_}}:T:default.testapp_author"
    before = own_valkey.client.get(key)
    own_valkey.freeze()
    Author.objects.update(name="Grace")
    assert statistics()["debt"] == 2

    own_valkey.thaw()
    wait_until(lambda: own_valkey.client.get(key) != before, what="the renewal that was under way")

    assert elsewhere(shop.names) == ["Grace"]
    assert statistics()["debt"] == 0


def test_answer_that_came_too_late_is_not_taken_for_another(ada, own_valkey):
    server = servers.server()
    own_valkey.client.mset({"dbopt:v:{_}:a": "of a", "dbopt:v:{_}:b": "of b"})
    assert server.look("dbopt:v:{_}:a", []).data == b"of a"
    own_valkey.freeze()
    assert server.look("dbopt:v:{_}:a", []) is None
    own_valkey.thaw()

    assert server.look("dbopt:v:{_}:b", []).data == b"of b"


def test_thread_that_is_interrupted_leaves_no_answer_behind(own_valkey, monkeypatch):
    server = servers.server()
    own_valkey.client.mset({"dbopt:v:{_}:a": "of a", "dbopt:v:{_}:b": "of b"})
    server.look("dbopt:v:{_}:a", [])

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.Connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.look("dbopt:v:{_}:a", [])

    assert server.look("dbopt:v:{_}:b", []).data == b"of b"


def test_forgotten_script_is_sent_again(ada, own_valkey, outcomes):
    shop.names()
    own_valkey.client.script_flush()
    own_valkey.client.delete(*own_valkey.client.scan_iter("*:v:*"))

    shop.names()
    shop.names()

    assert outcomes(shop.names)["hits"] == 1
