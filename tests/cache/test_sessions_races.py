"""Many requests of one session at once, in threads and in processes: no change is lost, no end is undone."""

from __future__ import annotations

import os
import threading

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted

from dbopt.cache.sessions import SessionStore, revoke, sessions_of
from tests.cache.visits import _sessions, again, of_user, place, stored, user  # noqa: F401 - a fixture

DEADLINE = 30
REQUESTS = 8


def at_once(threads, *functions):
    """Run functions that begin together; returns what they return."""
    barrier = threading.Barrier(len(functions))

    def begin(function):
        barrier.wait(DEADLINE)
        return function()

    return [future.result(DEADLINE) for future in [threads(begin, function) for function in functions]]


def test_every_key_of_many_requests_survives(threads):
    session = stored()

    def request(number):
        mine = again(session)

        def save():
            for turn in range(5):
                mine[f"{number}.{turn}"] = [number] * 50
                mine.save()

        return save

    at_once(threads, *[request(number) for number in range(REQUESTS)])

    assert sorted(again(session).keys()) == sorted(f"{n}.{turn}" for n in range(REQUESTS) for turn in range(5))


def test_keys_that_requests_delete_stay_deleted(threads):
    session = stored(**{str(number): number for number in range(REQUESTS)}, rest=1)

    def request(number):
        mine = again(session)

        def save():
            del mine[str(number)]
            mine.save()

        return save

    at_once(threads, *[request(number) for number in range(REQUESTS)])

    assert dict(again(session).items()) == {"rest": 1}


def saving(session, *, until_it_ends=100_000):
    """A request that goes on saving until it is told that the session ended."""
    mine = again(session)

    def save():
        for turn in range(until_it_ends):
            mine["turn"] = turn
            try:
                mine.save()
            except UpdateError:
                return "ended"
        return "went on"

    return save


@pytest.mark.parametrize(
    "end",
    [
        lambda session: SessionStore(session.session_key).flush(),
        lambda session: SessionStore().delete(session.session_key),
        lambda session: revoke(user(7)),
    ],
    ids=["flush", "delete", "revoke"],
)
def test_ended_session_is_not_brought_back_by_requests_under_way(end, threads, valkey):
    session = of_user(7)
    under_way = [saving(session) for _ in range(4)]

    outcomes = at_once(threads, *under_way, lambda: end(session))

    assert outcomes[:-1] == ["ended"] * 4
    assert valkey.get(place(session)) == b""
    assert sessions_of(user(7)) == []


def test_new_key_takes_all_changes_that_were_saved_before_it(threads):
    session = stored()
    under_way = again(session)
    saved = []

    def save():
        for turn in range(100_000):
            under_way[f"turn {turn}"] = turn
            try:
                under_way.save()
            except UpdateError:
                return
            saved.append(f"turn {turn}")

    def log_in():
        mine = again(session)
        while len(saved) < 3:
            threading.Event().wait(0.001)
        mine.cycle_key()
        mine["_auth_user_id"] = "7"
        mine.save()
        return mine.session_key

    _, key = at_once(threads, save, log_in)

    assert sorted(SessionStore(key).keys()) == sorted([*saved, "_auth_user_id"])


def test_one_of_many_new_keys_of_a_logged_in_session_wins(threads):
    session = of_user(7)
    requests = [again(session) for _ in range(REQUESTS)]

    def cycle(mine):
        try:
            mine.cycle_key()
        except SessionInterrupted:
            return None
        return mine.session_key

    keys = at_once(threads, *[lambda mine=mine: cycle(mine) for mine in requests])

    (key,) = [key for key in keys if key]
    assert [found.session_key for found in sessions_of(user(7))] == [key]


def test_no_session_outlives_a_revocation_unseen(threads):
    """Whatever was logged in before, and is alive afterwards, can be revoked by the next one."""
    started = [stored() for _ in range(REQUESTS)]

    def log_in(session):
        mine = again(session)

        def run():
            mine.cycle_key()
            mine["_auth_user_id"] = "7"
            try:
                mine.save()
            except UpdateError:
                return None
            return mine.session_key

        return run

    keys = at_once(threads, *map(log_in, started), lambda: revoke(user(7)))[:-1]

    alive = {key for key in keys if key and SessionStore(key).get("_auth_user_id")}
    assert {found.session_key for found in sessions_of(user(7))} == alive
    revoke(user(7))
    assert not any(SessionStore(key).get("_auth_user_id") for key in alive)


def in_child(function):
    """Run a function in a forked process and return a function that waits for its success."""
    ready, steady = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.read(ready, 1)
            function()
            status = 0
        finally:
            os._exit(status)

    def go():
        os.write(steady, b".")

    def wait():
        _, status = os.waitpid(pid, 0)
        os.close(ready)
        os.close(steady)
        assert os.waitstatus_to_exitcode(status) == 0

    return go, wait


def test_processes_forked_with_a_live_connection_lose_nothing():
    """A child that used its parent's socket would read the parent's answers."""
    session = stored()

    def request(number):
        mine = again(session)

        def save():
            for turn in range(20):
                mine[f"{number}.{turn}"] = number
                mine.save()
                assert SessionStore(session.session_key)[f"{number}.{turn}"] == number

        return save

    children = [in_child(request(number)) for number in range(3)]
    for go, _ in children:
        go()
    request(3)()
    for _, wait in children:
        wait()

    assert sorted(again(session).keys()) == sorted(f"{n}.{turn}" for n in range(4) for turn in range(20))
