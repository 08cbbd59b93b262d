"""What a cache must know of a statement: whether it writes, locks, changes the session, or answers anew each time."""

from __future__ import annotations

import pytest
from django.db import connection

from dbopt.statements import read_statement

WAITS = {
    "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_advisory_lock", "pg_advisory_lock_shared",
    "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared",
}  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("EXPLAIN ANALYZE UPDATE t SET a = 1", {"t"}),
        ("EXPLAIN (COSTS off, ANALYZE) DELETE FROM t", {"t"}),
        ('EXPLAIN ANALYZE DELETE FROM "t" WHERE "t"."a" = %s', {"t"}),
        ("EXPLAIN ANALYZE MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE", {"t", "s"}),
        ("WITH x AS (SELECT 1) SELECT * INTO t FROM x", {"t"}),
        ("SELECT a INTO TEMP t FROM s", {"t", "s"}),
        ("CREATE TABLE t AS SELECT a FROM s", {"t", "s"}),
        ("CREATE MATERIALIZED VIEW t AS SELECT 1", {"t"}),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY t", {"t"}),
        ("TRUNCATE TABLE ONLY t, u RESTART IDENTITY CASCADE", {"t", "u"}),
        ("COPY public.t (a) FROM STDIN WITH (FORMAT csv)", {"t"}),
        ('COPY "t" FROM STDIN', {"t"}),
        ("COPY t FROM '/tmp/from/to'", {"t"}),
        ("COPY (WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x) TO STDOUT", {"t"}),
        ('INSERT INTO "Shop"."Books" ("a") SELECT 1', {"Shop", "Books"}),
        ('/* a */ -- b\n UPDATE "Books" SET "a" = %s', {"Books"}),
        ("/* /* a */ */ DELETE FROM t", {"t"}),
        ("SELECT 1; UPDATE t SET a = 1", {"t"}),
        ("BEGIN; SELECT 1; COMMIT; DELETE FROM t", {"t"}),
        ("(SELECT 1); DELETE FROM t", {"t"}),
        ("CALL p(1)", {"p"}),
        ("DO $$ BEGIN PERFORM 1; END $$", set()),
        ("EXECUTE p (1)", {"p"}),
        # Two-phase commit makes what another session wrote visible.
        ("COMMIT PREPARED 'x'", set()),
        ("ALTER TABLE t RENAME TO u", {"t", "u"}),
        ("COMMENT ON TABLE t IS 'SELECT'", {"t"}),
    ],
)
def test_writes_and_their_names(sql, names):
    statement = read_statement(sql)

    assert statement.writes
    assert names <= statement.identifiers


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN UPDATE t SET a = 1",
        "EXPLAIN (COSTS off) DELETE FROM t",
        "PREPARE p AS DELETE FROM t",
        "DEALLOCATE p",
        "DECLARE c CURSOR WITH HOLD FOR SELECT a FROM t",
        "MOVE 5 IN c",
        "CLOSE c",
        "LISTEN t",
        "NOTIFY t, 'DELETE FROM t'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "RESET ALL",
        "DISCARD ALL",
        "PREPARE TRANSACTION 'x'",
        "ROLLBACK PREPARED 'x'",
        "COPY (SELECT \"a\" FROM \"t\") TO STDOUT",
        'SELECT "into", "update" FROM "delete"',
    ],
)  # fmt: skip
def test_what_only_names_a_write_is_none(sql):
    assert not read_statement(sql).writes


@pytest.mark.parametrize(
    "sql",
    [
        "DECLARE c CURSOR FOR SELECT a FROM t FOR UPDATE",
        'SELECT "t"."a" FROM "t" WHERE "t"."a" = %s ORDER BY "t"."a" ASC LIMIT 1 FOR NO KEY UPDATE OF "t" SKIP LOCKED',
        "WITH x AS (SELECT a FROM t FOR SHARE) SELECT 1",
        "SELECT 1; LOCK t",
    ],
)
def test_locks_are_seen(sql):
    assert read_statement(sql).locks


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW transaction_isolation",
        "FETCH 5 FROM c",
        "EXPLAIN SELECT 1",
        "SELECT statement_timestamp()",
        "SELECT txid_current()",
        "SELECT pg_relation_size('t')",
        "SELECT a FROM t, crosstab('SELECT b FROM hidden') AS c (d int)",
        "SELECT query_to_xml('SELECT b FROM hidden', true, true, '')",
        "SELECT 'today 12:00'::timestamp",
        "SELECT E'now'::timestamp",
        "SELECT 1 WHERE localtimestamp > %s",
    ],
)
def test_answers_that_change_without_a_write_are_volatile(sql):
    assert read_statement(sql).volatile


@pytest.mark.parametrize("literal", ["'nowhere'", "'know'", "'today is a good day to write a long literal'"])
def test_words_that_only_hold_a_moment_are_constant(literal):
    assert not read_statement(f"SELECT a FROM t WHERE b = {literal}").volatile


@pytest.mark.django_db
def test_every_function_that_the_server_calls_volatile_is():
    """But for those that only wait: they answer nothing."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT DISTINCT proname FROM pg_proc JOIN pg_type result ON result.oid = prorettype
            WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' AND prokind = 'f'
            AND result.typname NOT LIKE '%handler' AND result.typname NOT IN ('trigger', 'event_trigger', 'internal')
            AND proname NOT LIKE 'plpgsql%' AND proname <> 'amvalidate'
        """)
        names = {row[0] for row in cursor.fetchall()}

    assert len(names) > 150
    assert {name for name in names if not read_statement(f"SELECT {name}()").volatile} == names & WAITS


@pytest.mark.parametrize(
    ("sql", "isolation"),
    [
        ("SELECT set_config('transaction_isolation', %s, true)", "unknown"),
        ("SELECT pg_catalog.set_config('default_transaction_isolation', 'serializable', false)", "unknown"),
        ("SELECT set_config('app.tenant', %s, true)", None),
        ("SELECT 'transaction_isolation'", None),
    ],
)
def test_isolation_that_a_function_chooses_is_unknown(sql, isolation):
    assert read_statement(sql).isolation == isolation


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("INSERT INTO t VALUES (%s), (%s); INSERT INTO u VALUES (%s)", "INSERT INTO t VALUES (?...); INSERT INTO u VALUES (?...)"),
        ("SELECT '1'::double precision, %s::timestamp(3) with time zone[], 'x'::a.\"B\" c", "SELECT ?, ?, ? c"),
        ("SELECT a::double precision", "SELECT a::double precision"),
        ("SELECT '1'::text WITH CHECK OPTION", "SELECT ? WITH CHECK option"),
        ('SELECT "a"."b" WHERE "a" IN (%s, %s) AND "c" IN (%s)', 'SELECT "a"."b" WHERE "a" IN (?...) AND "c" IN (?...)'),
        ("SELECT f(%s), g(%s, %s), (%s), (%s, %s)", "SELECT f(?), g(?...), (?), (?...)"),
        ('SELECT "a?" = %s', 'SELECT "a?" = ?'),
    ],
)  # fmt: skip
def test_text_is_normalised_in_rare_places_too(sql, text):
    assert read_statement(sql).text == text
