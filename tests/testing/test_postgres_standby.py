"""A primary and its standby: writes arrive, lag is staged, and nothing is left."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import psycopg
import pytest

from dbopt.testing.services import postgres_standby

AHEAD = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"


@contextmanager
def connected(url):
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def await_fact(connection, query, *parameters):
    """Ask until the answer is true; statement_timeout of the test's run bounds it."""
    for _ in range(100_000):
        if connection.execute(query, parameters).fetchone()[0]:
            return
    pytest.fail(f"never true: {query}")


def test_standby_follows_and_can_be_held():
    with (
        postgres_standby.start() as pair,
        connected(pair.primary_url) as primary,
        connected(pair.standby_url) as standby,
    ):
        primary.execute("CREATE TABLE note (id int)")
        end = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        await_fact(standby, AHEAD, end)
        assert standby.execute("SELECT count(*) FROM note").fetchone() == (0,)

        standby.execute("SELECT pg_wal_replay_pause()")
        await_fact(standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
        primary.execute("INSERT INTO note VALUES (1)")
        assert standby.execute("SELECT count(*) FROM note").fetchone() == (0,)

        standby.execute("SELECT pg_wal_replay_resume()")
        await_fact(standby, "SELECT count(*) = 1 FROM note")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.execute("INSERT INTO note VALUES (2)")


def test_both_end_with_their_owner():
    code = """
        from dbopt.testing.services import postgres_standby
        pair = postgres_standby.start()
        print(pair.primary_pid, pair.standby_pid, flush=True)
        input()
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    descriptors = [os.pidfd_open(pid) for pid in pids]
    owner.kill()
    owner.communicate()

    for descriptor in descriptors:
        assert is_over(descriptor)


def is_over(descriptor):
    import select

    ready, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    return bool(ready)
