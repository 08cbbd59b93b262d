"""The time limit of an operation, on a real PostgreSQL."""

from __future__ import annotations

import os
import threading
from time import monotonic

import graphene
import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings

from dbopt.exceptions import OperationTimeoutError
from dbopt.graphql import GraphQLView
from dbopt.graphql.execution.deadlines import Deadline, Watchdog, _current, _watchdog, time_limit
from tests.graphql.posting import ask, errors_of
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

LATE = "The operation took longer than 0.2 seconds."


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def write_and_sleep(name):
    with transaction.atomic():
        Author.objects.create(name=name, email=f"{name}@example.com")
        execute("SELECT pg_sleep(60)")


def wait_for_the_end():
    deadline = _current.get()
    while monotonic() < deadline._at:
        os.sched_yield()


class Query(graphene.ObjectType):
    sleep = graphene.Int(seconds=graphene.Float())
    loop = graphene.Int()
    compute = graphene.Int()
    several = graphene.List(lambda: Query)
    own_timeout = graphene.Int()
    quick = graphene.Int()

    def resolve_sleep(self, info, seconds=60):
        return len(execute(f"SELECT pg_sleep({seconds})"))

    def resolve_loop(self, info):
        while True:
            execute("SELECT 1")

    def resolve_compute(self, info):
        wait_for_the_end()
        return 1

    def resolve_several(self, info):
        return [Query()] * 3

    def resolve_own_timeout(self, info):
        with transaction.atomic():
            execute("SELECT set_config('statement_timeout', '50', true)")
            return execute("SELECT pg_sleep(60)")

    def resolve_quick(self, info):
        return execute("SELECT 1")


class Write(graphene.Mutation):
    class Arguments:
        name = graphene.String()

    ok = graphene.Boolean()

    def mutate(self, info, name):
        Author.objects.create(name=name, email=f"{name}@example.com")
        return Write(ok=bool(execute("SELECT pg_sleep(60)")))


class Mutation(graphene.ObjectType):
    write = Write.Field()
    write_quickly = graphene.Int()
    compute = graphene.Int()

    def resolve_write_quickly(self, info):
        return Author.objects.create(name="quick", email="quick@example.com").pk

    def resolve_compute(self, info):
        wait_for_the_end()
        return 1


SCHEMA = graphene.Schema(query=Query, mutation=Mutation)
VIEW = GraphQLView.as_view(schema=SCHEMA)


def limit(seconds):
    return override_settings(DBOPT={"GRAPHQL": {"TIME_LIMIT": seconds}})


def assert_clean():
    assert ask(VIEW, {"query": "{ quick }"}) == (200, {"data": {"quick": 1}})
    assert not any(isinstance(wrapper, Deadline) for each in connections.all() for wrapper in each.execute_wrappers)
    assert not _watchdog()._watched


def test_statement_that_runs_is_cancelled():
    started = monotonic()

    with limit(0.2):
        status, answer = ask(VIEW, {"query": "{ sleep }"})

    assert monotonic() - started < 30
    assert (status, answer["data"], errors_of(answer)) == (200, {"sleep": None}, [(LATE, {"code": "TIMEOUT"})])
    assert_clean()


def test_loop_of_statements_is_ended():
    with limit(0.2):
        status, answer = ask(VIEW, {"query": "{ loop }"})

    assert (status, errors_of(answer)) == (200, [(LATE, {"code": "TIMEOUT"})])
    assert_clean()


@pytest.mark.parametrize("text", ["{ compute several { quick } }", "{ several { compute } }"])
def test_operation_ends_between_resolvers_and_batches(text):
    with limit(0.2):
        status, answer = ask(VIEW, {"query": text})

    assert (status, list(answer), errors_of(answer)) == (400, ["errors"], [(LATE, {"code": "TIMEOUT"})])
    assert_clean()


def test_what_is_in_time_is_served():
    with limit(60):
        assert ask(VIEW, {"query": "{ sleep(seconds: 0) several { quick } }"}) == (
            200,
            {"data": {"sleep": 0, "several": [{"quick": 1}] * 3}},
        )


