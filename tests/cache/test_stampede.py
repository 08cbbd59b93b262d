"""Many callers find nothing: one computes, the others wait, and never for long."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from django.db import connections

from dbopt.cache import cached_query
from dbopt.cache.functions import turns
from dbopt.cache.server import roads, servers
from tests.cache.conftest import DEADLINE, wait_until
from tests.cache.stages import PipedCue, Stage, in_children, start, unhurried
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


stage = Stage()


@pytest.fixture(autouse=True)
def _new_stage(tmp_path, shop_database):
    stage.open(tmp_path / "executions")
    for function in (names, unstorable, again):
        function._spec.forget()
    with unhurried():
        yield
    stage.cue.set()


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


@pytest.fixture
def patient(monkeypatch):
    """Wait as long as it takes on a busy machine."""
    monkeypatch.setattr(turns, "LONGEST_WAIT", DEADLINE)


def read_names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300)
def names():
    found = read_names()
    stage.enter()
    return found


@cached_query(timeout=300)
def unstorable():
    stage.enter()
    return [threading.Lock(), *read_names()]


@cached_query(timeout=300)
def again():
    """Calls itself, as a function may whose end depends on what it finds."""
    stage.enter()
    return read_names() if stage.executions > 1 else again()


def flying():
    return turns._flights._flying


def test_thirty_threads_are_one_execution(ada, outcomes, patient):
    stage.held = 1
    barrier = threading.Barrier(30)
    found = []

    def call():
        try:
            barrier.wait(DEADLINE)
            found.append(names())
        finally:
            connections.close_all()

    callers = [threading.Thread(target=call) for _ in range(30)]
    for caller in callers:
        caller.start()
    assert stage.arrived.wait(DEADLINE)
    wait_until(lambda: outcomes(names)["waits"] == 29, what="29 waiting callers")
    stage.cue.set()
    for caller in callers:
        caller.join(DEADLINE)

    assert found == [["Ada"]] * 30
    assert stage.executions == 1
    assert (outcomes(names)["hits"], outcomes(names)["misses"]) == (29, 1)
    assert not flying()


def test_late_caller_that_looked_before_the_store_does_not_execute_again(ada, threads, patient, monkeypatch):
    """Between its look and its turn the value arrives: the lease's answer shows it."""
    looked, go_on = threading.Event(), threading.Event()
    take = turns.Turn.take

    def taking_late(self, *args, **options):
        if threading.current_thread() is not threading.main_thread() and not looked.is_set():
            looked.set()
            assert go_on.wait(DEADLINE)
        return take(self, *args, **options)

    monkeypatch.setattr(turns.Turn, "take", taking_late)
    late = threads(names)
    assert looked.wait(DEADLINE)
    assert names() == ["Ada"]
    go_on.set()

    assert late.result(DEADLINE) == ["Ada"]
    assert stage.executions == 1


@pytest.mark.parametrize(("processes", "threads_each"), [(3, 4), pytest.param(4, 200, marks=pytest.mark.long)])
def test_processes_are_one_execution(ada, outcomes, patient, processes, threads_each):
    ready_read, ready_write = os.pipe()
    cue_read, cue_write = os.pipe()

    stage.held, stage.cue = 1, PipedCue(cue_read)

    def call_in_threads():
        outcomes_before = outcomes(names)["waits"]
        found = []

        def call():
            try:
                found.append(names())
            finally:
                connections.close_all()

        callers = [threading.Thread(target=call) for _ in range(threads_each)]
        for caller in callers:
            caller.start()
        wait_until(
            lambda: outcomes(names)["waits"] - outcomes_before + stage.arrived.is_set() == threads_each,
            what="all callers at rest",
        )
        os.write(ready_write, b".")
        for caller in callers:
            caller.join(DEADLINE)
        assert found == [["Ada"]] * threads_each

    children = in_children(processes, call_in_threads)
    os.close(ready_write)
    for _ in children:
        assert os.read(ready_read, 1) == b"."
    assert stage.executions == 1
    os.write(cue_write, b"!")

    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * processes
    assert stage.executions == 1
    for end in (ready_read, cue_read, cue_write):
        os.close(end)


def test_leader_that_raises_is_followed_by_another(ada, threads, outcomes, patient):
    stage.held = stage.failing = 1
    leader = threads(names)
    assert stage.arrived.wait(DEADLINE)
    others = [threads(names) for _ in range(5)]
    wait_until(lambda: outcomes(names)["waits"] == 5, what="5 waiting callers")
    stage.cue.set()

    with pytest.raises(LookupError, match="stage fright"):
        leader.result(DEADLINE)
    assert [other.result(DEADLINE) for other in others] == [["Ada"]] * 5
    assert stage.executions == 2
    assert not flying()


