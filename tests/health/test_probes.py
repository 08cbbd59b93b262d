"""The deadline, the single flight and the short memory of a check."""

from __future__ import annotations

import threading
import time

import pytest

from dbopt.health.probes import Check, Result, results
from dbopt.health.readiness import judge


@pytest.fixture
def gate():
    """Holds whoever asks until it is opened."""
    found = threading.Event()
    yield found
    found.set()


def test_answer_is_given_again_until_it_is_old():
    check = Check("database", lambda: {"server_version": "18"}, timeout=1, ttl=60)

    first, second = check.result(), check.result()

    assert (first.status, first.details) == ("pass", {"server_version": "18"})
    assert second.age > first.age >= 0
    assert check.runs == 1


def test_old_answer_is_asked_anew():
    check = Check("database", lambda: None, timeout=1, ttl=0)

    check.result()
    check.result()

    assert check.runs == 2


def test_failure_tells_the_class_and_nothing_else():
    def ask():
        raise ConnectionError("host=secret.internal user=admin password=hunter2")

    result = Check("database", ask, timeout=1, ttl=0).result()

    shape = result.as_dict()
    assert (shape["status"], shape["error"]) == ("fail", "ConnectionError")
    assert sorted(shape) == ["age_s", "error", "ms", "status"]


def test_silent_server_costs_the_deadline_once_and_one_thread(gate):
    check = Check("silent", gate.wait, timeout=0.2, ttl=0)

    started = time.monotonic()
    first = check.result()
    rest = [check.result() for _ in range(50)]
    took = time.monotonic() - started

    assert {result.error for result in (first, *rest)} == {"timeout"}
    assert 0.2 <= took < 0.5
    assert check.runs == 1
    assert [thread.name for thread in threading.enumerate()].count("dbopt-health-silent") == 1


def test_late_answer_is_a_failure_for_those_who_ask_afterwards(gate):
    check = Check("database", lambda: gate.wait(10) and None, timeout=0.1, ttl=60)
    check.result()
    gate.set()
    while check.result().age == 0:
        threading.Event().wait(0.01)

    assert check.result().error == "timeout"
    assert check.runs == 1


def test_what_stays_true_may_come_late_and_is_asked_once(gate):
    check = Check("startup", lambda: gate.wait(10) and None, timeout=0.1, ttl=0, once=True)
    assert check.result().error == "timeout"
    gate.set()
    while not check.result().passed:
        threading.Event().wait(0.01)

    assert [check.result().passed for _ in range(5)] == [True] * 5
    assert check.runs == 1


def test_two_hundred_probes_at_once_are_one_question():
    barrier = threading.Barrier(200)
    check = Check("database", lambda: threading.Event().wait(0.05) and None, timeout=5, ttl=60)
    found = []

    def probe():
        barrier.wait(30)
        found.append(check.result().status)

    threads = [threading.Thread(target=probe) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == ["pass"] * 200
    assert check.runs == 1


def test_checks_wait_side_by_side(gate):
    checks = {name: Check(name, gate.wait, timeout=0.3, ttl=0) for name in ("a", "b", "c", "d")}

    started = time.monotonic()
    found = results(checks)

    assert [result.status for result in found.values()] == ["fail"] * 4
    assert time.monotonic() - started < 0.6


@pytest.mark.parametrize(
    ("failed", "required", "status", "code"),
    [
        ((), ("database",), "pass", 200),
        (("cache",), ("database",), "warn", 200),
        (("database",), ("database",), "fail", 503),
        (("database",), (), "warn", 200),
    ],
)
def test_verdict_depends_on_what_is_required(failed, required, status, code):
    found = {name: Result("fail" if name in failed else "pass", 0.0) for name in ("database", "cache")}

    verdict = judge(found, required)

    assert (verdict.status, verdict.http_status) == (status, code)
