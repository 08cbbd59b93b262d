"""What a session is set to (search path, role, variables of policies) keeps tenants apart, or the cache away."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.transaction import atomic
from django.test import override_settings
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from psycopg import sql

from dbopt.cache import cached_metrics, cached_query
from dbopt.cache.observation.assignments import Special
from dbopt.cache.observation.scopes import session_scope
from dbopt.cache.observation.transactions import watch
from tests.cache.stages import unhurried
from tests.fuzzing import examples
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

# Roles belong to the whole server, on which other databases have test runs of their own.
READER = f"reader_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"

TENANT = "set_config('app.tenant', %s, false)"
PATHS = {"one": "SET search_path TO one", "two": "SET search_path TO two"}


@cached_query(timeout=300)
def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, shared=True)
def shared_names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300)
def names_on(path):
    execute(f"SET search_path TO {path}")
    found = list(Author.objects.values_list("name", flat=True))
    execute("RESET search_path")
    return found


@cached_query(timeout=300)
def outer(path):
    execute(f"SET search_path TO {path}")
    found = names()
    execute("RESET search_path")
    return found


@cached_metrics(timeout=300)
def counted():
    return Author.objects.count()


def execute(statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


@contextmanager
def declared(*variables):
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"SESSION_VARIABLES": list(variables)}}):
        yield


@pytest.fixture(autouse=True)
def patience():
    with unhurried():
        yield


@pytest.fixture
def schemas(outside):
    """The table of authors in two schemas more, each with the name of its schema in it."""
    for schema in ("one", "two"):
        outside.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        outside.execute(f"CREATE TABLE {schema}.testapp_author (LIKE public.testapp_author INCLUDING ALL)")
        outside.execute(f"INSERT INTO {schema}.testapp_author (id, name, email) VALUES (1, '{schema}', '')")
    yield
    outside.execute("DROP SCHEMA one CASCADE; DROP SCHEMA two CASCADE")


@pytest.fixture
def policy(outside):
    """A policy that shows the authors whose e-mail address names the tenant, to a role that owns nothing."""
    outside.execute(
        "INSERT INTO testapp_author (id, name, email) VALUES (1, 'one', 'one'), (2, 'two', 'two');"
        "ALTER TABLE testapp_author ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON testapp_author USING (email = current_setting('app.tenant', true));"
        f"CREATE ROLE {READER}; GRANT SELECT ON testapp_author TO {READER}"
    )
    yield
    outside.execute(
        "DROP POLICY own ON testapp_author; ALTER TABLE testapp_author DISABLE ROW LEVEL SECURITY;"
        f"REVOKE ALL ON testapp_author FROM {READER}; DROP ROLE {READER}"
    )


@pytest.mark.parametrize("variables", [[], ["search_path"]])
@pytest.mark.parametrize("function", [names, shared_names])
def test_two_schemas_never_share(schemas, outcomes, variables, function, elsewhere):
    def read(schema):
        execute(PATHS[schema])
        return function()

    with declared(*variables):
        for _ in range(2):
            for schema in ("one", "two"):
                assert elsewhere(read, schema) == read(schema) == [schema]
        execute("RESET search_path")
        assert elsewhere(function) == function() == []

    if variables:
        assert outcomes(function)["hits"] == 7
    else:
        assert outcomes(function)["bypass"] == {"session_scope": 8}


@pytest.mark.parametrize("variables", [[], ["app.tenant", "role"]])
def test_two_tenants_of_a_policy_never_share(policy, outcomes, variables, elsewhere):
    def read(tenant):
        execute(f"SET ROLE {READER}")
        execute(f"SELECT {TENANT}", [tenant])
        return names()

    with declared(*variables):
        for _ in range(2):
            for tenant in ("one", "two"):
                assert elsewhere(read, tenant) == [tenant]

    assert outcomes(names)["hits"] == (2 if variables else 0)


@pytest.mark.parametrize("variables", [[], ["app.tenant"]])
def test_local_values_end_with_their_transaction(policy, outcomes, variables):
    def read(tenant):
        with atomic():
            execute(f"SET LOCAL ROLE {READER}")
            execute("SELECT set_config('app.tenant', %s, true)", [tenant])
            return names()

    with declared(*variables, "role"):
        for _ in range(2):
            assert read("one") == ["one"]
            assert read("two") == ["two"]
            assert names() == ["one", "two"]

    assert outcomes(names)["hits"] == (3 if variables else 1)


def test_every_alias_of_a_thread_counts(schemas, outcomes):
    execute("SET search_path TO one")
    connections["default"].close()

    assert names() == names() == []
    assert outcomes(names)["hits"] == 1


def test_function_that_sets_its_own_scope_is_not_stored(schemas, outcomes):
    with declared("search_path"):
        for function in (names_on, outer):
            for _ in range(2):
                assert function("one") == ["one"]
                assert function("two") == ["two"]

            assert outcomes(function)["refused"] == {"session_scope": 4}


def test_metrics_of_a_scope_are_computed_by_their_caller(schemas, outcomes):
    with declared("search_path"):
        execute("SET search_path TO one")
        assert counted() == 1

    assert outcomes(counted)["bypass"] == {"session_scope": 1}


@pytest.mark.parametrize(
    ("statement", "parameters", "found"),
    [
        ("SET app.tenant = '42'", None, "'42'"),
        ("set session App.Tenant to 42;", None, "42"),
        ("SET app.tenant TO %s", ["42"], "%str:42"),
        ("/* who */ SET app.tenant = 42", None, "42"),
        (b"SET app.tenant = 42", None, "42"),
        (sql.SQL("SET app.tenant = {}").format(sql.Literal("42")), None, "'42'"),
        (f"SELECT {TENANT}", ["42"], "%str:42"),
        ("SET app.tenant TO %s", (42,), "%int:42"),
        (
            "SELECT set_config('app.other', 'x', true), pg_catalog.set_config('app.tenant', 'a''b', FALSE)",
            None,
            "%str:a'b",
        ),
    ],
)
def test_value_is_read_from_the_statement(statement, parameters, found, queries):
    with declared("app.tenant"), queries() as ran:
        execute(statement, parameters)
        assert session_scope() == (("default", "app.tenant", found),)

    assert len(ran) == 1


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("search_path", "SET SCHEMA 'one'"),
        ("role", "SET ROLE pg_read_all_data"),
        ("role", "SET ROLE = pg_read_all_data"),
        ("session_authorization", "SET SESSION AUTHORIZATION pg_monitor"),
        ("timezone", "SET TIME ZONE 'Asia/Tokyo'"),
        ("row_security", "SET row_security TO off"),
    ],
)
def test_names(name, statement):
    execute(statement)

    assert [part[1] for part in session_scope()] == [name]
    assert why_not() == "session_scope"


def why_not():
    """Return why a cached function is bypassed now."""
    return names._obstacle()


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("SELECT set_config('app.tenant', 'a' || 'b', false)", None),
        ("SELECT set_config('app.tenant', email, false) FROM testapp_author", None),
        ("SELECT set_config(%s, email, false) FROM testapp_author", ["app.tenant"]),
        ("SELECT set_config('app.tenant', %(tenant)s, false)", {"tenant": "42"}),
        ("SET app.tenant = '1'; SELECT 1", None),
        ("SELECT 1; SET app.tenant = '1'", None),
    ],
)
def test_what_nobody_can_tell_keeps_away(statement, parameters):
    with declared("app.tenant"):
        execute(statement, parameters)
        assert why_not() == "session_scope"
        execute("RESET ALL")
        assert why_not() == "session_scope"
        execute("DISCARD ALL")
        assert why_not() is None


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = 100",
        "SET LOCAL enable_seqscan = off",
        "SET work_mem TO '8MB'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT 1; SET CONSTRAINTS ALL DEFERRED",
        "SELECT set_config('lock_timeout', '1s', false)",
        "DISCARD PLANS",
        "RESET ROLE",
        "SET ROLE NONE",
        "SET search_path TO DEFAULT",
        "SET LOCAL search_path TO one",
    ],
)
def test_what_changes_no_rows_changes_nothing(statement):
    execute(statement)
    connection.rollback()

    assert (session_scope(), why_not()) == ((), None)


@pytest.mark.parametrize("ending", ["RESET app.tenant", "RESET ALL", "DISCARD ALL", "SET app.tenant TO DEFAULT"])
def test_reset(ending):
    execute("SET app.tenant = '1'")
    execute(ending)

    assert session_scope() == ()


def test_reset_all_leaves_role_and_user():
    execute("SET SESSION AUTHORIZATION DEFAULT")
    execute("SET ROLE pg_monitor")
    execute("SET app.tenant = '1'")
    execute("RESET ALL")

    assert session_scope() == (("default", "role", "pg_monitor"),)


def test_other_user_is_in_no_role():
    execute("SET ROLE pg_monitor")
    execute("SET SESSION AUTHORIZATION DEFAULT")

    assert session_scope() == ()


def test_failed_statement_sets_nothing():
    with pytest.raises(Exception, match="does not exist"):
        execute("SET ROLE nobody_at_all")

    assert session_scope() == ()


def real():
    """Ask the session itself."""
    with connection.connection.cursor() as cursor:
        return cursor.execute("SELECT coalesce(current_setting('app.tenant', true), '')").fetchone()[0]


def known():
    with declared("app.tenant"):
        return why_not() or dict(part[1:] for part in session_scope()).get("app.tenant", "")


def test_transaction_keeps_and_undoes():
    execute("SET app.tenant = 1")
    with atomic():
        execute("SET app.tenant = 2")
        execute("SET LOCAL app.tenant = 3")
        assert known() == real() == "3"
    assert known() == real() == "2"
    with suppress(LookupError), atomic():
        execute("SET app.tenant = 4")
        assert known() == real() == "4"
        raise LookupError
    assert known() == real() == "2"
    with atomic():
        execute("SET app.tenant TO DEFAULT")
        assert known() == real() == ""
    assert known() == real() == ""


def test_savepoint_that_is_rolled_back_makes_it_unknown_until_the_end():
    execute("SET app.tenant = 1")
    with atomic():
        with suppress(LookupError), atomic():
            execute("SET LOCAL app.tenant = 2")
            raise LookupError
        assert (known(), real()) == ("session_scope", "1")
    assert known() == real() == "1"


def test_commit_of_a_failed_transaction_is_a_rollback():
    with atomic():
        execute("SET app.tenant = 1")
        with suppress(psycopg.Error):
            connection.connection.execute("SELECT 1/0")

    assert (known(), real()) == ("", "")


def test_end_that_nobody_saw_leaves_it_unknown():
    connection.set_autocommit(False)
    execute("SET app.tenant = 1")
    connection.connection.rollback()
    connection.set_autocommit(True)

    assert (known(), real()) == ("session_scope", "")


@pytest.mark.parametrize(("ending", "after"), [("COMMIT", "session_scope"), ("ROLLBACK", "")])
def test_transaction_in_sql(ending, after):
    execute("BEGIN")
    execute("SET app.tenant = 1")
    execute(ending)

    assert known() == after


def test_nothing_is_asked_of_the_database_on_a_hit(policy, queries):
    with declared("app.tenant"):
        execute(f"SELECT {TENANT}", ["one"])
        names()
        with queries() as ran:
            names()

    assert ran == []


@pytest.fixture
def pooled(shop_database):
    """An alias whose one connection goes from thread to thread."""
    known = connections["default"].settings_dict
    pool = {"min_size": 1, "max_size": 1}
    connections.settings["pooled"] = {**known, "OPTIONS": {**known["OPTIONS"], "pool": pool}, "CONN_MAX_AGE": 0}
    yield
    connections["pooled"].close_pool()
    del connections["pooled"], connections.settings["pooled"]


def test_pool_hands_on_what_a_session_is_set_to(schemas, pooled, elsewhere):
    def set_and_leave(*statements):
        with connections["pooled"].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connections["pooled"].close()

    def found():
        with connections["pooled"].cursor() as cursor:
            cursor.execute("SELECT current_schema()")
            return cursor.fetchone()[0], session_scope()

    elsewhere(set_and_leave, "SET search_path TO one")
    assert elsewhere(found) == ("one", (("pooled", "search_path", "one"),))

    elsewhere(set_and_leave, "BEGIN", "SET LOCAL search_path TO two")
    assert elsewhere(found) == ("one", (("pooled", "search_path", "one"),))


@cached_query(timeout=300)
def pooled_names():
    return list(Author.objects.using("pooled").values_list("name", flat=True))


def test_function_that_takes_a_connection_which_is_set_already_is_not_stored(schemas, pooled, outcomes, elsewhere):
    """Its key was made before: of another thread's connection in the pool, it knew nothing."""

    def leave(statement):
        with connections["pooled"].cursor() as cursor:
            cursor.execute(statement)
        connections["pooled"].close()

    with declared("search_path"):
        elsewhere(leave, "SET search_path TO one")
        assert elsewhere(pooled_names) == ["one"]
        elsewhere(leave, "RESET search_path")
        assert elsewhere(pooled_names) == []

    assert outcomes(pooled_names)["refused"] == {"session_scope": 1}


