"""A copy in the process answers without asking anybody, and is never older than it says."""

from __future__ import annotations

import logging
import os
import threading
import time
import tracemalloc
from contextlib import contextmanager, suppress

import pytest
import redis
from django.conf import settings
from django.db.models.signals import post_init
from django.test import override_settings

from dbopt.cache import cached_query, statistics
from dbopt.cache.server import local, servers, trackers
from dbopt.cache.server.exchange import CacheServer, Look
from dbopt.conf import dbopt_settings
from tests.cache.conftest import DEADLINE, connected, wait_until
from tests.cache.valkeys import OwnValkey, Proxy
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

TAG = "{_}:T:default.testapp_author"


@cached_query(timeout=300, local=True)
def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, local=True, level="strict")
def names_strictly():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, local=True)
def authors():
    return Author.objects.order_by("name")


@cached_query(timeout=300, local=True)
def data_of_books():
    return list(Book.objects.values_list("data", flat=True))


@cached_query(timeout=300)
def shout():
    return [name.upper() for name in names()]


@pytest.fixture(scope="module")
def quiet_valkey(tmp_path_factory):
    """A server that no other worker flushes: each flush is told to all who listen, whatever their database."""
    server = OwnValkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def valkey(quiet_valkey):
    default = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": quiet_valkey.url}
    with override_settings(CACHES={"default": default}):
        yield quiet_valkey.client


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Nothing is known, and items do not grow old by themselves: what ends them is what they are told."""
    names._spec.forget()
    monkeypatch.setattr(local, "LOCAL_SECONDS", 3600.0)


@pytest.fixture
def ada():
    return Author.objects.create(name="Ada", email="ada@example.org")


@pytest.fixture
def other():
    """Another process."""
    process = CacheServer(dbopt_settings.cache)
    yield process
    process.close()


@pytest.fixture
def own_valkey(tmp_path):
    server = OwnValkey(tmp_path)
    server.start()
    with use(server.url):
        yield server
    server.close()


@pytest.fixture
def proxy(own_valkey):
    """A road to a server of its own that may be blocked."""
    road = Proxy(own_valkey.port)
    with use(road.url):
        yield road
    road.close()


@contextmanager
def use(url, **cache):
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}
    with override_settings(CACHES=caches, DBOPT={**settings.DBOPT, "CACHE": {"BREAKER_SECONDS": 0.1, **cache}}):
        yield
        servers.forget()


def warm(function, commands):
    """Call a function until it asks nobody."""

    def asks_nobody():
        with commands() as sent:
            function()
        return sent == []

    wait_until(asks_nobody, what="a hit of the local copy")


def begin_anew():
    """Forget the value, whose tokens stay; return its key."""
    (key,) = [name for name in held() if ":v:" in name]
    servers.server()._local.drop([key])
    return key


def hear_all():
    """Wait until everything was read that the server told up to now."""
    (tracker,) = servers.server()._local._trackers.values()
    now = time.monotonic()
    wait_until(lambda: tracker._complete_to > now, what="an answer to a PING")


def held():
    return servers.server()._local._held


def token_key():
    return f"{servers.server().namespace}:g:{TAG}"


def value_key(name="1"):
    return f"{servers.server().namespace}:v:{{_}}:x:{name}"


def tracking(client):
    return [found["id"] for found in connected(client) if "t" in found["flags"]]


def test_hit_of_the_copy_asks_nobody(ada, queries, commands, outcomes):
    warm(names, commands)
    before = outcomes(names)["hits"]

    with queries() as ran, commands() as sent:
        assert names() == ["Ada"]

    assert (ran, sent) == ([], [])
    assert outcomes(names)["hits"] == before + 1


def test_functions_that_do_not_ask_for_it_have_no_copy_and_no_thread(ada):
    from tests.cache import shop

    before = threading.active_count()
    for _ in range(3):
        shop.names()

    assert not held()
    assert threading.active_count() == before


def test_setting_gives_every_function_a_copy(ada, commands):
    from tests.cache import shop

    with override_settings(DBOPT={**settings.DBOPT, "CACHE": {"LOCAL": True}}):
        warm(shop.names, commands)


def test_strict_function_has_no_copy(ada, commands):
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": {"LEVEL": "strict"}}):
        for _ in range(3):
            assert names_strictly() == ["Ada"]
        with commands() as sent:
            assert names_strictly() == ["Ada"]

        assert sent == [["MGET"]]
        assert not held()


def test_write_of_another_process_is_told(ada, commands, outside, other):
    warm(names, commands)
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    other.renew([TAG])

    wait_until(lambda: names() == ["Grace"], what="the new name")


def test_own_write_is_seen_at_once(ada, commands, monkeypatch):
    """Also while the message about it is still under way."""
    warm(names, commands)
    monkeypatch.setattr(local.LocalCopy, "_told", lambda self, keys: None)
    servers.server()._local._trackers[None]._told = lambda keys: None

    Author.objects.update(name="Grace")

    assert names() == ["Grace"]


def test_renewal_between_fetch_and_keeping_leaves_nothing(ada, commands, monkeypatch, outside, other):
    warm(names, commands)
    server, fetch, heard = servers.server(), CacheServer._look, threading.Event()

    def fetch_then_hear(self, key, tags):
        look = fetch(self, key, tags)
        if self is server and not heard.is_set():
            outside.execute("UPDATE testapp_author SET name = 'Grace'")
            other.renew([TAG])
            wait_until(lambda: TAG not in held(), what="the message about the renewal")
            heard.set()
        return look

    server._local.drop([TAG])
    monkeypatch.setattr(CacheServer, "_look", fetch_then_hear)
    assert names() == ["Ada"]

    assert names() == ["Grace"]


def test_own_renewal_during_a_fetch_leaves_nothing(ada, commands, monkeypatch, threads):
    """The fetch read the old token and is about to keep it when the new one has been set."""
    warm(names, commands)
    server, fetch = servers.server(), CacheServer._look
    fetched, renewed = threading.Event(), threading.Event()

    def fetch_then_wait(self, key, tags):
        look = fetch(self, key, tags)
        if self is server and not renewed.is_set():
            fetched.set()
            assert renewed.wait(DEADLINE)
        return look

    monkeypatch.setattr(local.LocalCopy, "_told", lambda self, keys: None)
    server._local._trackers[None]._told = lambda keys: None
    server._local.drop([TAG])
    monkeypatch.setattr(CacheServer, "_look", fetch_then_wait)
    reader = threads(names)
    assert fetched.wait(DEADLINE)
    Author.objects.update(name="Grace")
    renewed.set()
    reader.result(DEADLINE)

    assert names() == ["Grace"]


def test_objects_of_a_hit_are_the_callers_own(ada, commands):
    """Also those of the hit that decodes what later ones copy."""
    warm(names, commands)
    begin_anew()

    for _ in range(3):
        names().append("Mallory")

    assert names() == ["Ada"]


def test_instances_of_a_hit_are_the_callers_own(ada, commands):
    warm(authors, commands)
    begin_anew()

    for _ in range(3):
        (found,) = authors()
        found.name = "Mallory"

    assert [found.name for found in authors()] == ["Ada"]


def decodings(monkeypatch, function):
    """Count how often a function's results are decoded."""
    seen, decode = [], function._spec.decode
    monkeypatch.setattr(function._spec, "decode", lambda payload: seen.append(1) or decode(payload))
    return seen


