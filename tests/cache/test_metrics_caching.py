"""Metrics: served at once with their age, computed anew behind the callers' backs."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.db.models.functions import Now
from django.db.transaction import atomic
from django.test import override_settings
from django.utils import timezone, translation

from dbopt.cache import cached_metrics, cached_query, invalidate_all
from dbopt.cache.functions import aggregates, calls, fills, refreshers
from dbopt.exceptions import ConfigurationError
from dbopt.tenancy import current_tenant, tenant_context
from tests.cache.conftest import DEADLINE, wait_until
from tests.cache.stages import PipedCue, Stage, clock, in_children, unhurried
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

stage = Stage()


@cached_metrics(timeout=60)
def how_many():
    found = Author.objects.count()
    stage.enter()
    return found


@cached_metrics(timeout=60)
def how_many_until_now():
    return Author.objects.filter(pk__gt=0).annotate(now=Now()).count() + Author.objects.filter(born__lt=Now()).count()


@cached_metrics(timeout=60, level="ttl")
def by_the_clock():
    stage.enter()
    return Author.objects.count()


@cached_metrics(timeout=60)
def from_elsewhere(numbers: list[int]):
    """Like a query to a graph: nothing of it is seen."""
    stage.enter()
    return sum(numbers)


@cached_metrics(timeout=60)
def surroundings():
    stage.enter()
    return [current_tenant(), translation.get_language(), timezone.get_current_timezone_name(), Author.objects.count()]


@cached_metrics(timeout=60)
async def how_many_async():
    return await Author.objects.acount()


@cached_query(timeout=60)
def around():
    return how_many(), Author.objects.count()


def idle():
    return refreshers.refreshers().is_idle


def settle():
    wait_until(idle, what="workers that are done")


@pytest.fixture(autouse=True)
def ada(tmp_path, shop_database):
    stage.open(tmp_path / "executions")
    for function in (how_many, how_many_until_now, by_the_clock, from_elsewhere, surroundings, how_many_async, around):
        function._spec.forget()
    with unhurried():
        yield Author.objects.create(name="Ada", email="ada@example.org")
        stage.cue.set()
        settle()


@pytest.fixture
def later(monkeypatch):
    """Set the cache's clocks ahead."""
    return lambda ahead: clock(monkeypatch, [calls, fills, aggregates], ahead=ahead)


def grow():
    Author.objects.create(name="Grace", email="grace@example.org")


def test_first_caller_computes(outcomes):
    assert how_many() == 1
    assert how_many() == 1

    assert stage.executions == 1
    assert (outcomes(how_many)["misses"], outcomes(how_many)["hits"]) == (1, 1)
    assert idle()


def test_result_before_a_write_is_served_at_once_and_computed_anew_behind(later, outcomes):
    how_many()
    grow()
    later(20)
    stage.held = 1

    assert how_many() == 1
    assert stage.arrived.wait(DEADLINE)
    assert how_many() == 1
    stage.cue.set()
    settle()

    assert how_many() == 2
    assert stage.executions == 2
    assert (outcomes(how_many)["servedStale"], outcomes(how_many)["misses"]) == (2, 1)


def test_age_is_visible(later):
    value, age = how_many.with_age()
    assert (value, 0 <= age < 10) == (1, True)

    later(50)
    found = how_many.with_age()

    assert found.value == 1
    assert 50 <= found.age < 60


def test_result_past_its_timeout_is_served_and_computed_anew_behind(later, outcomes):
    how_many()
    later(61)

    assert how_many() == 1
    settle()

    assert stage.executions == 2
    assert how_many.with_age().age < 10
    assert outcomes(how_many)["misses"] == 1


def test_result_past_its_last_day_is_computed_by_the_caller(later, outcomes):
    how_many()
    grow()
    later(86_400 + 61)

    assert how_many() == 2
    assert outcomes(how_many)["misses"] == 2