CHANGES = (
    "SET app.tenant = 1",
    "SET LOCAL app.tenant = 2",
    "SELECT set_config('app.tenant', '3', false), set_config('app.other', 'x', true)",
    "SELECT set_config('app.tenant', '4', true)",
    "RESET app.tenant",
    "RESET ALL",
    "SELECT 1 / 0",
    "SAVEPOINT s",
    "ROLLBACK TO SAVEPOINT s",
)


@given(seed=st.integers(0, 2**32))
@settings_of_hypothesis(max_examples=examples(80), deadline=None)
def test_what_is_known_is_what_is_so(seed):
    """Whatever is set, undone and broken in whatever order: what the cache takes for the tenant is the session's."""
    # Evenly drawn: Hypothesis's own lists repeat themselves.
    steps = random.Random(seed).choices([*CHANGES, "begin", "commit", "rollback"], k=14)
    connection.close()
    for step in ("begin", *steps):
        if step == "begin":
            if connection.get_autocommit():
                connection.set_autocommit(False)
        elif step in ("commit", "rollback"):
            if not connection.get_autocommit():
                getattr(connection, step)()
                connection.set_autocommit(True)
        else:
            with suppress(DatabaseError):
                execute(step)
        if connection.connection is not None and not watch(connection).is_failed():
            watch(connection).settle()
            values = {name: value for _, name, value in session_scope()}
            told = values.get("app.tenant", "").rpartition(":")[2]
            assert told in (real(), str(Special.UNKNOWN)), (step, values, steps)
    connection.close()