def test_leader_that_is_killed_holds_nobody_up_for_longer_than_the_bound(ada, valkey):
    reading, writing = os.pipe()

    def lead_for_ever():
        stage.held = 1
        threading.Thread(target=names, daemon=True).start()
        assert stage.arrived.wait(DEADLINE)
        os.write(writing, b".")
        signal.pause()

    (child,) = in_children(1, lead_for_ever)
    os.close(writing)
    assert os.read(reading, 1) == b"."
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert [key for key in valkey.scan_iter() if b":l:" in key]

    started = time.monotonic()
    assert names() == ["Ada"]
    waited = time.monotonic() - started

    # It waited for the dead, then computed: in all less than the bound and an ample second for the work itself.
    assert 0 < waited < turns.LONGEST_WAIT + 1.0
    assert stage.executions == 2
    assert names() == ["Ada"]
    assert stage.executions == 2
    os.close(reading)


def test_wait_is_bounded_and_ends_in_an_execution_of_ones_own(ada, threads, monkeypatch):
    monkeypatch.setattr(turns, "LONGEST_WAIT", 0.05)
    leader = start(names, threads=threads, stage=stage)

    assert names() == ["Ada"]
    assert stage.executions == 2
    assert not leader.done()
    assert names() == ["Ada"]
    assert stage.executions == 2
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Ada"]


def test_wait_is_at_most_three_times_what_the_last_execution_took(ada, threads):
    names._spec.seconds = 0.01
    leader = start(names, threads=threads, stage=stage)

    started = time.monotonic()
    assert names() == ["Ada"]

    assert time.monotonic() - started < turns.LONGEST_WAIT
    stage.cue.set()
    leader.result(DEADLINE)


def test_write_during_a_fill_has_the_next_caller_take_over_at_once(ada, threads, elsewhere, patient, outcomes):
    names()
    names._spec.seconds = None
    names.invalidate()
    leader = start(names, threads=threads, stage=stage)

    Author.objects.update(name="Grace")

    assert elsewhere(names) == ["Grace"]
    assert not leader.done()
    stage.cue.set()
    assert leader.result(DEADLINE) == ["Ada"]
    assert elsewhere(names) == ["Grace"]
    assert (stage.executions, outcomes(names)["waits"]) == (3, 0)


def test_function_that_calls_itself_does_not_wait_for_itself(ada, patient, outcomes):
    assert again() == ["Ada"]

    assert (stage.executions, outcomes(again)["waits"]) == (2, 0)
    assert not flying()


def test_nobody_waits_for_what_is_never_stored(ada, threads, outcomes, patient):
    unstorable()
    stage.held = 3

    callers = [threads(unstorable) for _ in range(3)]
    wait_until(lambda: stage.executions == 4, what="three executions at once")
    stage.cue.set()

    assert [caller.result(DEADLINE)[1:] for caller in callers] == [["Ada"]] * 3
    assert outcomes(unstorable)["waits"] == 0


def test_refresh_waits_for_nobody(ada, threads, outcomes, patient):
    leader = start(names, threads=threads, stage=stage)

    assert names.refresh() == ["Ada"]

    stage.cue.set()
    assert leader.result(DEADLINE) == ["Ada"]
    assert outcomes(names)["waits"] == 0


def test_cache_that_breaks_while_callers_wait_sends_them_to_the_database(ada, threads, monkeypatch):
    leader = start(names, threads=threads, stage=stage)

    def refused(self, commands):
        raise ConnectionError("refused")

    monkeypatch.setattr(roads.Road, "exchange", refused)
    assert names() == ["Ada"]

    stage.cue.set()
    assert leader.result(DEADLINE) == ["Ada"]
    assert not flying()


def test_lease_is_ended_only_by_who_holds_it(valkey):
    current = servers.server()
    first = current.lease("lease", seconds=60, beside="value")
    assert (first.token is not None, first.data) == (True, None)
    valkey.set("value", b"bytes")

    other = current.lease("lease", seconds=60, beside="value")
    current.release("lease", b"another's token")

    assert (other.token, other.data) == (None, b"bytes")
    assert valkey.get("lease") == first.token
    assert 59_000 < valkey.pttl("lease") <= 60_000
    current.release("lease", first.token)
    assert valkey.get("lease") is None


def test_led_miss_takes_and_returns_one_lease(ada, commands, valkey):
    names()
    valkey.delete(*[key for key in valkey.scan_iter() if b":v:" in key])
    names._spec.seconds = 0.06

    with commands() as sent:
        names()

    assert sent == [["MGET"], ["SET", "GET", "GET"], ["EVALSHA"], ["EVALSHA"]]
