"""Strict readers during a mark: one computes for all who came before it began, and nobody gets what is older than he."""

# ruff: noqa: ASYNC110  what is waited for happens in other tasks and threads

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.db.models.functions import Now

from dbopt.cache import cached_query
from dbopt.cache.functions import turns
from dbopt.cache.names.tokens import table_tag
from dbopt.cache.server.servers import server
from tests.cache.conftest import DEADLINE, wait_until
from tests.cache.stages import unhurried
from tests.cache.test_strict import declared
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

TAGS = [table_tag("default", "testapp_author")]


class Runs:
    """The executions of the test's functions: each has read when it arrives, and then waits to be let go."""

    def __init__(self):
        self.lock = threading.Lock()
        self.arrived = 0
        self.released = threading.Semaphore(0)
        self.failing = False

    def enter(self):
        with self.lock:
            self.arrived += 1
        assert self.released.acquire(timeout=DEADLINE)
        if self.failing:
            self.failing = False
            raise LookupError("stage fright")

    def wait_for(self, count):
        wait_until(lambda: self.arrived == count, what=f"execution {count}")

    def let_go(self, count=1):
        self.released.release(count)


runs = Runs()


def read_names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, level="strict")
def names():
    found = read_names()
    runs.enter()
    return found


@cached_query(timeout=300, level="strict")
def names_until_now():
    # Marks come first among the reasons against storing, and chance second.
    found = read_names()
    assert Author.objects.exclude(born__gt=Now()).count() == len(found)
    runs.enter()
    return found


@cached_query(timeout=300, level="strict")
def unencodable():
    found = read_names()
    runs.enter()
    return [*found, object()]


@cached_query(timeout=300)
def names_around():
    return names()


@cached_query(timeout=300, level="strict")
async def names_async():
    found = [author.name async for author in Author.objects.order_by("name")]
    runs.arrived += 1
    while not runs.released.acquire(blocking=False):
        await asyncio.sleep(0)
    return found


@pytest.fixture(autouse=True)
def marked(shop_database, monkeypatch):
    """Ada is there, and somebody may be committing a change to her all the while."""
    monkeypatch.setattr(turns, "LONGEST_WAIT", DEADLINE)
    monkeypatch.setattr(turns, "PATIENCE", 1e6)
    runs.__init__()
    with declared(), unhurried_too():
        Author.objects.create(name="Ada", email="ada@example.org")
        for function in (names, names_until_now, unencodable, names_around, names_async):
            function._spec.forget()
            function._spec.learn(TAGS, {})
        server().create(TAGS)
        server().mark(TAGS, writer=b"somebody")
        yield
        runs.let_go(100)


@contextmanager
def unhurried_too():
    from django.conf import settings

    with unhurried():
        limits = settings.DBOPT["CACHE"]
        with declared(**limits):
            yield


def rename(outside, name):
    outside.execute("UPDATE testapp_author SET name = %s", [name])


def crowd(function, count, *, threads, outcomes):
    """Call a function in so many threads, which wait for others."""
    before = outcomes(function)["waits"]
    found = [threads(function) for _ in range(count)]
    wait_until(lambda: outcomes(function)["waits"] == before + count, what="a waiting crowd")
    return found


def results(futures):
    return [future.result(DEADLINE) for future in futures]


def test_crowd_shares_one_computation_that_began_after_it_came(threads, outcomes, outside):
    first = threads(names)
    runs.wait_for(1)
    others = crowd(names, 6, threads=threads, outcomes=outcomes)
    rename(outside, "Grace")
    runs.let_go()
    runs.wait_for(2)
    runs.let_go()

    assert first.result(DEADLINE) == ["Ada"]
    assert results(others) == [["Grace"]] * 6
    assert runs.arrived == 2


def test_run_whose_result_is_refused_teaches_which_tokens_to_look_at(threads):
    """Else each of a crowd would find out about the marks by running, one after another."""
    names._spec.forget()
    runs.let_go()

    threads(names).result(DEADLINE)

    assert set(TAGS) <= set(names._spec.ahead)