def test_result_is_decoded_once_for_all_hits(ada, commands, monkeypatch):
    warm(authors, commands)
    authors()
    seen = decodings(monkeypatch, authors)

    assert [authors() for _ in range(3)] == [[ada]] * 3
    assert seen == []


def test_result_with_changeable_parts_is_decoded_at_each_hit(ada, commands, monkeypatch):
    Book.objects.create(title="Notes", author=ada, data={"pages": [1]})
    warm(data_of_books, commands)
    data_of_books()
    seen = decodings(monkeypatch, data_of_books)

    for _ in range(3):
        (data,) = data_of_books()
        data["pages"].append(2)

    assert data_of_books() == [{"pages": [1]}]
    assert len(seen) == 4


def test_models_that_somebody_begins_to_watch_are_made_as_he_expects(ada, commands):
    warm(authors, commands)
    authors()
    seen = []

    def watch(*, instance, **_):
        seen.append(instance.name)

    post_init.connect(watch, sender=Author)
    try:
        assert authors() == [ada]
    finally:
        post_init.disconnect(watch, sender=Author)

    assert seen == ["Ada"]


def test_write_is_seen_after_many_hits(ada, commands, outside, other):
    for function in (names, authors):
        warm(function, commands)
        function()
        function()
    assert all(held()[key][0].ready is not None for key in held() if ":v:" in key)

    Author.objects.update(name="Grace")

    assert names() == ["Grace"]
    assert [found.name for found in authors()] == ["Grace"]


def test_function_around_depends_on_what_a_copied_hit_depends_on(ada, commands, queries, outcomes):
    warm(names, commands)
    names()
    assert shout() == ["ADA"]
    with queries() as ran:
        assert shout() == ["ADA"]
    assert (ran, outcomes(shout)["hits"]) == ([], 1)

    Author.objects.update(name="Grace")

    assert shout() == ["GRACE"]


