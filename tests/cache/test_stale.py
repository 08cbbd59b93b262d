"""What may still be served after a write, and what is computed before it ends."""

from __future__ import annotations

import pytest
from django.test import override_settings

from dbopt.cache import cached_query, invalidate, invalidate_all, invalidate_tenant
from dbopt.cache.functions import calls, fills, sightings
from dbopt.exceptions import ConfigurationError
from dbopt.tenancy import tenant_context
from tests.cache.conftest import DEADLINE
from tests.cache.stages import Stage, clock, start, unhurried
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

stage = Stage()


@cached_query(timeout=300, stale=30, tags=["people"])
def names():
    found = list(Author.objects.order_by("name").values_list("name", flat=True))
    stage.enter()
    return found


@cached_query(timeout=300)
def fresh():
    found = list(Author.objects.order_by("name").values_list("name", flat=True))
    stage.enter()
    return found


@cached_query(timeout=300)
def around():
    return names(), Book.objects.count()


@pytest.fixture(autouse=True)
def ada(tmp_path, shop_database):
    stage.open(tmp_path / "executions")
    for function in (names, fresh, around):
        function._spec.forget()
    with unhurried():
        yield Author.objects.create(name="Ada", email="ada@example.org")
    stage.cue.set()


def rename():
    Author.objects.update(name="Grace")


def test_result_before_a_write_is_served_while_one_computes_it_anew(threads, outcomes):
    names()
    rename()
    leader = start(names, threads=threads, stage=stage)

    assert names() == ["Ada"]
    assert not leader.done()
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]
    assert names() == ["Grace"]

    counted = outcomes(names)
    assert (counted["servedStale"], counted["hits"], counted["misses"], counted["waits"]) == (1, 2, 2, 0)


def test_without_the_option_the_others_wait(threads, outcomes):
    fresh()
    rename()
    leader = start(fresh, threads=threads, stage=stage)
    fresh._spec.seconds = None

    other = threads(fresh)
    # The wait is bounded by what the first run took, so this one may compute for itself; never is it old.
    assert other.result(DEADLINE) == ["Grace"]
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]
    assert outcomes(fresh)["servedStale"] == 0


def test_what_was_made_too_long_ago_is_not_served(threads, monkeypatch):
    names()
    rename()
    leader = start(names, threads=threads, stage=stage)
    clock(monkeypatch, [calls, sightings], ahead=31)

    assert names() == ["Grace"]
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]


def test_time_counts_from_when_the_result_was_last_seen_to_be_right(threads, monkeypatch):
    names()
    with monkeypatch.context() as later:
        clock(later, [calls, sightings], ahead=100)
        assert names() == ["Ada"]
        rename()
        leader = start(names, threads=threads, stage=stage)

        assert names() == ["Ada"]
        clock(later, [calls, sightings], ahead=131)
        assert names() == ["Grace"]
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]


@pytest.mark.parametrize(
    "end",
    [invalidate_all, names.invalidate_all, lambda: invalidate("people"), names.invalidate],
    ids=["epoch", "function", "own_tag", "entry"],
)
def test_what_was_invalidated_by_hand_is_not_served(threads, end):
    names()
    rename()
    end()
    leader = start(names, threads=threads, stage=stage)

    assert names() == ["Grace"]
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]


def test_what_is_of_an_invalidated_tenant_is_not_served(threads):
    def as_tenant():
        with tenant_context(7):
            return names()

    with override_settings(DBOPT={"TENANCY": {"RESOLVER": "tests.cache.test_tenants.nobody"}}):
        as_tenant()
        rename()
        invalidate_tenant(7)
        leader = start(as_tenant, threads=threads, stage=stage)

        assert as_tenant() == ["Grace"]
        stage.cue.set()
        assert leader.result(DEADLINE) == ["Grace"]


def test_result_that_a_write_overtook_is_served_stale_too(threads, outcomes):
    """Where writes are quicker than the query, there would never be anything to serve."""
    first = start(names, threads=threads, stage=stage)
    rename()
    stage.cue.set()
    assert first.result(DEADLINE) == ["Ada"]
    stage.cue.clear()
    stage.arrived.clear()
    leader = start(names, threads=threads, stage=stage)

    assert names() == ["Ada"]
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Grace"]
    assert outcomes(names)["servedStale"] == 1


def test_result_around_a_stale_one_is_not_stored(threads, outcomes):
    names()
    rename()
    leader = start(names, threads=threads, stage=stage)

    assert around() == (["Ada"], 0)
    stage.cue.set()
    leader.result(DEADLINE)
    assert around() == (["Grace"], 0)
    assert outcomes(around)["refused"] == {"inner_stale": 1}


def test_strict_functions_refuse_the_option():
    with pytest.raises(ConfigurationError) as caught:
        cached_query(level="strict", stale=5)(rename)

    assert str(caught.value) == (
        'cached_query(stale=5) on tests.cache.test_stale.rename: level="strict" never serves a stale result.'
    )


@pytest.mark.parametrize("stale", [-1, True, "5", float("inf")])
def test_wrong_durations_are_refused(stale):
    with pytest.raises(ConfigurationError, match=r"give seconds, at least 0.001, or 0\."):
        cached_query(stale=stale)(rename)


def test_value_near_its_end_is_computed_early_by_one_and_served_to_the_others(threads, monkeypatch, outcomes):
    fresh()
    # At nine tenths of the timeout the first values of that age may end.
    clock(monkeypatch, [calls, fills], ahead=271)
    leader = start(fresh, threads=threads, stage=stage)

    assert fresh() == ["Ada"]
    assert not leader.done()
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Ada"]
    assert fresh() == ["Ada"]

    assert stage.executions == 2
    assert (outcomes(fresh)["hits"], outcomes(fresh)["waits"]) == (2, 0)


def test_value_far_from_its_end_is_not_computed_early(monkeypatch):
    fresh()
    clock(monkeypatch, [calls, fills], ahead=200)

    for _ in range(50):
        assert fresh() == ["Ada"]
    assert stage.executions == 1


def test_slow_value_is_computed_earlier(monkeypatch, valkey):
    """The time before the end at which a caller takes over grows with what the value took."""
    fresh()
    (key,) = [key for key in valkey.scan_iter() if b":v:" in key]
    data = bytearray(valkey.get(key))
    data[20:24] = (30_000_000).to_bytes(4, "big")
    valkey.set(key, bytes(data))
    clock(monkeypatch, [calls, fills], ahead=200)
    # 70 seconds before the end, a value that takes 30: one in ten draws is that early.
    monkeypatch.setattr("dbopt.cache.functions.calls.random.random", lambda: 0.95)

    fresh()

    assert stage.executions == 2