def test_there_may_be_no_limit():
    with limit(None):
        assert ask(VIEW, {"query": "{ sleep(seconds: 0) }"})[0] == 200
        assert _current.get() is None


def test_timeout_of_the_server_has_the_code_too():
    status, answer = ask(VIEW, {"query": "{ ownTimeout }"})

    assert status == 200
    assert [extensions for _, extensions in errors_of(answer)] == [{"code": "TIMEOUT"}]
    assert_clean()


@pytest.mark.parametrize("text", ['{ write(name: "x") { ok } }', "{ writeQuickly compute again: writeQuickly }"])
@pytest.mark.parametrize(("atomic", "written"), [(True, 0), (False, 1)])
def test_atomic_mutation_that_is_stopped_writes_nothing(text, atomic, written, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_MUTATIONS", atomic)

    with limit(0.2):
        _, answer = ask(VIEW, {"query": f"mutation {text}"})

    assert errors_of(answer) == [(LATE, {"code": "TIMEOUT"})]
    assert Author.objects.count() == written
    assert_clean()


def test_savepoints_are_rolled_back_after_the_deadline():
    with transaction.atomic():
        Author.objects.create(name="kept", email="kept@example.com")
        with time_limit(0.2), pytest.raises(OperationTimeoutError):
            write_and_sleep("lost")
        assert not connection.needs_rollback

    assert list(Author.objects.values_list("name", flat=True)) == ["kept"]


def test_callers_catch_it_as_a_database_error_and_as_a_timeout():
    with time_limit(0.2), pytest.raises(OperationalError) as caught:
        execute("SELECT pg_sleep(60)")

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.seconds == 0.2


def test_other_errors_of_statements_pass_through():
    with time_limit(60), pytest.raises(OperationalError) as caught:
        execute("SELECT pg_terminate_backend(pg_backend_pid())")

    assert not isinstance(caught.value, OperationTimeoutError)
    connection.close()


def test_cancel_never_hits_the_statement_after_the_limit():
    for step in range(40):
        try:
            with time_limit(0.01):
                execute(f"SELECT pg_sleep({0.008 + step * 0.0001})")
        except OperationTimeoutError:
            pass
        assert execute("SELECT count(*) FROM generate_series(1, 20000)") == 20000


def test_each_thread_has_its_own_deadline():
    barrier, outcomes = threading.Barrier(6), []

    def work(seconds, sleep):
        barrier.wait()
        try:
            with time_limit(seconds):
                outcomes.append((sleep, execute(f"SELECT pg_sleep({sleep})")))
        except OperationTimeoutError as error:
            outcomes.append((sleep, error.seconds))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=work, args=pair)
        for pair in [(0.1, 61), (60, 0), (0.2, 62), (60, 0.3), (0.15, 63), (60, 0)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes, key=str) == sorted([(61, 0.1), (0, ""), (62, 0.2), (0.3, ""), (63, 0.15), (0, "")], key=str)


def test_forked_child_has_a_watchdog_of_its_own():
    with time_limit(60):
        assert _watchdog()._thread.is_alive()
        child = os.fork()
        if child == 0:
            try:
                is_fresh = _watchdog()._thread is None and not _watchdog()._watched
                expired = threading.Event()
                deadline = Deadline(0.01)
                deadline.expire = expired.set
                _watchdog().watch(deadline)
                os._exit(0 if is_fresh and expired.wait(30) else 1)
            finally:
                os._exit(2)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_watchdog_survives_a_connection_that_cannot_cancel(caplog):
    class Broken:
        def __init__(self):
            self.asked = threading.Event()

        def cancel_safe(self, timeout):
            self.asked.set()
            raise OSError("network is down")

    watchdog, broken, healthy = Watchdog(), Broken(), threading.Event()
    first, second = Deadline(0.01), Deadline(0.02)
    first._run(broken)
    second.expire = healthy.set

    watchdog.watch(first)
    watchdog.watch(second)

    assert broken.asked.wait(30)
    assert healthy.wait(30)
    watchdog.forget(first)
    watchdog.forget(second)
    assert "could not be cancelled" in caplog.text