def test_value_lives_for_timeout_and_stale_together(valkey):
    how_many()

    (key,) = [key for key in valkey.scan_iter() if b":v:" in key]
    assert 77_000_000 < valkey.pttl(key) <= 86_460_000


def test_one_of_all_processes_computes_anew(later, valkey):
    how_many()
    grow()
    pretend_it_takes(1, valkey)
    later(20)
    ready_read, ready_write = os.pipe()
    cue_read, cue_write = os.pipe()

    def call_and_settle():
        stage.held, stage.cue = 1, PipedCue(cue_read)
        how_many()
        assert stage.arrived.wait(DEADLINE)
        os.write(ready_write, b".")
        settle()

    (child,) = in_children(1, call_and_settle)
    os.close(ready_write)
    assert os.read(ready_read, 1) == b"."

    assert how_many() == 1
    settle()
    assert stage.executions == 2
    os.write(cue_write, b"!")

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert how_many() == 2
    assert stage.executions == 2
    for end in (ready_read, cue_read, cue_write):
        os.close(end)


def pretend_it_takes(seconds, valkey):
    """Change what a stored value says of its computation."""
    (key,) = [key for key in valkey.scan_iter() if b":v:" in key]
    data = bytearray(valkey.get(key))
    data[20:24] = int(seconds * 1_000_000).to_bytes(4, "big")
    valkey.set(key, bytes(data), keepttl=True)


def test_write_hot_metrics_rest_as_long_as_they_take(later):
    """Otherwise a worker would compute nothing else."""
    how_many()
    grow()
    later(-1)

    assert how_many() == 1
    assert idle()
    assert stage.executions == 1


def test_write_during_a_refresh_does_not_lose_its_result(later):
    how_many()
    grow()
    later(20)
    stage.held = 1
    how_many()
    assert stage.arrived.wait(DEADLINE)
    Author.objects.create(name="Edith", email="edith@example.org")
    stage.cue.set()
    settle()

    assert how_many() == 2
    later(45)
    how_many()
    settle()
    assert how_many() == 3


def test_what_was_invalidated_by_hand_is_not_served(outcomes):
    how_many()
    grow()
    invalidate_all()

    assert how_many() == 2
    assert outcomes(how_many)["servedStale"] == 0


def test_caller_in_a_transaction_is_served_too(outcomes):
    how_many()
    with atomic():
        grow()

        assert how_many() == 1
        assert stage.executions == 1

    assert outcomes(how_many)["bypass"] == {}


def test_uncommitted_rows_are_not_stored(elsewhere, outcomes):
    with atomic():
        grow()
        assert how_many() == 2
        assert elsewhere(how_many) == 1

    assert outcomes(how_many)["refused"] == {"dirty": 1}


def test_what_depends_on_the_time_is_kept_until_its_timeout(later, outcomes):
    assert how_many_until_now() == 1
    assert how_many_until_now() == 1
    assert outcomes(how_many_until_now)["hits"] == 1

    grow()
    later(61)
    assert how_many_until_now() == 1
    settle()
    assert how_many_until_now() == 2


def test_what_runs_no_sql_is_kept_until_its_timeout(later, outcomes):
    assert from_elsewhere([1, 2]) == 3
    assert from_elsewhere([1, 2]) == 3
    later(61)
    assert from_elsewhere([1, 2]) == 3
    settle()

    assert stage.executions == 2
    assert outcomes(from_elsewhere)["refused"] == {}


def test_writes_are_nothing_to_level_ttl(later):
    assert by_the_clock() == 1
    grow()
    later(50)

    assert by_the_clock() == 1
    assert idle()
    assert stage.executions == 1


def test_arguments_that_the_caller_changes_meanwhile_spoil_nothing(later):
    numbers = [1, 2]
    assert from_elsewhere(numbers) == 3
    later(61)
    stage.held = 1
    assert from_elsewhere(numbers) == 3
    assert stage.arrived.wait(DEADLINE)
    numbers.append(3)
    stage.cue.set()
    settle()

    assert stage.executions == 2
    assert from_elsewhere([1, 2]) == 3
    settle()


