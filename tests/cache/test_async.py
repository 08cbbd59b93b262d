"""Event loops: a connection each for looks, one execution for many tasks, and tasks that are cancelled."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import override_settings

from dbopt.cache import cached_query
from dbopt.cache.functions import turns
from dbopt.cache.server import servers
from tests.cache.conftest import DEADLINE, connected, wait_until
from tests.cache.stages import Stage, unhurried
from tests.cache.valkeys import OwnValkey
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

stage = Stage()


@cached_query(timeout=300)
async def names():
    found = [name async for name in Author.objects.order_by("name").values_list("name", flat=True)]
    await asyncio.to_thread(stage.enter)
    return found


@pytest.fixture(autouse=True)
def ada(tmp_path, shop_database):
    stage.open(tmp_path / "executions")
    names._spec.forget()
    with unhurried():
        yield Author.objects.create(name="Ada", email="ada@example.org")
    stage.cue.set()


@pytest.fixture
def patient(monkeypatch):
    """Wait as long as it takes on a busy machine."""
    monkeypatch.setattr(turns, "LONGEST_WAIT", DEADLINE)


@pytest.fixture
def own_valkey(tmp_path):
    """A server that a test may harm."""
    server = OwnValkey(str(tmp_path))
    server.start()
    default = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}
    with override_settings(CACHES={"default": default}):
        yield server
    server.close()


def in_loop(main):
    """Run a coroutine function in a new loop, and close its database connection."""

    async def closing():
        try:
            return await main()
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(closing())


def connections_of_loop():
    """Return the connections that the running loop holds idle."""
    return servers.server()._loops._held[asyncio.get_running_loop()].idle


async def until(fact, *, what):
    await asyncio.to_thread(wait_until, fact, what=what)


def test_hits_ask_in_the_loop_and_not_in_the_thread(commands, outcomes):
    async def main():
        await names()
        with commands() as sent:
            for _ in range(5):
                assert await names() == ["Ada"]
        return sent, len(connections_of_loop())

    before = servers.server().round_trips
    assert in_loop(main) == ([], 1)

    assert outcomes(names)["hits"] == 5
    assert servers.server().round_trips - before >= 6


def test_loop_with_a_single_call_makes_no_connection():
    async def main():
        await names()
        return connections_of_loop()

    assert in_loop(main) == []


def test_write_is_seen_by_the_next_look_of_the_loop():
    async def main():
        await names()
        await names()
        await Author.objects.aupdate(name="Grace")
        assert await names() == ["Grace"]
        assert await names() == ["Grace"]

    in_loop(main)


def test_tasks_of_two_loops_in_two_threads_share_no_connection(outcomes):
    barrier = threading.Barrier(2)
    found, held = [], []

    async def main():
        await names()
        await asyncio.to_thread(barrier.wait, DEADLINE)
        for _ in range(20):
            found.extend(await asyncio.gather(*[names() for _ in range(5)]))
        held.append({id(connection) for connection, _ in connections_of_loop()})
        await asyncio.to_thread(barrier.wait, DEADLINE)

    both = [threading.Thread(target=in_loop, args=[main]) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(DEADLINE)

    assert found == [["Ada"]] * 200
    assert len(held) == 2
    assert held[0]
    assert held[1]
    assert not held[0] & held[1]


def test_loop_that_ends_leaves_no_connection(valkey):
    async def main():
        await names()
        await asyncio.gather(*[names() for _ in range(5)])
        return len(connections_of_loop()), clients(valkey)

    before = clients(valkey)
    held, during = in_loop(main)

    assert held >= 1
    assert during >= before + held
    wait_until(lambda: clients(valkey) <= during - held, what="closed connections")


def clients(valkey):
    return len(connected(valkey))


def test_many_tasks_are_one_execution(outcomes, patient):
    async def main():
        stage.held = 1
        tasks = [asyncio.create_task(names()) for _ in range(20)]
        await until(lambda: outcomes(names)["waits"] == 19, what="19 waiting tasks")
        stage.cue.set()
        return await asyncio.gather(*tasks)

    assert in_loop(main) == [["Ada"]] * 20
    assert stage.executions == 1


def test_waiter_that_is_cancelled_disturbs_nobody(outcomes, patient):
    async def main():
        stage.held = 1
        leader = asyncio.create_task(names())
        await until(stage.arrived.is_set, what="a leader")
        waiters = [asyncio.create_task(names()) for _ in range(2)]
        await until(lambda: outcomes(names)["waits"] == 2, what="2 waiting tasks")
        waiters[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiters[0]
        assert not waiters[1].done()
        stage.cue.set()
        return await leader, await waiters[1]

    assert in_loop(main) == (["Ada"], ["Ada"])
    assert stage.executions == 1
    assert not turns._flights._flying


def test_leader_that_is_cancelled_lets_the_next_take_over(outcomes, patient, valkey):
    async def main():
        stage.held = 1
        leader = asyncio.create_task(names())
        await until(stage.arrived.is_set, what="a leader")
        waiter = asyncio.create_task(names())
        await until(lambda: outcomes(names)["waits"] == 1, what="a waiting task")
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        found = await waiter
        # What the leader started in a thread cannot be cancelled.
        stage.cue.set()
        return found

    assert in_loop(main) == ["Ada"]
    assert stage.executions == 2
    assert not [key for key in valkey.scan_iter() if b":l:" in key]


def test_task_that_is_cancelled_while_it_looks_leaves_no_answer_behind(own_valkey, outcomes):
    async def main():
        await names()
        await names()
        idle = connections_of_loop()
        assert len(idle) == 1
        own_valkey.freeze()
        task = asyncio.create_task(names())
        await until(lambda: not idle, what="a look under way")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert idle == []
        own_valkey.thaw()
        return [await names() for _ in range(3)]

    with override_settings(DBOPT={"CACHE": {"SOCKET_TIMEOUT": DEADLINE}}):
        assert in_loop(main) == [["Ada"]] * 3
    assert outcomes(names)["errors"] == 0


def test_server_that_is_replaced_is_not_asked_before_it_was_met(own_valkey):
    async def main():
        await names()
        await names()
        await asyncio.to_thread(own_valkey.kill)
        await Author.objects.aupdate(name="Grace")
        await asyncio.to_thread(own_valkey.start)
        return [await names() for _ in range(5)]

    assert in_loop(main) == [["Grace"]] * 5


def test_outage_sends_tasks_to_the_database(own_valkey, outcomes):
    async def main():
        await names()
        await names()
        await asyncio.to_thread(own_valkey.kill)
        return [await names() for _ in range(3)]

    assert in_loop(main) == [["Ada"]] * 3
    assert outcomes(names)["errors"] == 3