def test_copy_is_checked_against_all_that_it_depends_on(ada, commands, outside, other):
    """Also for a caller that has not learned yet what that is."""
    warm(names, commands)
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    other.renew([TAG])
    wait_until(lambda: TAG not in held(), what="the message about the renewal")
    assert any(":v:" in name for name in held())

    names._spec.forget()

    assert names() == ["Grace"]


def test_caller_that_does_not_know_the_tables_keeps_no_copy(ada, commands):
    names()
    names._spec.forget()
    servers.server()._local._track()
    wait_until(lambda: servers.server()._local._is_told(time.monotonic()), what="the first answer to a PING")

    assert names() == ["Ada"]

    assert not any(":v:" in name for name in held())


def test_connection_that_ends_empties_the_copy_and_is_opened_again(ada, commands, valkey, outside):
    warm(names, commands)
    (number,) = tracking(valkey)
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    valkey.client_kill_filter(_id=number)
    wait_until(lambda: number not in tracking(valkey) and not held(), what="an empty copy")
    valkey.set(token_key(), "the token of a process that nobody heard of")

    assert names() == ["Grace"]
    warm(names, commands)


def test_connection_that_falls_silent_ends_the_copy(ada, proxy, own_valkey, commands, outside):
    warm(names, commands)
    hear_all()
    warm(names, commands)
    tracker = servers.server()._local._trackers[None]

    proxy.block()
    blocked_at = time.monotonic()
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    own_valkey.client.set(token_key(), "the token of another process")
    with commands() as sent:
        wait_until(lambda: names() == ["Grace"], what="the new name")

    assert sent == [["MGET"]]
    assert time.monotonic() - blocked_at < trackers.SILENCE_SECONDS + 1
    assert not tracker.is_told(time.monotonic())
    proxy.unblock()
    warm(names, commands)


def test_frozen_server_ends_the_copy(ada, own_valkey, commands, outside):
    warm(names, commands)

    own_valkey.freeze()
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    wait_until(lambda: names() == ["Grace"], what="the new name")
    own_valkey.thaw()


def test_debt_comes_before_the_copy(ada, own_valkey, commands, outside):
    warm(names, commands)
    own_valkey.freeze()
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    servers.server().debt.owe({"{_}:T:default.testapp_book"})

    assert names() == ["Grace"]
    own_valkey.thaw()


def test_write_during_an_outage_is_seen_by_its_writer(ada, own_valkey, commands):
    warm(names, commands)
    own_valkey.freeze()

    Author.objects.update(name="Grace")

    assert statistics()["debt"] > 0
    assert names() == ["Grace"]
    own_valkey.thaw()


def test_flushed_server_empties_the_copy(ada, commands, valkey):
    warm(names, commands)

    valkey.flushdb()

    wait_until(lambda: not held(), what="an empty copy")


def test_entry_removed_by_another_process_is_forgotten(ada, commands, other, outside):
    warm(names, commands)
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    (key,) = [name for name in held() if ":v:" in name]

    assert other.remove(key, fallback=TAG)

    wait_until(lambda: names() == ["Grace"], what="the new name")


def test_items_are_kept_for_a_few_seconds(ada, commands, monkeypatch):
    warm(names, commands)

    monkeypatch.setattr(local, "LOCAL_SECONDS", 0.0)
    with commands() as sent:
        assert names() == ["Ada"]

    assert sent == [["MGET"]]


def test_what_is_made_ready_is_as_old_as_what_it_was_made_of(ada, commands):
    warm(names, commands)
    key = begin_anew()
    names()
    (look, size, began) = held()[key]
    assert look.ready is None

    names()

    (grown, larger, since) = held()[key]
    assert (grown.data, grown.tokens, since) == (look.data, look.tokens, began)
    assert larger == size + grown.ready.mould.size
    assert servers.server()._local._bytes == sum(size for _, size, _ in held().values())


def test_server_that_is_not_asked_any_more_is_not_listened_to(tmp_path, ada, proxy, own_valkey, commands):
    """It still answers whoever is connected to it, and is not told of renewals any more."""
    second = OwnValkey(tmp_path / "second")
    (tmp_path / "second").mkdir()
    second.start()
    warm(names, commands)
    (number,) = tracking(own_valkey.client)

    proxy.lead_to(second.port, cut=False)
    for found in own_valkey.client.client_list():
        if found["id"] != number:
            with suppress(redis.ResponseError):
                own_valkey.client.client_kill_filter(_id=found["id"], skipme=True)
    servers.server()._local.drop([TAG])
    assert names() == ["Ada"]
    warm(names, commands)

    assert tracking(second.client)
    wait_until(lambda: not tracking(own_valkey.client), what="the end of the old connection")
    second.close()