def test_work_behind_runs_in_the_callers_tenant_and_language(later):
    with (
        override_settings(DBOPT={"TENANCY": {"RESOLVER": "tests.cache.test_tenants.nobody"}}),
        tenant_context(7),
        translation.override("de"),
        timezone.override("Asia/Tokyo"),
    ):
        assert surroundings() == [7, "de", "Asia/Tokyo", 1]
        grow()
        later(20)
        assert surroundings() == [7, "de", "Asia/Tokyo", 1]
        settle()
        assert surroundings() == [7, "de", "Asia/Tokyo", 2]


def test_refresh_that_fails_leaves_the_old_result(later, outcomes, caplog):
    how_many()
    grow()
    later(20)
    stage.failing = 1
    assert how_many() == 1
    settle()

    assert [record.getMessage() for record in caplog.records] == [
        "tests.cache.test_metrics_caching.how_many could not be refreshed (LookupError)."
    ]
    assert outcomes(how_many)["refused"] == {"failed": 1}
    assert how_many() == 1
    settle()
    assert how_many() == 2


def test_workers_leave_no_connection_behind(later, outside):
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    how_many()
    grow()
    later(20)
    connection.close()
    how_many()
    settle()

    wait_until(lambda: outside.execute(query).fetchone()[0] == 0, what="no connection but this one")


def test_result_around_a_metric_is_not_stored(outcomes):
    around()

    assert outcomes(around)["refused"] == {"inner_stale": 1}


def test_async_metrics(later):
    async def main():
        try:
            assert await how_many_async() == 1
            await sync_to_async(grow)()
            later(20)
            assert await how_many_async() == 1
            await sync_to_async(settle)()
            value, age = await how_many_async.with_age()
            assert (value, age < 10) == (2, True)
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(main())


def test_workers_are_few_and_each_key_has_one():
    pool = refreshers.Refreshers()
    cue, begun, done = threading.Event(), threading.Semaphore(0), []

    def job(number):
        begun.release()
        assert cue.wait(DEADLINE)
        done.append(number)

    assert [pool.submit(str(number), lambda number=number: job(number)) for number in range(4)] == [True] * 4
    assert pool.submit("3", lambda: job(3)) is False
    for _ in range(refreshers.WORKERS):
        assert begun.acquire(timeout=DEADLINE)
    assert begun.acquire(blocking=False) is False
    assert sum(thread.name == "dbopt-cache-refresher" for thread in threading.enumerate()) == refreshers.WORKERS
    cue.set()
    wait_until(lambda: pool.is_idle, what="idle workers")

    assert sorted(done) == [0, 1, 2, 3]
    assert pool.submit("3", lambda: job(3)) is True
    wait_until(lambda: pool.is_idle, what="idle workers")


def test_queue_is_bounded():
    pool = refreshers.Refreshers()
    cue = threading.Event()

    taken = [pool.submit(str(number), lambda: cue.wait(DEADLINE)) for number in range(120)]

    assert (taken.count(True), taken[-1]) == (100, False)
    cue.set()
    wait_until(lambda: pool.is_idle, what="idle workers")


def test_child_process_has_workers_of_its_own(later):
    how_many()
    grow()
    later(20)
    stage.held = 1
    how_many()
    assert stage.arrived.wait(DEADLINE)

    def look():
        assert refreshers.refreshers().is_idle

    (child,) = in_children(1, look)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stage.cue.set()


def test_wrong_options_name_the_decorator():
    with pytest.raises(ConfigurationError, match=r"^cached_metrics\(level='strict'\) on .*: choose"):
        cached_metrics(level="strict")(grow)
    with pytest.raises(ConfigurationError, match=r"^cached_metrics\(vary='site'\) on "):
        cached_metrics(vary="site")(grow)
