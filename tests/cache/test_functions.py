"""The decorated function: what it takes, what hangs on it, what it counts and says."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading

import pytest
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone, translation

from dbopt.cache import bypass, cached_query, invalidate, invalidate_all, statistics
from dbopt.cache.functions import fills
from dbopt.cache.server import exchange
from dbopt.exceptions import ConfigurationError, UncacheableArgumentError
from dbopt.signals import cache_invalidated, cache_read
from tests.cache import shop
from tests.testapp.models import Author, Book, Publisher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


def test_hit_is_one_round_trip_and_no_statement(ada, queries, commands):
    shop.names()

    with queries() as ran, commands() as sent:
        assert shop.names() == ["Ada"]

    assert (ran, sent) == ([], [["MGET"]])


def test_first_hit_of_a_new_process_is_two_round_trips_and_the_next_is_one(ada, commands):
    shop.names()
    shop.names._spec._ahead = ()

    with commands() as sent:
        shop.names()
        shop.names()

    assert sent == [["MGET"], ["MGET"], ["MGET"]]


def test_cold_miss_reads_tokens_before_each_new_table(ada, commands, valkey):
    valkey.script_load(exchange._STORE)
    shop.names._spec.seconds = 0.001

    with commands() as sent:
        shop.names()

    # The first meeting of the server left the token of everything. A write leaves none where there was none.
    assert sent == [["MGET"], ["SET", "MGET"], ["MGET"], ["SET", "SET", "MGET"], ["EVALSHA"]]


def test_warm_miss_is_two_round_trips(ada, commands, valkey):
    shop.names()
    valkey.delete(*[key for key in valkey.scan_iter() if b":v:" in key])
    shop.names._spec.seconds = 0.001

    with commands() as sent:
        shop.names()

    assert sent == [["MGET"], ["EVALSHA"]]


def test_autocommitted_write_is_one_round_trip(ada, commands):
    with commands() as sent:
        ada.save()

    # Table and row.
    assert sent == [["SET", "SET"]]


def test_keys_have_the_documented_form(ada, valkey):
    shop.titles_of("Ada")

    tokens = {key.decode() for key in valkey.scan_iter() if b":g:" in key}
    (value,) = [key.decode() for key in valkey.scan_iter() if b":v:" in key]

    start = f"{settings.CACHES['default']['KEY_PREFIX']}:dbopt"
    assert tokens == {
        f"{start}:g:{{_}}:E",
        f"{start}:g:{{_}}:N:tests.cache.shop.titles_of",
        f"{start}:g:{{_}}:X:default",
        f"{start}:g:{{_}}:T:default.testapp_author",
        f"{start}:g:{{_}}:T:default.testapp_book",
    }
    head, _, call = value.rpartition(":")
    assert head == f"{start}:v:{{_}}:tests.cache.shop.titles_of"
    assert len(call) == 32
    assert all(valkey.strlen(token) == 16 for token in tokens)
    assert 270_000 - 5_000 <= valkey.pttl(value) <= 300_000
    assert all(valkey.pttl(token) > 80_000_000 for token in tokens)


def test_queryset_becomes_a_list_on_miss_and_on_hit(ada):
    missed, hit = shop.authors(), shop.authors()

    assert (type(missed), type(hit)) == (list, list)
    assert missed == hit == [ada]


def test_positional_keyword_and_default_arguments_share_a_result(ada, outcomes):
    with_defaults("Ada")
    with_defaults(name="Ada")
    with_defaults("Ada", 100)
    with_defaults(limit=100, name="Ada")
    with_defaults("Ada", limit=True)

    counted = outcomes(with_defaults)
    assert (counted["hits"], counted["misses"]) == (3, 2)


@cached_query(timeout=60, name="author:by_name")
def with_defaults(name: str, limit: int = 100):
    """Documented."""
    return list(Author.objects.filter(name=name)[:limit].values_list("pk", flat=True))


def test_decorated_function_looks_like_the_plain_one():
    assert with_defaults.__name__ == "with_defaults"
    assert with_defaults.__doc__ == "Documented."
    assert str(inspect.signature(with_defaults)) == "(name: 'str', limit: 'int' = 100)"
    assert with_defaults.uncached is with_defaults.__wrapped__


def test_wrong_arguments_raise_as_in_the_plain_function(ada):
    with pytest.raises(TypeError, match="limits"):
        with_defaults("Ada", limits=1)


def test_uncached_refresh_invalidate_invalidate_all(ada, outside):
    assert shop.names() == ["Ada"]
    outside.execute("UPDATE testapp_author SET name = 'Grace'")

    assert shop.names() == ["Ada"]
    assert shop.names.uncached() == ["Grace"]
    assert shop.names() == ["Ada"]
    assert shop.names.refresh() == ["Grace"]
    assert shop.names() == ["Grace"]

    outside.execute("UPDATE testapp_author SET name = 'Edith'")
    assert shop.names.invalidate() is True
    assert shop.names() == ["Edith"]
    assert shop.names() == ["Edith"]

    outside.execute("UPDATE testapp_author SET name = 'Hedy'")
    assert shop.names.invalidate_all() is True
    assert shop.names() == ["Hedy"]


def test_invalidating_one_call_keeps_the_others(ada, outcomes):
    shop.titles_of("Ada")
    shop.titles_of("Grace")

    shop.titles_of.invalidate("Ada")
    shop.titles_of("Ada")
    shop.titles_of("Grace")

    assert (outcomes(shop.titles_of)["hits"], outcomes(shop.titles_of)["misses"]) == (1, 3)


def test_invalidate_all_covers_every_function(ada, outcomes):
    shop.names()
    shop.how_many()

    invalidate_all()
    shop.names()
    shop.how_many()

    assert (outcomes(shop.names)["stale"], outcomes(shop.how_many)["stale"]) == (1, 1)


calls: list[str] = []


@cached_query(timeout=60, tags=["weather"])
def weather(city: str):
    calls.append(city)
    return {"city": city, "calls": len(calls)}


def test_function_without_sql_is_cached_by_its_own_tag():
    calls.clear()
    assert weather("Oslo") == weather("Oslo") == {"city": "Oslo", "calls": 1}

    invalidate("weather")

    assert weather("Oslo") == {"city": "Oslo", "calls": 2}


@cached_query(timeout=60, level="ttl")
def ttl_names():
    return list(Author.objects.values_list("name", flat=True))


@cached_query(timeout=60)
def around_ttl():
    return ttl_names(), Author.objects.count()


def test_level_ttl_serves_until_its_timeout(ada, outcomes):
    assert ttl_names() == ["Ada"]
    Author.objects.update(name="Grace")

    assert ttl_names() == ["Ada"]
    ttl_names.invalidate_all()
    assert ttl_names() == ["Grace"]


def test_result_with_a_ttl_result_inside_is_not_stored(ada, outcomes):
    around_ttl()

    assert outcomes(around_ttl)["refused"] == {"inner_ttl": 1}


@cached_query(timeout=60)
def outer():
    return shop.names(), [book.title for book in Book.objects.all()]


@pytest.mark.parametrize("inner", ["cold", "warm"])
def test_outer_function_depends_on_what_its_inner_ones_read(ada, elsewhere, inner, outcomes):
    if inner == "warm":
        shop.names()
    assert outer() == (["Ada"], [])
    assert outer() == (["Ada"], [])
    assert outcomes(outer)["hits"] == 1

    Author.objects.update(name="Grace")
    assert outer() == (["Grace"], [])
    Book.objects.create(title="Notes", author=ada)
    assert outer() == (["Grace"], ["Notes"])
    outer()
    shop.names.invalidate_all()
    outer()
    assert outcomes(outer)["stale"] == 3


@cached_query(timeout=60)
def outer_bypassing():
    with bypass():
        inner = shop.names()
    return inner, Author.objects.count()


def test_bypass_inside_a_cached_function_is_not_stored(ada, outcomes):
    outer_bypassing()

    assert outcomes(outer_bypassing)["refused"] == {"nested_bypass": 1}


@cached_query(timeout=60)
def failing():
    Author.objects.count()
    raise LookupError("no such thing")


def test_error_of_the_function_is_raised_and_not_stored(ada, outcomes):
    for _ in range(2):
        with pytest.raises(LookupError, match="no such thing"):
            failing()

    assert (outcomes(failing)["misses"], outcomes(failing)["sets"]) == (2, 0)
    shop.names()
    assert outcomes(shop.names)["sets"] == 1


class Shelf:
    def __init__(self, name):
        self.name = name

    def __cache_key__(self):
        return self.name

    @cached_query(timeout=60)
    def titles(self):
        return [self.name, *Book.objects.values_list("title", flat=True)]


class Nameless:
    @cached_query(timeout=60)
    def titles(self):
        return Book.objects.all()


def test_methods_need_a_cache_key(ada, outcomes):
    assert Shelf("a").titles() == ["a"]
    assert Shelf("b").titles() == ["b"]
    assert Shelf("a").titles() == ["a"]
    assert outcomes(Shelf.titles)["hits"] == 1

    with pytest.raises(UncacheableArgumentError, match=r"Argument `self` of .*Nameless.titles is of type Nameless"):
        Nameless().titles()


def made(kind):
    @cached_query(timeout=60)
    def closure():
        return [kind, Author.objects.count()]

    return closure


def test_closures_are_told_apart_by_what_they_hold(ada):
    assert made("a")() == ["a", 1]
    assert made("b")() == ["b", 1]
    assert made("a")() == ["a", 1]

    with pytest.raises(UncacheableArgumentError, match=r"Argument `kind` of .*closure is of type Event"):
        made(threading.Event())()


@cached_query(timeout=60)
def greeting():
    return [str(translation.gettext("Yes")), Author.objects.count()]


def test_language_and_time_zone_are_part_of_the_key(ada):
    with translation.override("en"):
        assert greeting() == ["Yes", 1]
    with translation.override("de"):
        assert greeting() == ["Ja", 1]
    with timezone.override("Asia/Tokyo"):
        greeting()
    assert statistics()["byName"]["tests.cache.test_functions.greeting"]["misses"] == 3


@cached_query(timeout=60)
def unencodable():
    return [threading.Lock(), Author.objects.count()]


def test_result_that_cannot_be_stored_is_returned_and_named_once(ada, outcomes, caplog):
    fills._logged.clear()
    for _ in range(2):
        assert unencodable()[1] == 1

    assert outcomes(unencodable)["refused"] == {"unencodable": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "The result of tests.cache.test_functions.unencodable is never cached: it holds a value of type _thread.lock."
    ]


@cached_query(timeout=60)
def large():
    return [os.urandom(600_000), Author.objects.count()]


def test_result_that_is_too_large_is_not_stored(ada, outcomes):
    large()

    assert outcomes(large)["refused"] == {"too_large": 1}


@cached_query(timeout=60)
async def async_names():
    return [author.name async for author in Author.objects.order_by("name")]


@cached_query(timeout=60)
async def async_queryset():
    return Author.objects.order_by("name")


def in_event_loop(coroutine):
    async def main():
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(main())


def test_async_functions_are_cached_the_same_way(ada, outcomes):
    async def main():
        assert await async_names() == ["Ada"]
        assert await async_names() == ["Ada"]
        await Author.objects.aupdate(name="Grace")
        assert await async_names() == ["Grace"]
        assert await async_names.refresh() == ["Grace"]
        assert await async_queryset() == await async_queryset() == [ada]

    assert iscoroutinefunction(async_names)
    in_event_loop(main())
    assert (outcomes(async_names)["hits"], outcomes(async_names)["stale"]) == (1, 1)
    assert outcomes(async_queryset)["hits"] == 1


def test_many_tasks_read_one_value(ada, outcomes):
    async def main():
        await async_names()
        return await asyncio.gather(*[async_names() for _ in range(10)])

    assert in_event_loop(main()) == [["Ada"]] * 10
    assert outcomes(async_names)["hits"] == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "cached_query(timeout=0) on {}: give seconds, at least 0.001, or a name in TIMEOUTS."),
        ({"timeout": True}, "cached_query(timeout=True) on {}: give seconds, at least 0.001, or a name in TIMEOUTS."),
        (
            {"timeout": float("nan")},
            "cached_query(timeout=nan) on {}: give seconds, at least 0.001, or a name in TIMEOUTS.",
        ),
        ({"name": ""}, "cached_query(name='') on {}: a name is text, not empty; a lambda has none of its own."),
        ({"level": "strong"}, "cached_query(level='strong') on {}: choose one of 'commit', 'strict', 'ttl'."),
        ({"tags": "one"}, "cached_query(tags='one') on {}: tags are a list of text."),
        ({"tags": [1]}, "cached_query(tags=(1,)) on {}: tags are a list of text."),
    ],
)
def test_wrong_options_are_refused_at_decoration(options, message):
    def function():
        return None

    with pytest.raises(ConfigurationError) as caught:
        cached_query(**options)(function)

    assert str(caught.value) == message.format(f"{__name__}.{function.__qualname__}")


@cached_query(timeout="entty")
def misnamed():
    return Author.objects.count()


@cached_query(timeout="entity")
def named_timeout():
    return Author.objects.count()


@pytest.mark.parametrize("seconds", [1e16, 1e300])
def test_timeout_without_end_is_no_fault_of_the_server(ada, outcomes, seconds):
    function = cached_query(timeout=seconds, name="forever")(shop.how_many.uncached)
    assert function() == function() == 1
    assert outcomes(function)["hits"] == 1


def test_timeout_by_name(ada, valkey):
    with override_settings(DBOPT={"CACHE": {"TIMEOUTS": {"entity": 3600}}}):
        named_timeout()
        (value,) = [key for key in valkey.scan_iter() if b":v:" in key]
        assert 3_200_000 <= valkey.pttl(value) <= 3_600_000

        with pytest.raises(ConfigurationError) as caught:
            misnamed()
    assert str(caught.value) == (
        "cached_query(timeout='entty') on tests.cache.test_functions.misnamed: "
        'DBOPT["CACHE"]["TIMEOUTS"] has no such entry. Did you mean \'entity\'?'
    )


def test_alias_that_is_not_on_redis_is_refused_at_the_call_and_does_not_disturb_writes(ada):
    local = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(CACHES=local):
        ada.save()
        with pytest.raises(ConfigurationError) as caught:
            shop.names()

    assert str(caught.value) == (
        "CACHES['default'] is django.core.cache.backends.locmem.LocMemCache, which is not on Redis. "
        'Use django_redis.cache.RedisCache, or name another alias in DBOPT["CACHE"]["ALIAS"].'
    )


def test_builtin_redis_backend_serves_as_well(ada):
    location = settings.CACHES["default"]["LOCATION"]
    builtin = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": [location]}}
    with override_settings(CACHES=builtin):
        shop.names()
        shop.names()
        Author.objects.update(name="Grace")
        assert shop.names() == ["Grace"]

    assert statistics()["overall"]["hits"] == 1


def test_statistics_have_the_shape_of_the_health_page(ada):
    with_defaults("Ada")
    with_defaults("Ada")
    shop.names()

    found = statistics()

    assert found["overall"]["hits"] == 1
    assert found["overall"]["misses"] == 2
    assert found["overall"]["sets"] == 2
    assert found["overall"]["hitRate"] == pytest.approx(1 / 3)
    assert found["overall"]["sizeBytes"] > 0
    assert found["byPrefix"]["author"]["hitRate"] == 0.5
    assert found["byName"]["author:by_name"]["hits"] == 1
    assert found["debt"] == 0


def test_hit_rate_is_none_without_traffic():
    assert statistics()["overall"]["hitRate"] is None


def test_signals_tell_what_happened(ada):
    heard = []

    def listen(sender, signal, **facts):
        heard.append(facts)

    cache_read.connect(listen)
    cache_invalidated.connect(listen)
    try:
        with_defaults("Ada")
        with_defaults("Ada")
        ada.save()
        with_defaults("Ada")
        with bypass():
            with_defaults("Ada")
    finally:
        cache_read.disconnect(listen)
        cache_invalidated.disconnect(listen)

    seconds = [facts.pop("seconds") for facts in heard]
    read = {"name": "author:by_name", "prefix": "author"}
    assert heard == [
        {**read, "outcome": "miss", "reason": None},
        {**read, "outcome": "hit", "reason": None},
        {"tags": 2, "delivered": True},
        {**read, "outcome": "stale", "reason": None},
        {**read, "outcome": "bypass", "reason": "bypass"},
    ]
    assert all(0 <= each < 5 for each in seconds)


def test_child_process_has_connections_of_its_own(ada, tmp_path):
    """Two processes on one socket would read each other's answers."""
    shop.names()
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        wrong = sum(shop.names() != ["Ada"] for _ in range(200))
        connections.close_all()
        os._exit(min(wrong, 1))
    wrong = sum(shop.names() != ["Ada"] for _ in range(200))

    _, status = os.waitpid(pid, 0)
    assert (os.waitstatus_to_exitcode(status), wrong) == (0, 0)


def test_many_threads_read_one_value(ada, threads):
    barrier = threading.Barrier(8)

    def read():
        barrier.wait(20)
        return [shop.names() for _ in range(20)]

    for future in [threads(read) for _ in range(8)]:
        assert future.result(30) == [["Ada"]] * 20


def test_observer_is_behind_the_first_wrapper_and_survives_execute_wrapper(ada):
    from dbopt.cache.observation.observer import Observer

    connection.close()
    with connection.execute_wrapper(lambda execute, *args: execute(*args)):
        Publisher.objects.count()

    found = [isinstance(wrapper, Observer) for wrapper in connection.execute_wrappers]
    assert found.count(True) == 1
