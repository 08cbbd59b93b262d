"""The asynchronous view, on real servers, by WSGI and ASGI."""

from __future__ import annotations

import asyncio
import gc
import threading
from time import monotonic

import pytest
from django.db import connection

from dbopt.graphql.execution.deadlines import _watchdog
from tests.graphql import async_project as project
from tests.graphql.async_project import Gates, by_asgi, by_wsgi
from tests.graphql.posting import errors_of
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db(transaction=True)

LATE = "The operation took longer than 0.2 seconds."


@pytest.fixture
def books():
    authors = [Author.objects.create(name=name, email=f"{name}@example.com") for name in ("Ann", "Bea")]
    return [Book.objects.create(title=f"{author.name} {n}", author=author) for author in authors for n in range(2)]


def query(text):
    return {"query": text}


@pytest.fixture(params=["wsgi", "asgi"])
def ask(request):
    def ask(text):
        return by_wsgi(query(text)) if request.param == "wsgi" else by_asgi(text)[0]

    return ask


def limit(seconds):
    return project.options(GRAPHQL={"TIME_LIMIT": seconds})


def assert_clean():
    # A coroutine that was left behind would warn now, and a warning is an error here.
    gc.collect()
    assert by_wsgi(query("{ count }"))[0] == 200
    assert by_asgi("{ count }")[0][0] == 200
    assert not _watchdog()._watched
    assert sleeping() == 0


