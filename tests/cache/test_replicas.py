"""Rows of a replica: used, but stored only when the replica must have seen all writes."""

# ruff: noqa: PLR0913, PLR0917  parameters of a test are its circumstances

from __future__ import annotations

import threading
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.cache import cached_query, invalidate
from dbopt.cache.names import tokens
from dbopt.cache.observation import replicas
from dbopt.health.readiness import readiness
from dbopt.health.servers import forget_checks
from dbopt.testing.services import postgres, postgres_standby
from tests.cache.conftest import connect, wait_until
from tests.cache.databases import second_database
from tests.cache.stages import clock
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300)
def names():
    """As a project with a router has it: where it reads is not among its arguments."""
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300)
def name_of(pk: int):
    return Author.objects.filter(pk=pk).values_list("name", flat=True).first()


@cached_query(timeout=300, level="strict")
def strict_names():
    return list(Author.objects.values_list("name", flat=True))


class Router:
    """Reads go where the test says."""

    source = "replica"
    target = "default"

    def db_for_read(self, model, **hints):
        return self.source

    def db_for_write(self, model, **hints):
        return self.target


class Replica:
    """A second database into which the rows of the first come when the test says so."""

    def __init__(self, router):
        self._router = router

    def catch_up(self):
        name = f"{connection.settings_dict['NAME']}_replica"
        with connect() as source, connect(dbname=name) as target:
            rows = source.execute("SELECT id, name, email FROM testapp_author").fetchall()
            target.execute("DELETE FROM testapp_author")
            for row in rows:
                target.execute("INSERT INTO testapp_author (id, name, email) VALUES (%s, %s, %s)", row)

    def retire(self):
        """Have the router read from the primary."""
        self._router.source = "default"


def lagging(seconds):
    return override_settings(DBOPT={**settings.DBOPT, "CACHE": {"REPLICA_LAG": seconds}})


@pytest.fixture
def replica(outside):
    router = Router()
    with second_database(outside, "replica", MIRROR="default"), override_settings(DATABASE_ROUTERS=[router]):
        yield Replica(router)


@pytest.fixture
def ada(replica):
    author = Author.objects.create(name="Ada", email="ada@example.org")
    replica.catch_up()
    return author


def rename(author):
    Author.objects.filter(pk=author.pk).update(name="Grace")


def rename_atomically(author):
    with atomic():
        rename(author)


@pytest.mark.parametrize("write", [rename, rename_atomically])
def test_r10_old_rows_are_used_and_not_stored(ada, replica, elsewhere, outcomes, write):
    with lagging(60):
        write(ada)
        assert elsewhere(names) == ["Ada"]
        assert elsewhere(name_of, ada.pk) == "Ada"
        replica.catch_up()

        assert elsewhere(names) == ["Grace"]
        assert elsewhere(name_of, ada.pk) == "Grace"

    assert outcomes(names)["refused"] == {"hold_off": 2}
    assert outcomes(name_of)["refused"] == {"hold_off": 2}


def test_r10b_old_rows_are_not_served_for_the_primary(ada, replica, elsewhere):
    with lagging(60):
        rename(ada)
        assert elsewhere(names) == ["Ada"]
        replica.retire()

        assert elsewhere(names) == ["Grace"]


def test_rows_are_stored_when_the_hold_off_is_over(ada, replica, elsewhere, outcomes):
    with lagging(0.3):
        rename(ada)
        replica.catch_up()

        wait_until(lambda: elsewhere(names) == ["Grace"] and outcomes(names)["hits"], what="a hit")
        assert set(outcomes(names)["refused"]) <= {"hold_off"}


def test_write_on_the_primary_makes_rows_of_the_replica_invalid(ada, replica, elsewhere, outcomes):
    with lagging(0):
        assert elsewhere(names) == elsewhere(names) == ["Ada"]
        rename(ada)
        replica.catch_up()

        assert elsewhere(names) == ["Grace"]
        assert outcomes(names)["hits"] == 1


def test_other_rows_than_the_written_ones_are_stored(ada, replica, elsewhere, outcomes):
    with lagging(0):
        ben = Author.objects.create(name="Ben", email="ben@example.org")
        replica.catch_up()
        elsewhere(name_of, ben.pk)
    with lagging(60):
        rename(ada)
        assert elsewhere(name_of, ben.pk) == "Ben"

    assert outcomes(name_of)["hits"] == 1


def test_token_that_is_made_anew_holds_off_too(ada, replica, elsewhere, outcomes, valkey):
    """The one that was evicted may have been renewed a moment ago."""
    with lagging(60):
        rename(ada)
        valkey.flushdb()

        assert elsewhere(names) == ["Ada"]

    assert outcomes(names)["refused"] == {"hold_off": 1}


@pytest.mark.parametrize("ahead", [-3600, 3600])
@pytest.mark.parametrize(("lag", "stored"), [(60, 0), (0, 1)])
def test_clock_of_the_writer_does_not_matter(ada, outcomes, ahead, lag, stored, monkeypatch):
    with lagging(lag):
        with monkeypatch.context() as patch:
            clock(patch, [tokens], ahead=ahead)
            rename(ada)
        names()

    assert outcomes(names)["sets"] == stored