def test_who_comes_after_it_began_gets_something_newer(threads, outcomes, outside):
    first = threads(names)
    runs.wait_for(1)
    rename(outside, "Grace")
    second = crowd(names, 3, threads=threads, outcomes=outcomes)
    runs.let_go()
    runs.wait_for(2)
    rename(outside, "Hedy")
    third = crowd(names, 3, threads=threads, outcomes=outcomes)
    runs.let_go()
    runs.wait_for(3)
    runs.let_go()

    assert first.result(DEADLINE) == ["Ada"]
    assert results(second) == [["Grace"]] * 3
    assert results(third) == [["Hedy"]] * 3
    assert runs.arrived == 3


def test_each_gets_objects_of_his_own(threads, outcomes):
    threads(names)
    runs.wait_for(1)
    others = crowd(names, 3, threads=threads, outcomes=outcomes)
    runs.let_go(2)

    found = results(others)

    assert len(set(map(id, found))) == 3


@pytest.mark.parametrize("function", [names_until_now, unencodable])
def test_what_is_for_one_alone_is_not_shared(threads, outcomes, function):
    first = threads(function)
    runs.wait_for(1)
    others = crowd(function, 3, threads=threads, outcomes=outcomes)
    runs.let_go(4)

    assert [found[0] for found in results([first, *others])] == ["Ada"] * 4
    assert runs.arrived == 4


def test_those_whose_leader_failed_compute_themselves(threads, outcomes):
    first = threads(names)
    runs.wait_for(1)
    others = crowd(names, 3, threads=threads, outcomes=outcomes)
    runs.let_go()
    runs.wait_for(2)
    runs.failing = True
    runs.let_go()
    runs.wait_for(4)
    runs.let_go(2)

    assert first.result(DEADLINE) == ["Ada"]
    failed = [future for future in others if future.exception(DEADLINE) is not None]
    assert len(failed) == 1
    assert results([future for future in others if future not in failed]) == [["Ada"]] * 2


def test_when_the_mark_ends_meanwhile_one_computes_and_stores(threads, outcomes):
    first = threads(names)
    runs.wait_for(1)
    others = crowd(names, 4, threads=threads, outcomes=outcomes)
    server().renew(TAGS, writer=b"somebody")
    runs.let_go(2)

    assert results([first, *others]) == [["Ada"]] * 5
    assert runs.arrived == 2
    assert outcomes(names)["sets"] == 1


def test_function_around_does_not_store_what_it_was_given(threads, outcomes):
    first = threads(names)
    runs.wait_for(1)
    other = crowd(names, 1, threads=threads, outcomes=outcomes)
    around = threads(names_around)
    wait_until(lambda: outcomes(names)["waits"] == 2, what="the function around")
    runs.let_go(2)

    assert results([first, around, *other]) == [["Ada"]] * 3
    assert runs.arrived == 2
    assert outcomes(names_around)["refused"] == {"pending": 1}


def test_tasks_share_as_threads_do(threads):
    async def ask():
        first = asyncio.ensure_future(names_async())
        while runs.arrived < 1:
            await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(names_async()) for _ in range(4)]
        while names_async._counters.waits < before + 4:
            await asyncio.sleep(0.001)
        runs.let_go(2)
        try:
            return await asyncio.wait_for(asyncio.gather(first, *others), DEADLINE)
        finally:
            await sync_to_async(connections.close_all)()

    before = names_async._counters.waits
    assert threads(asyncio.run, ask()).result(DEADLINE) == [["Ada"]] * 5
    assert runs.arrived == 2


def test_turn_that_waited_too_long_begins_by_itself(threads, outcomes, monkeypatch):
    first = threads(names)
    runs.wait_for(1)
    monkeypatch.setattr(turns, "LONGEST_WAIT", 0.05)
    second = threads(names)
    runs.wait_for(2)
    runs.let_go(2)

    assert results([first, second]) == [["Ada"]] * 2
    assert not turns._rounds._open
    assert not turns._rounds._computing