def sleeping():
    # Of this database: others on the same server have test runs of their own, which sleep as well.
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND query = 'SELECT pg_sleep(60)'
    """
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def test_everything_in_one_query(ask, books):
    status, answer = ask("{ count fail authors { name books { title later promised ten shout author { id } } } }")

    assert status == 200
    assert errors_of(answer) == [("no", None)]
    assert (answer["data"]["count"], answer["data"]["fail"]) == (2, None)
    assert [author["name"] for author in answer["data"]["authors"]] == ["Ann", "Bea"]
    assert answer["data"]["authors"][1]["books"][1] == {
        "title": "Bea 1",
        "later": "Bea 1",
        "promised": "Bea 1",
        "ten": books[3].pk * 10,
        "shout": "BEA 1",
        "author": {"id": str(books[3].author_id)},
    }


def test_what_coroutines_load_is_loaded_together(books):
    Gates.calls = []

    by_wsgi(query("{ authors { books { promised ten shout } } }"))

    keys = [book.pk for book in books]
    assert sorted(Gates.calls) == [("aio", keys), ("shout", keys), ("titles", keys)]


def test_coroutines_run_at_the_same_time(ask):
    Gates.barrier = asyncio.Barrier(5)

    assert ask("{ a: meet b: meet c: meet d: meet e: meet }") == (200, {"data": dict.fromkeys("abcde", 1)})


def test_requests_run_at_the_same_time():
    Gates.barrier, Gates.threads = asyncio.Barrier(4), threading.Barrier(4)

    answers = by_asgi(*["{ meetInThreads meet count }"] * 4)

    assert answers == [(200, {"data": {"meetInThreads": 1, "meet": 1, "count": 0}})] * 4


def test_tenant_flows_everywhere_and_requests_do_not_mix():
    text = "{ tenant tenantLater tenantInThread tenantOfLoader }"
    tenants = ["blue", "red", "green", "blue"]

    with project.options():
        answers = [by_wsgi(query(text), tenant="blue"), *by_asgi(*[text] * 4, tenants=tenants)]

    assert [set(answer["data"].values()) for _, answer in answers] == [{tenant} for tenant in ["blue", *tenants]]


def test_mutations_are_serial_and_see_what_was_written(ask):
    answer = ask('mutation { a: write(name: "x") b: count c: write(name: "y") d: count }')

    assert answer == (200, {"data": {"a": "x", "b": 1, "c": "y", "d": 2}})


@pytest.mark.parametrize(("atomic", "written"), [(True, 0), (False, 1)])
def test_coroutines_work_in_the_transaction_of_an_atomic_mutation(atomic, written, ask, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_MUTATIONS", atomic)

    with limit(0.5):
        status, answer = ask("mutation { count writeAndSleep }")

    assert (status, [extensions for _, extensions in errors_of(answer)]) == (200, [{"code": "TIMEOUT"}])
    assert Author.objects.count() == written
    assert_clean()


def test_loader_that_a_coroutine_asks_for_first_stays_the_operations(ask, books):
    status, answer = ask("{ firstInLoop nested { firstInThread } }")

    assert (status, answer["data"]) == (200, {"firstInLoop": None, "nested": {"firstInThread": None}})
    assert [message for message, _ in errors_of(answer)] == [
        (
            "Titles belongs to another thread. Take one from this thread's own context; "
            "a coroutine of its operation calls it by sync_to_async."
        )
    ]


def test_loaders_promise_cannot_be_awaited_and_nothing_hangs(ask):
    status, answer = ask("{ awaitsPromise count }")

    assert (status, answer["data"]) == (200, {"awaitsPromise": None, "count": 0})
    assert [message for message, _ in errors_of(answer)] == [
        (
            "A coroutine cannot await the promise of a loader, which is settled after all coroutines. "
            "Return the promise from the coroutine."
        )
    ]


def test_coroutine_that_is_cancelled_is_an_error_of_its_field(ask):
    status, answer = ask("{ lost count }")

    assert (status, answer["data"]) == (200, {"lost": None, "count": 0})
    assert errors_of(answer) == [("What the resolver awaited was cancelled.", None)]


def test_exit_in_a_coroutine_leaves_the_thread_clean():
    with pytest.raises(SystemExit):
        by_wsgi(query("{ a: never exit count }"))

    assert_clean()


@pytest.mark.parametrize("text", ["{ count never }", "{ count sleepLater }", "{ count sleep }"])
def test_time_limit_ends_what_is_awaited(text, ask):
    Gates.cancelled, started = None, monotonic()

    with limit(0.2):
        status, answer = ask(text)

    assert monotonic() - started < 30
    assert status == 200
    assert (LATE, {"code": "TIMEOUT"}) in errors_of(answer)
    assert len(answer["data"]) == 2
    assert None in answer["data"].values()
    assert Gates.cancelled == ("never" if "never" in text else None)
    assert_clean()


@pytest.mark.parametrize("seconds", [None, 30])
@pytest.mark.parametrize(
    "text", ["{ sleep }", "{ sleepLater }", "{ never }", "mutation { writeAndSleep }", "{ count a: sleep b: sleep }"]
)
def test_client_that_goes_away_ends_its_operation(text, seconds, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_MUTATIONS", True)
    Gates.cancelled, Gates.begun, started = None, threading.Event(), monotonic()

    def has_begun():
        try:
            return Gates.begun.is_set() or sleeping()
        finally:
            connection.close()

    async def leave():
        caller = project.Caller(text)
        await caller.send()
        while not await asyncio.to_thread(has_begun):  # noqa: ASYNC110  # what runs in PostgreSQL sets no event
            await asyncio.sleep(0.01)
        await caller.go_away()

    with project.installed(), limit(seconds):
        asyncio.run(leave())

    assert monotonic() - started < 30
    assert Gates.cancelled == ("never" if "never" in text else None)
    assert Author.objects.count() == 0
    assert_clean()


@pytest.mark.usefixtures("redis_server")
def test_kept_answer_knows_what_its_coroutines_read(ask):
    Gates.calls = []

    first, second = ask("{ kept }"), ask("{ kept }")
    Author.objects.create(name="Cy", email="cy@example.com")

    assert (first, second, len(Gates.calls)) == ((200, {"data": {"kept": 0}}), (200, {"data": {"kept": 0}}), 1)
    assert ask("{ kept }") == (200, {"data": {"kept": 1}})


def test_each_operation_of_a_batch_is_answered(books):
    status, answers = by_wsgi([query("{ count }"), query("{ fail }"), query("{ authors { name } }")], "/batch")

    assert status == 200
    assert [answer["data"] for answer in answers] == [
        {"count": 2},
        {"fail": None},
        {"authors": [{"name": "Ann"}, {"name": "Bea"}]},
    ]


def test_refusals_are_those_of_the_view(ask):
    assert ask("{ nothing }")[0] == 400
    assert ask("{ " + "count " * 50 + "}")[1]["errors"][0]["extensions"]["code"] == "MERGE_LIMIT"
