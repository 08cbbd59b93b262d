"""Fixtures of the cache's tests: an empty cache, gates inside PostgreSQL, other threads, counted commands."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import redis
from django.apps import apps
from django.conf import settings
from django.db import connection, connections

from dbopt.cache import counters, totals
from dbopt.cache.functions.decorator import CachedFunction
from dbopt.cache.server import servers

DEADLINE = 20.0


def wait_until(fact, *, what):
    """Look again and again, until a deadline, whether something has become true."""
    end = time.monotonic() + DEADLINE
    while not fact():
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE} s: {what}")
        threading.Event().wait(0.002)


@pytest.fixture
def valkey():
    """A client of the cache's server, beside the one under test."""
    client = redis.Redis.from_url(settings.CACHES["default"]["LOCATION"])
    yield client
    client.close()


def connected(valkey):
    """The connections to this run's database, as CLIENT LIST tells; other databases have test runs of their own."""
    own = str(valkey.connection_pool.connection_kwargs.get("db", 0))
    return [found for found in valkey.client_list() if found["db"] == own]


@pytest.fixture(autouse=True)
def empty_cache(valkey):
    """No value, no token, no count, no debt, and no function that knows already what it reads."""
    from tests.cache import shop

    valkey.flushdb()
    for function in vars(shop).values():
        if isinstance(function, CachedFunction):
            function._spec.forget()
    counters.reset_statistics()
    servers.forget()
    with totals.paused():
        yield
    servers.forget()


def waiting(watcher, *events):
    """Count the statements of this database that wait for such a lock; other databases have test runs of their own."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = ANY(%s)
    """
    return watcher.execute(query, [list(events)]).fetchone()[0]


class Gate:
    """An advisory lock that a statement waits for: `pg_advisory_xact_lock_shared(number)`."""

    def __init__(self, number, holder):
        self.number = number
        self._holder = holder

    def wait_for_visitor(self):
        """Return when a statement stands before this gate, and no other."""
        query = """
            SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND objid = %s
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
        wait_until(lambda: self._holder.execute(query, [self.number]).fetchone()[0], what="a statement at the gate")

    def open(self):
        """Let everybody pass."""
        self._holder.execute("SELECT pg_advisory_unlock_all()")


def connect(**options):
    """A connection that Django knows nothing of."""
    parameters = {**connections["default"].get_connection_params(), **options}
    return psycopg.connect(
        autocommit=True, **{k: parameters[k] for k in ("host", "port", "user", "password", "dbname") if k in parameters}
    )


@pytest.fixture(autouse=True)
def _django_db_marker(request):
    """Replace pytest-django's fixture of that name: the shop's database is emptied by `shop_database` alone."""
    if request.node.get_closest_marker("django_db") and "shop_database" not in request.fixturenames:
        request.getfixturevalue("_django_db_helper")


@pytest.fixture
def shop_database(django_db_setup, django_db_blocker):
    """The bookshop's tables with real commits, empty again afterwards.

    Emptying these few takes a hundredth of the time that Django's flush of all tables takes.
    """
    with django_db_blocker.unblock():
        assert connection.settings_dict["NAME"].startswith("test_")
        yield
        connections.close_all()
        tables = [
            table
            for model in apps.get_app_config("testapp").get_models(include_auto_created=True)
            for table in [model._meta.db_table]
            if model._meta.managed
        ]
        with connect() as cleaner:
            cleaner.execute("SET session_replication_role = replica")
            cleaner.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))


@pytest.fixture
def outside(shop_database):
    """A connection that Django knows nothing of, like another program's."""
    with connect() as holder:
        yield holder


GATE = 4711


@pytest.fixture
def gate(outside, threads):
    """A closed gate; it opens before anybody waits for the threads, also when a test fails."""
    outside.execute("SELECT pg_advisory_lock(%s)", [GATE])
    yield Gate(GATE, outside)
    outside.execute("SELECT pg_advisory_unlock_all()")


@pytest.fixture
def commit_gate(gate, outside):
    """Every COMMIT of a change to authors waits at the gate."""
    outside.execute(
        f"CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END $$"
    )
    outside.execute(
        "CREATE CONSTRAINT TRIGGER wait_at_gate AFTER UPDATE ON testapp_author DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NEW.name = 'Grace') EXECUTE FUNCTION wait_at_gate()"
    )
    yield gate
    gate.open()
    outside.execute("DROP FUNCTION wait_at_gate() CASCADE")


@pytest.fixture
def threads():
    """Run functions in threads of their own, which close their connections; `threads(f, ...)` returns a future."""
    with ThreadPoolExecutor(max_workers=16) as pool:

        def run(function, *args, **kwargs):
            def closing():
                try:
                    return function(*args, **kwargs)
                finally:
                    connections.close_all()

            return pool.submit(closing)

        yield run


@pytest.fixture
def elsewhere(threads):
    """Call a function in a new thread and return what it returns."""
    return lambda function, *args, **kwargs: threads(function, *args, **kwargs).result(DEADLINE)


@pytest.fixture
def commands(monkeypatch):
    """Count round trips to the cache server: `with commands() as sent: ...` gives the commands, a list a round trip."""
    sent = []
    from redis.client import Pipeline, Redis

    from dbopt.cache.server.roads import Road

    plain, piped, exchange = Redis.execute_command, Pipeline.execute, Road.exchange

    def execute_command(self, *args, **options):
        if not isinstance(self, Pipeline):
            sent.append([args[0]])
        return plain(self, *args, **options)

    def execute(self, *args, **kwargs):
        sent.append([command.args[0] if hasattr(command, "args") else command[0][0] for command in self.command_stack])
        return piped(self, *args, **kwargs)

    def exchanging(self, commands):
        sent.append([command.words[0] for command in commands])
        return exchange(self, commands)

    monkeypatch.setattr(Road, "exchange", exchanging)
    monkeypatch.setattr(Redis, "execute_command", execute_command)
    monkeypatch.setattr(Pipeline, "execute", execute)

    @contextmanager
    def counting():
        sent.clear()
        yield sent

    return counting


@pytest.fixture
def queries():
    """Count SQL statements of this thread: `with queries() as ran: ...` gives their texts."""

    @contextmanager
    def counting():
        ran = []

        def note(execute, sql, params, many, context):
            ran.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            yield ran

    return counting


@pytest.fixture
def outcomes():
    """Return the counters of a cached function."""
    return lambda function: counters.counters_of(function._spec.name).snapshot()