def test_strict_result_never_comes_from_a_replica(ada, outcomes):
    declared = {"STRICT": ["*"], "REPLICA_LAG": 0}
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": declared}):
        strict_names()

    assert outcomes(strict_names)["refused"] == {"replica": 1}


def test_without_replicas_nothing_costs_more(shop_database, commands):
    Author.objects.create(name="Ada", email="ada@example.org")

    with commands() as sent:
        rename(Author.objects.get())

    assert sent == [["SET", "SET"]]


@pytest.fixture(scope="session")
def pair():
    """A real primary with its standby, with the table of authors."""
    with postgres_standby.start() as running:
        yield running


class Standby:
    """A real standby, which the test holds and lets go."""

    def __init__(self, connection):
        self._connection = connection

    def pause(self):
        self._connection.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self._is("pg_get_wal_replay_pause_state() = 'paused'"), what="a standby that waits")

    def resume(self):
        self._connection.execute("SELECT pg_wal_replay_resume()")

    def _is(self, fact):
        return self._connection.execute(f"SELECT {fact}").fetchone()[0]

    def catch_up(self):
        """Return when it has replayed all that was committed by now."""
        self.resume()
        with connections["streamed"].cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
            (end,) = cursor.fetchone()
        wait_until(lambda: self._is(f"pg_last_wal_replay_lsn() >= '{end}'"), what="a standby in step")


@pytest.fixture
def standby(pair, shop_database):
    """Aliases `streamed` and `standby` for the pair; models are written to the one and read from the other."""
    known = connections["default"].settings_dict
    where = {"HOST": "127.0.0.1", "USER": postgres.USER, "NAME": postgres.DATABASE}
    primary = {**known, **where, "PORT": pair.primary_port, "TEST": {**known["TEST"], "MIRROR": None}}
    replica = {**primary, "PORT": pair.standby_port, "TEST": {**known["TEST"], "MIRROR": "streamed"}}
    router = Router()
    router.source, router.target = "standby", "streamed"
    connections.settings.update({"streamed": primary, "standby": replica})
    replicas._logs.clear()
    try:
        with connections["streamed"].schema_editor() as editor:
            editor.create_model(Author)
        with psycopg.connect(pair.standby_url, autocommit=True) as control:
            held = Standby(control)
            held.catch_up()
            with override_settings(DATABASE_ROUTERS=[router]):
                yield held
            held.resume()
        with connections["streamed"].schema_editor() as editor:
            editor.delete_model(Author)
    finally:
        for alias in ("streamed", "standby"):
            connections[alias].close()
            del connections[alias], connections.settings[alias]


def consistency(kind, *, lag=2.0):
    cache = {"REPLICA_CONSISTENCY": kind, "REPLICA_LAG": lag, "CONNECT_TIMEOUT": 5, "SOCKET_TIMEOUT": 5}
    return override_settings(DBOPT={**settings.DBOPT, "CACHE": cache})


@pytest.fixture
def streamed_ada(standby):
    author = Author.objects.create(name="Ada", email="ada@example.org")
    standby.catch_up()
    return author


def rename_late(author):
    """As a server does that answers before its log is written."""
    with atomic(using="streamed"), connections["streamed"].cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        rename(author)


def rename_by_hand(author):
    """In a manual transaction."""
    raw = connections["streamed"]
    raw.set_autocommit(False)
    rename(author)
    raw.commit()
    raw.set_autocommit(True)


@pytest.mark.parametrize("write", [rename, rename_late, rename_by_hand])
def test_lsn_stores_when_the_write_was_replayed_and_not_before(streamed_ada, standby, elsewhere, outcomes, write):
    with consistency("lsn", lag=0.3):
        wait_until(lambda: elsewhere(names) and outcomes(names)["hits"], what="a hit")
        standby.pause()
        write(streamed_ada)

        for _ in range(3):
            assert elsewhere(names) == ["Ada"]
        assert (outcomes(names)["hits"], outcomes(names)["refused"]["replica_behind"]) == (1, 3)
        standby.catch_up()
        assert elsewhere(names) == elsewhere(names) == ["Grace"]

    assert outcomes(names)["hits"] == 2


def test_lsn_depends_on_no_time(streamed_ada, standby, elsewhere, outcomes):
    """The hold-off would be over at once, and lag not be looked at."""
    with consistency("lsn", lag=0):
        assert elsewhere(names) == elsewhere(names) == ["Ada"]
        standby.pause()
        rename(streamed_ada)

        assert elsewhere(names) == elsewhere(names) == ["Ada"]
        assert outcomes(names)["hits"] == 1
        standby.catch_up()

        assert elsewhere(names) == ["Grace"]


