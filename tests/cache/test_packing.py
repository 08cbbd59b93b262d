"""The commands that each hit and each write wait for, and the statements that pass by the observer."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from redis.connection import Connection

from dbopt.cache.names.tokens import TOKEN_BYTES
from dbopt.cache.observation.transactions import state_of
from dbopt.cache.server.packing import reading, renewals
from dbopt.statements import read_statement

READS = 'SELECT "testapp_author"."id" FROM "testapp_author"'


def test_renewals_are_packed_as_the_client_packs_them():
    keys = ["dbopt:g:{_}:T:default.books", "bücher:g:{_}:R:default.books:7"]

    commands = renewals(keys, token_ms=86_400_000)

    assert [command.packed for command in commands] == [
        b"".join(Connection().pack_command(*command.words)) for command in commands
    ]
    assert [command.words[:2] for command in commands] == [("SET", key) for key in keys]
    assert all(len(command.words[2]) == TOKEN_BYTES for command in commands)


@pytest.mark.parametrize("keys", [["a"], ["dbopt:v:{_}:bücher:7", "", "dbopt:g:{_}:E"]])
def test_reading_is_packed_as_the_client_packs_it(keys):
    command = reading(keys)

    assert command.packed == b"".join(Connection().pack_command(*command.words))
    assert command.words == ("MGET", *keys)


def test_no_renewal_gives_a_key_what_it_held_before():
    tokens = [renewals(["key"], token_ms=1)[0].words[2] for _ in range(1000)]

    assert len(set(tokens)) == 1000


@pytest.mark.parametrize(
    ("sql", "only_reads"),
    [
        (READS, True),
        ("SELECT COUNT(*) FROM t", True),
        ("VALUES (1)", True),
        ("SELECT * INTO u FROM t", False),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", False),
        ("SELECT 1; SET search_path = other", False),
        ("SELECT 1; DELETE FROM t", False),
        ("SELECT set_config('search_path', 'other', false)", False),
        ("SELECT pg_catalog.set_config('role', %s, true), 1", False),
        ("SET search_path = other", False),
        ("BEGIN", False),
        ("", False),
    ],
)
def test_what_only_reads(sql, only_reads):
    assert read_statement(sql).only_reads is only_reads


@pytest.fixture
def state(transactional_db):
    connection.ensure_connection()
    run("SELECT 1")
    return state_of(connection)


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE testapp_author SET name = 'a' WHERE false",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET LOCAL search_path = pg_catalog",
    ],
)
def test_statements_pass_by_until_a_transaction_has_something_to_settle(state, change):
    assert state.is_settled

    with transaction.atomic():
        run(change)
        run("SELECT 1")
        assert not state.is_settled
    run("SELECT 1")

    assert state.is_settled


def test_what_a_transaction_set_that_the_driver_ended_unseen_is_over(state):
    with connection.cursor() as cursor:
        connection.set_autocommit(False)
        try:
            cursor.execute("SET LOCAL search_path = pg_catalog, public")
            cursor.execute(READS)
            assert state.sets_scope
            connection.connection.rollback()
            # Opens the next transaction, and passes by only if nothing is left to settle.
            cursor.execute(READS)
            assert not state.sets_scope
            connection.rollback()
        finally:
            connection.set_autocommit(True)