def test_refused_tracking_is_logged_once(ada, own_valkey, caplog):
    own_valkey.client.acl_setuser(
        "plain", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-client|tracking"]
    )
    with (
        use(f"redis://plain:secret@127.0.0.1:{own_valkey.port}/0"),
        caplog.at_level(logging.WARNING, logger="dbopt.cache.server.trackers"),
    ):
        names()
        wait_until(lambda: caplog.records, what="a warning")
        assert names() == names() == ["Ada"]
        assert not held()

    assert len(caplog.records) == 1
    assert "refuses client tracking" in caplog.text


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_listens_for_itself(valkey):
    """Neither the parent's copy, of which nobody would tell the child, nor its thread."""
    server = servers.server()
    valkey.mset({value_key(): "value", token_key(): "token"})
    assert wait_for_copy(server).tokens == {TAG: b"token"}
    from_parent, to_child = os.pipe()
    from_child, to_parent = os.pipe()

    child = os.fork()
    if not child:
        code = 1
        try:
            own = servers.server()
            assert own is not server
            assert not own._local._held
            wait_for_copy(own)
            os.write(to_parent, b"1")
            os.read(from_parent, 1)
            wait_until(
                lambda: own.look(value_key(), [TAG], local=True).tokens[TAG] != b"token", what="the parent's renewal"
            )
            code = 0
        finally:
            os._exit(code)
    assert os.read(from_child, 1) == b"1"
    server.renew([TAG])
    os.write(to_child, b"1")

    assert os.waitpid(child, 0)[1] == 0
    for end in (from_parent, to_child, from_child, to_parent):
        os.close(end)
    assert wait_for_copy(server).tokens[TAG] != b"token"


def wait_for_copy(server):
    def kept():
        look = server.look(value_key(), [TAG], local=True)
        server.keep(value_key(), look)
        return server._local.look(value_key())

    wait_until(kept, what="a local copy")
    return kept()


def test_bytes_are_bounded_and_the_least_used_go_first(own_valkey, monkeypatch):
    # A server of its own: when another test flushes a shared one, all copies are emptied.
    # Ten thousand measured allocations keep the listening thread from its work, and take longer than an item is kept.
    for module in (local, trackers):
        monkeypatch.setattr(module, "SILENCE_SECONDS", 3600.0)
    monkeypatch.setattr(local, "LOCAL_SECONDS", 3600.0)
    limit, token = 1_000_000, {TAG: b"x" * 16}
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": {"LOCAL_BYTES": limit}}):
        server = servers.server()
        own_valkey.client.mset({value_key(): "value", token_key(): token[TAG]})
        wait_for_copy(server)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10_000):
            server.keep(value_key(number), Look(os.urandom(500), dict(token)))
            assert server._local.look(value_key()) is not None
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

    assert server._local._bytes <= limit
    assert limit / 2 < grown <= 1.1 * limit
    assert value_key(0) not in server._local._held


def test_value_larger_than_the_bound_is_not_kept(valkey):
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": {"LOCAL_BYTES": 2000}}):
        server = servers.server()
        valkey.mset({value_key(): "value", token_key(): "x" * 16})
        wait_for_copy(server)
        server.keep(value_key(2), Look(b"x" * 3000, {TAG: b"x" * 16}))

        assert server._local._bytes <= 2000


def test_writer_reads_its_own_writes_among_other_writers(ada, commands, threads, other, valkey):
    """Counters only grow: a reader that sees less than its process has committed was served the past."""
    warm(names, commands)
    Author.objects.update(name="0")
    end = time.monotonic() + 3
    committed, lock = [0], threading.Lock()

    def write():
        while time.monotonic() < end:
            with lock:
                number = committed[0] + 1
                Author.objects.update(name=str(number))
                committed[0] = number
            check()

    def check():
        least = committed[0]
        seen = int(names()[0])
        assert seen >= least, f"saw {seen} after {least} was committed"
        return 1

    def read():
        return sum(iter(lambda: check() if time.monotonic() < end else 0, 0))

    def disturb():
        while time.monotonic() < end:
            other.renew([TAG])
            for key in valkey.scan_iter("*:g:*", count=100):
                valkey.delete(key)

    readers = [threads(read) for _ in range(3)]
    for job in [threads(write), threads(disturb)]:
        job.result(DEADLINE)

    assert sum(reader.result(DEADLINE) for reader in readers) > 100