def test_lsn_costs_a_statement_a_write_and_none_a_hit(streamed_ada, standby, asked):
    with consistency("lsn", lag=0):
        names()
        with asked() as writing:
            rename(streamed_ada)
            rename_atomically(streamed_ada)
        standby.catch_up()
        with asked() as missing:
            names()
        with asked() as hitting:
            names()

        assert (writing, missing, hitting) == (["written"] * 2, ["replayed"], [])


@pytest.fixture
def asked(monkeypatch):
    """Count what is asked of primaries and replicas beside the statements of the test."""
    sent = []
    ask = replicas._ask
    kinds = {replicas._WRITTEN: "written", replicas._REPLAYED: "replayed"}

    def noting(raw, query):
        # Not the thread that measures lag.
        if threading.current_thread() is threading.main_thread():
            sent.append(kinds[query])
        return ask(raw, query)

    monkeypatch.setattr(replicas, "_ask", noting)

    @contextmanager
    def counting():
        sent.clear()
        yield (found := [])
        found[:] = sent

    return counting


def test_renewal_by_hand_holds_off_by_time(streamed_ada, standby, elsewhere, outcomes):
    with consistency("lsn", lag=3600):
        names()
        standby.catch_up()
        invalidate(Author, using="streamed")

        assert elsewhere(names) == ["Ada"]

    assert outcomes(names)["refused"]["hold_off"] >= 1


@pytest.mark.parametrize("kind", ["holdoff", "lsn"])
def test_lag_beyond_the_budget_stores_nothing_until_it_is_over(
    streamed_ada, standby, elsewhere, outcomes, valkey, kind
):
    """All tokens are gone, so none tells of the write: only the lag does."""
    lag = 0.2
    with consistency(kind, lag=lag):
        wait_until(lambda: elsewhere(names) and outcomes(names)["hits"], what="a hit")
        standby.pause()
        with connections["streamed"].cursor() as cursor:
            cursor.execute("UPDATE testapp_author SET name = 'Grace'")
        valkey.flushdb()
        log = replicas._log_of("streamed")
        wait_until(lambda: elsewhere(names) and outcomes(names)["refused"].get("replica_lag"), what="a refusal")
        hits = outcomes(names)["hits"]
        for _ in range(3):
            newest = log._asked[-1]
            wait_until(lambda newest=newest: elsewhere(names) and log._asked[-1] != newest, what="a later look")
        assert elsewhere(names) == ["Ada"]
        assert outcomes(names)["hits"] == hits

        standby.catch_up()
        wait_until(lambda: elsewhere(names) == ["Grace"] and outcomes(names)["hits"] > hits, what="a hit again")


def test_replica_and_primary_share_entries(streamed_ada, standby, elsewhere, outcomes):
    """The router changes its mind in the middle of a request."""
    (router,) = settings.DATABASE_ROUTERS
    with consistency("lsn", lag=0):
        rename(streamed_ada)
        standby.catch_up()
        assert names() == ["Grace"]
        router.source = "streamed"
        assert names() == ["Grace"]
        standby.pause()
        Author.objects.filter(pk=streamed_ada.pk).update(name="Hedy")
        assert names() == ["Hedy"]
        router.source = "standby"
        assert names() == ["Hedy"]

    assert outcomes(names)["hits"] == 2


def test_primary_out_of_reach_stores_nothing_and_holds_nobody_up(
    streamed_ada, standby, elsewhere, outcomes, monkeypatch
):
    with consistency("holdoff", lag=0.2):
        connections.settings["streamed"]["PORT"] = 1
        wait_until(lambda: elsewhere(names) and outcomes(names)["refused"].get("replica_lag"), what="a refusal")

    assert outcomes(names)["hits"] == 0


def test_hold_off_covers_a_replica_that_lags_less(streamed_ada, standby, elsewhere, outcomes):
    with consistency("holdoff", lag=0.3):
        wait_until(lambda: elsewhere(names) and outcomes(names)["hits"], what="a hit")
        standby.pause()
        rename(streamed_ada)
        assert elsewhere(names) == ["Ada"]
        assert outcomes(names)["refused"]["hold_off"] >= 1
        standby.catch_up()

        wait_until(lambda: elsewhere(names) == ["Grace"] and outcomes(names)["hits"] > 1, what="the new name, stored")


def test_health_names_a_replica_that_lags(streamed_ada, standby):
    """Also while nobody reads from it."""
    dbopt = {
        **settings.DBOPT,
        "CACHE": {"REPLICA_LAG": 0.2},
        "HEALTH": {"CHECK_TTL": 0, "CHECK_TIMEOUT": 5},
        "NEO4J": {},
    }
    with override_settings(DBOPT=dbopt):
        wait_until(lambda: health_of("standby").passed, what="a replica in step")
        standby.pause()
        rename(streamed_ada)
        wait_until(lambda: health_of("standby").error == "ReplicaLagError", what="a failed check")
        assert health_of("streamed").passed
        assert readiness().status == "warn"

        standby.catch_up()
        wait_until(lambda: health_of("standby").passed, what="a replica in step again")


def health_of(alias):
    forget_checks()
    return readiness().results[f"database.{alias}"]
