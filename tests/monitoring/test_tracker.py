"""What the execute wrapper sees, and what it must never do."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.utils import ProgrammingError
from django.test import override_settings
from psycopg import sql

from dbopt.monitoring import current_record, reports, track_request, track_task, tracker
from dbopt.monitoring.aggregate import OTHER, Aggregate, Observation
from dbopt.signals import query_executed
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db


@pytest.fixture
def heard():
    """What query_executed says while the test runs."""
    facts = []

    def receive(*, signal, sender, **said):
        facts.append(said)

    query_executed.connect(receive)
    yield facts
    query_executed.disconnect(receive)


def observation(fingerprint, **changes):
    seen = Observation(
        system="sql",
        alias="default",
        fingerprint=fingerprint,
        operation="select",
        text=f"SELECT {fingerprint}",
        seconds=0.001,
        slow=False,
        failed=False,
        origin=None,
        route="-",
    )
    return seen._replace(**changes)


def test_statement_is_counted_with_its_line_and_without_its_values(statistics):
    with override_settings(DEBUG=True), track_request("books/<int:pk>"):
        list(Author.objects.filter(name="Ursula"))

    (row,) = reports.statements()
    assert (row.alias, row.operation, row.calls, row.slow, row.errors) == ("default", "select", 1, 0, 0)
    assert row.route == "books/<int:pk>"
    assert row.origin.startswith("tests/monitoring/test_tracker.py:")
    assert row.sql.startswith('SELECT "testapp_author"."id"')
    assert row.sql.endswith('WHERE "testapp_author"."name" = ?')
    assert 0 < row.mean_ms == row.total_ms == row.max_ms
    assert row.p95_ms <= row.max_ms


def test_signal_says_what_ran(statistics, heard):
    Author.objects.count()

    (facts,) = heard
    assert sorted(facts) == ["alias", "failed", "fingerprint", "operation", "origin", "seconds", "slow"]
    assert (facts["alias"], facts["operation"], facts["failed"], facts["slow"]) == ("default", "select", False, False)


def test_failed_statement_is_counted_and_its_error_reaches_the_caller(statistics, transactional_db):
    with pytest.raises(ProgrammingError, match='column "nope" does not exist'), connection.cursor() as cursor:
        cursor.execute("SELECT nope")

    (row,) = reports.statements()
    assert (row.calls, row.errors) == (1, 1)


@override_settings(DBOPT={"MONITORING": {"SLOW_QUERY_MS": 300, "ORIGIN_SAMPLE": 0}})
def test_slow_statement_is_listed_with_its_origin_and_a_fast_one_is_not(statistics):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.execute("SELECT pg_sleep(%s)", [0.35])

    (row,) = reports.slow_queries()
    assert row.sql == "SELECT pg_sleep(?)"
    assert row.slow == row.calls == 1
    assert row.max_ms >= 350
    (event,) = reports.slow_events()
    assert event.fingerprint == row.fingerprint
    assert event.origin.startswith("tests/monitoring/test_tracker.py:")


def test_copy_of_a_connection_is_watched(statistics, transactional_db):
    copied = connection.copy()
    try:
        with copied.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        copied.close()

    assert [row.sql for row in reports.statements()] == ["SELECT ?"]


def test_installing_twice_counts_once(statistics):
    tracker.install()
    tracker.install()

    Author.objects.count()

    assert connection.execute_wrappers.count(tracker.track) == 1
    assert [row.calls for row in reports.statements()] == [1]


def test_fault_of_the_tracker_leaves_the_statement_unharmed(statistics, monkeypatch):
    def broken(text, connection):
        raise LookupError

    before = tracker.InternalErrors.count
    monkeypatch.setattr(tracker, "read_statement", broken)

    assert Author.objects.count() == 0
    assert tracker.InternalErrors.count == before + 1


def test_fault_of_a_receiver_leaves_the_statement_unharmed(statistics, caplog):
    def receive(**facts):
        raise LookupError

    query_executed.connect(receive)
    try:
        with caplog.at_level(logging.CRITICAL, logger="django.dispatch"):
            assert Author.objects.count() == 0
    finally:
        query_executed.disconnect(receive)


def test_fault_of_an_observer_leaves_the_statement_unharmed_and_is_counted(statistics, monkeypatch):
    def observe(seen):
        raise LookupError

    before = tracker.InternalErrors.count
    monkeypatch.setattr(tracker, "observers", [observe])

    assert Author.objects.count() == 0
    assert tracker.InternalErrors.count == before + 1
    assert [row.calls for row in reports.statements()] == [1]


def test_observers_see_each_statement_once(statistics, monkeypatch):
    seen = []
    monkeypatch.setattr(tracker, "observers", [seen.append])

    Author.objects.count()

    assert [(one.alias, one.operation, one.failed) for one in seen] == [("default", "select", False)]


def test_receiver_that_asks_the_database_is_not_told_of_its_own_statement(statistics):
    told = []

    def receive(*, fingerprint, **facts):
        told.append(fingerprint)
        Author.objects.exists()

    query_executed.connect(receive)
    try:
        Author.objects.count()
    finally:
        query_executed.disconnect(receive)

    assert len(told) == 1
    assert sorted(row.calls for row in reports.statements()) == [1, 1]


def test_literal_in_composed_sql_is_in_no_report_and_no_log(statistics, caplog, heard):
    secret = "hunter2-secret"
    composed = sql.SQL("SELECT concat({}, %s)").format(sql.Literal(secret))

    with (
        caplog.at_level(logging.DEBUG, logger="dbopt"),
        override_settings(DBOPT={"MONITORING": {"SLOW_QUERY_MS": 0}}),
        track_task("nightly") as record,
        connection.cursor() as cursor,
    ):
        cursor.execute(composed, ["other-secret"])

    (row,) = reports.slow_queries()
    assert row.sql == "SELECT concat(?...)"
    everything = json.dumps([row.as_dict(), str(heard), str(record.groups), str(reports.slow_events()), caplog.text])
    assert "secret" not in everything


def test_statements_that_differ_only_in_values_stay_few(statistics):
    def run(text):
        tracker.track(lambda *_: None, text, None, False, {"connection": connection})

    for size in range(1, 401):
        run(f"SELECT * FROM book WHERE id IN ({', '.join(['%s'] * size)})")
    for number in range(10_000):
        run(f'SAVEPOINT "s{number}_x{number}"')
    for page in range(1000):
        run(f"SELECT * FROM book ORDER BY id LIMIT 20 OFFSET {20 * page}")
        run(f"SELECT * FROM book /*traceparent='00-{page:032x}-01'*/")

    rows = reports.statements(100)
    assert {row.sql: row.calls for row in rows} == {
        "SELECT * FROM book WHERE id IN (?...)": 400,
        "SAVEPOINT ?": 10_000,
        "SELECT * FROM book ORDER BY id LIMIT ? OFFSET ?": 1000,
        "SELECT * FROM book": 1000,
    }


def test_statements_beyond_the_limit_are_one_row():
    aggregate = Aggregate(max_fingerprints=3, max_slow_events=2)

    for number in range(10):
        aggregate.add(observation(f"f{number}", slow=True))

    rows = {row.fingerprint: row.calls for row in aggregate.rows(window=60)}
    assert rows == {"f0": 1, "f1": 1, "f2": 1, OTHER: 7}
    assert [event.fingerprint for event in aggregate.slow_events()] == ["f9", "f8"]


def test_percentile_is_an_upper_bound_that_is_never_above_the_slowest():
    aggregate = Aggregate(max_fingerprints=3, max_slow_events=2)

    for _ in range(95):
        aggregate.add(observation("f", seconds=0.010))
    for _ in range(5):
        aggregate.add(observation("f", seconds=0.5))

    (row,) = aggregate.rows(window=60)
    assert 0.010 <= row.percentile(0.95) <= 0.010 * 1.42
    assert row.percentile(1) == 0.5


def test_rows_leave_the_window_by_the_clock_that_is_never_set(monkeypatch):
    now = {"monotonic": 10_000.0, "wall": 1_800_000_000.0}
    monkeypatch.setattr("dbopt.monitoring.aggregate.time.monotonic", lambda: now["monotonic"])
    monkeypatch.setattr("dbopt.monitoring.aggregate.time.time", lambda: now["wall"])
    aggregate = Aggregate(max_fingerprints=3, max_slow_events=2)
    aggregate.add(observation("f"))

    now["wall"] -= 86_400
    aggregate.add(observation("f"))
    now["wall"] += 10 * 86_400
    aggregate.add(observation("f"))

    assert [row.calls for row in aggregate.rows(window=3600)] == [3]
    now["monotonic"] += 400
    aggregate.add(observation("f"))
    assert [row.calls for row in aggregate.rows(window=1)] == [1]
    assert [row.calls for row in aggregate.rows(window=3600)] == [4]
    now["monotonic"] += 3_900
    assert aggregate.rows(window=3600) == []


def test_threads_lose_no_count(statistics):
    start = threading.Barrier(4)

    def work():
        start.wait(10)
        for _ in range(500):
            statistics.add(observation("f", slow=True))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (row,) = statistics.rows(window=60)
    assert (row.calls, row.slow, sum(row.buckets)) == (2000, 2000, 2000)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_starts_from_zero(statistics):
    statistics.add(observation("f"))
    reading, writing = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(len(statistics.rows(window=60))).encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 10) == b"0"
    assert len(statistics.rows(window=60)) == 1


def test_statement_of_a_command_has_no_route_and_that_of_a_task_has_its_name(statistics):
    Author.objects.count()
    with track_task("rebuild_index"):
        Author.objects.exists()

    assert sorted(row.route for row in reports.statements()) == ["-", "rebuild_index"]
    assert current_record() is None


@pytest.mark.django_db(transaction=True)
def test_gathered_queries_belong_to_the_request_that_awaits_them(statistics):
    async def request(name, count):
        with track_request(name) as record:
            await asyncio.gather(*(Author.objects.filter(pk=number).afirst() for number in range(count)))
        return record

    async def both():
        return await asyncio.gather(request("one", 50), request("two", 30))

    one, two = async_to_sync(both)()

    assert (one.statements, two.statements) == (50, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit is 0; it must be at least 1."),
        ({"window": 0}, "window is 0; it must be more than 0 and at most 3600 seconds."),
        ({"window": 7200}, "window is 7200; it must be more than 0 and at most 3600 seconds."),
        ({"sort": "p95"}, "sort is 'p95'; it must be one of total, mean, max, calls."),
    ],
)
def test_report_refuses_what_it_cannot_do(arguments, message, statistics):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        reports.slow_queries(**arguments)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("total", ["often", "slow", "peak"]),
        ("mean", ["slow", "peak", "often"]),
        ("max", ["peak", "slow", "often"]),
        ("calls", ["often", "peak", "slow"]),
    ],
)
def test_report_is_sorted_as_asked(sort, order, statistics):
    for _ in range(100):
        statistics.add(observation("often", seconds=0.1, slow=True))
    statistics.add(observation("slow", seconds=0.6, slow=True))
    for seconds in (0.7, 0.01, 0.01):
        statistics.add(observation("peak", seconds=seconds, slow=seconds > 0.1))
    if sort == "total":
        statistics.add(observation("slow", seconds=0.6, slow=True))

    assert [row.fingerprint for row in reports.slow_queries(sort=sort)] == order


def test_unreadable_settings_do_not_break_statements(statistics):
    with override_settings(DBOPT={"MONITORNG": {}}):
        with pytest.raises(ImproperlyConfigured):
            reports_settings()
        assert Author.objects.count() == 0


def reports_settings():
    from dbopt.conf import dbopt_settings

    return dbopt_settings.monitoring
