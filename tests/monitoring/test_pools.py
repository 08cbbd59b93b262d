"""Pool numbers, as they are at the moment."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections
from django.db.utils import OperationalError

from dbopt.monitoring.pools import pool_state, pool_states

pytestmark = pytest.mark.usefixtures("statistics")


def in_threads(count, work):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_alias_without_pool_counts_the_open_connections_of_this_process(new_alias):
    new_alias("plain")
    connected, leave = threading.Barrier(4), threading.Event()

    def work():
        with connections["plain"].cursor() as cursor:
            cursor.execute("SELECT 1")
        connected.wait(10)
        leave.wait(10)
        connections["plain"].close()

    assert pool_state("plain").total == 0
    threads = in_threads(3, work)
    connected.wait(10)
    state = pool_state("plain")
    leave.set()
    for thread in threads:
        thread.join()

    assert (state.pooled, state.total, state.idle, state.busy, state.maximum) == (False, 3, 0, 3, None)
    assert state.utilization() is None
    assert state.utilization(97) == 0.0309
    assert pool_state("plain").total == 0


def test_reading_creates_no_pool(new_alias):
    pooled = new_alias("pooled", pool={"min_size": 1, "max_size": 3})

    state = pool_state("pooled")

    assert (state.pooled, state.total, state.maximum, state.waiting, state.timeouts) == (True, 0, 3, 0, 0)
    assert state.utilization() == 0
    assert "pooled" not in pooled._connection_pools


def test_pool_in_use_shows_busy_and_idle(new_alias):
    pooled = new_alias("pooled", pool={"min_size": 2, "max_size": 4})
    with pooled.cursor() as cursor:
        cursor.execute("SELECT 1")
    pooled.pool.wait(10)

    state = pool_state("pooled")

    assert state.total in (2, 3)  # the first caller may have come before both were there, and got a third
    assert (state.total - state.idle, state.busy, state.maximum) == (1, 1, 4)
    assert state.utilization() == 0.25


def test_callers_that_gave_up_are_not_waiting_any_more(new_alias):
    pooled = new_alias("pooled", pool={"min_size": 1, "max_size": 1, "timeout": 0.2})
    pooled.ensure_connection()
    refused = []

    def work():
        try:
            connections["pooled"].ensure_connection()
        except OperationalError:
            refused.append(1)

    for thread in in_threads(3, work):
        thread.join()

    state = pool_state("pooled")
    assert len(refused) == 3
    assert (state.waiting, state.timeouts) == (0, 3)


def test_caller_that_waits_is_seen(new_alias):
    pooled = new_alias("pooled", pool={"min_size": 1, "max_size": 1, "timeout": 10})
    pooled.ensure_connection()

    def work():
        connections["pooled"].ensure_connection()
        connections["pooled"].close()

    (thread,) = in_threads(1, work)
    deadline = threading.Event()
    for _ in range(200):
        if pool_state("pooled").waiting == 1:
            break
        deadline.wait(0.05)
    waiting = pool_state("pooled").waiting
    pooled.close()
    thread.join()

    assert waiting == 1
    assert pool_state("pooled").waiting == 0


def test_alias_that_mirrors_another_is_for_reading(new_alias):
    new_alias("replica")
    connections.settings["replica"]["TEST"]["MIRROR"] = "default"

    kinds = {state.alias: state.pool_type for state in pool_states()}

    connections.settings["replica"]["TEST"]["MIRROR"] = None
    assert kinds == {"default": "write", "replica": "read"}
    assert connection.vendor == "postgresql"
