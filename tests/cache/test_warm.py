"""Warmers fill what they declare, for every tenant, and end when the cache server does."""

from __future__ import annotations

import threading

import pytest

from dbopt.cache import cached_query, warmers
from dbopt.cache.server import servers
from dbopt.cache.warmers import Warmed, warm, warms
from dbopt.exceptions import ConfigurationError
from dbopt.tenancy import current_tenant

RUNS: list[object] = []


@cached_query(timeout=300, name="warm:sum", tags=["warm"])
def total(tenant: int, number: int = 0):
    RUNS.append((current_tenant(), tenant, number))
    return number


@cached_query(timeout=300, name="warm:shared", tags=["warm"], shared=True)
def shared(number: int):
    RUNS.append(("shared", current_tenant(), number))
    return number


@cached_query(timeout=300, name="warm:faulty", tags=["warm"], shared=True)
def faulty(number: int):
    raise ValueError(number)


@cached_query(timeout=300, name="warm:async", tags=["warm"], shared=True)
async def awaited(number: int):
    RUNS.append(("async", number))
    return number


def tenants():
    return [1, 2]


@pytest.fixture(autouse=True)
def declared(monkeypatch, settings):
    RUNS.clear()
    monkeypatch.setattr(warmers, "_warmers", [])
    settings.DBOPT = {
        "TENANCY": {"RESOLVER": "tests.cache.test_warm.tenants", "TENANTS": "tests.cache.test_warm.tenants"}
    }

    @warms(total)
    def numbers():
        yield (current_tenant(),)
        yield {"tenant": current_tenant(), "number": 5}

    @warms(shared)
    def one():
        yield (7,)


def test_every_tenant_is_warmed_and_shared_results_once():
    seen = []

    warmed = warm(rate=1e6, report=lambda name, calls: seen.append((name, calls)))

    assert warmed == Warmed(calls=5, failed=0, is_whole=True)
    assert RUNS == [(1, 1, 0), (1, 1, 5), (2, 2, 0), (2, 2, 5), ("shared", None, 7)]
    assert seen == [("warm:sum", 1), ("warm:sum", 2), ("warm:sum", 3), ("warm:sum", 4), ("warm:shared", 5)]
    assert current_tenant() is None


def test_what_is_valid_is_left_unless_refreshed():
    warm(rate=1e6)
    RUNS.clear()

    warm(rate=1e6)
    assert RUNS == []
    warm("warm:sum", tenants=[2], rate=1e6, refresh=True)
    assert RUNS == [(2, 2, 0), (2, 2, 5)]


def test_faulty_function_is_passed_over_and_named(caplog):
    warms(faulty)(lambda: [(1,), (2,)])
    warms(awaited)(lambda: [(3,)])

    warmed = warm("warm:faulty", "warm:async", rate=1e6)

    assert warmed == Warmed(calls=3, failed=2, is_whole=True)
    assert RUNS == [("async", 3)]
    assert [record.getMessage() for record in caplog.records] == ["Warming warm:faulty failed (ValueError)."] * 2


def test_run_ends_with_the_breaker(settings):
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    settings.DBOPT = {**settings.DBOPT, "CACHE": {"BREAKER_FAILURES": 2}}
    try:
        warmed = warm(rate=1e6, tenants=range(50))
    finally:
        servers.forget()

    assert not warmed.is_whole
    assert warmed.calls < 5


def test_run_can_be_stopped_between_two_calls():
    stop = threading.Event()

    warmed = warm(rate=1e6, stop=stop, report=lambda name, calls: stop.set())

    assert warmed == Warmed(calls=1, failed=0, is_whole=False)


def test_rate_is_kept(monkeypatch):
    pauses = []

    class Clock(threading.Event):
        def wait(self, timeout=None):
            pauses.append(timeout)
            return False

    warm("warm:sum", tenants=[1, 2], rate=2.0, stop=Clock())

    assert pauses[0] == 0
    assert all(pause == pytest.approx(0.5 * number, abs=0.2) for number, pause in enumerate(pauses))


def test_what_is_not_declared_is_refused(settings):
    with pytest.raises(
        ConfigurationError, match=r"No app declares a warmer for 'x'\. Declared: warm:shared, warm:sum\."
    ):
        warm("x")
    with pytest.raises(ConfigurationError, match="name a function decorated with @cached_query"):
        warms(tenants)
    settings.DBOPT = {"TENANCY": {"RESOLVER": "tests.cache.test_warm.tenants"}}
    with pytest.raises(ConfigurationError, match=r'DBOPT\["TENANCY"\]\["TENANTS"\] is not set'):
        warm()
