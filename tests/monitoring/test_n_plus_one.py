"""Statements in a loop: what is told at the end of a request, and what is not."""

from __future__ import annotations

import threading
from contextvars import copy_context

import pytest
from django.db import connection, transaction
from django.test import override_settings

from dbopt.monitoring import track_request, track_task
from dbopt.monitoring.middleware import server_timing
from dbopt.monitoring.n_plus_one import OFTEN, repetitions
from dbopt.signals import n_plus_one_found
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db

with_origins = override_settings(DEBUG=True)
without_origins = override_settings(DBOPT={"MONITORING": {"ORIGIN": "off"}})


@pytest.fixture
def heard():
    told = []

    def receive(*, signal, sender, **facts):
        told.append(facts)

    n_plus_one_found.connect(receive)
    yield told
    n_plus_one_found.disconnect(receive)


@pytest.fixture
def books(db):
    authors = Author.objects.bulk_create([Author(name="Ursula", email=f"{number}@example.com") for number in range(8)])
    return Book.objects.bulk_create([Book(title="B", author=author) for author in authors])


@with_origins
def test_loop_is_told_once_with_its_line_and_without_values(books, heard):
    with track_request("books/<int:pk>"):
        for book in Book.objects.order_by("pk"):
            assert book.author.name == "Ursula"

    (facts,) = heard
    assert {**facts, "fingerprint": "", "seconds": 0, "origin": ""} == {
        "route": "books/<int:pk>", "fingerprint": "", "count": 8, "seconds": 0, "origin": "",
    }  # fmt: skip
    assert facts["origin"].startswith("tests/monitoring/test_n_plus_one.py:")
    assert len(facts["fingerprint"]) == 16
    assert facts["seconds"] > 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda book: book.author,
        lambda book: list(book.tags.all()),
        lambda book: Author.objects.get(pk=book.author_id),
        lambda book: Book.objects.filter(author=book.author_id).count(),
        lambda book: Book.objects.filter(author=book.author_id).exists(),
        lambda book: list(Author.objects.raw("SELECT id FROM testapp_author WHERE id = %s", [book.author_id])),
        lambda book: Author.objects.filter(pk=book.author_id).first(),
        lambda book: Author.objects.filter(pk=book.author_id).update(name="N"),
        lambda book: Author.objects.filter(pk=book.author_id).values("name").first(),
        lambda book: Book.objects.defer("title").get(pk=book.pk),
    ],
)
@pytest.mark.parametrize("settings", [with_origins, without_origins], ids=["with origins", "without"])
def test_each_kind_of_loop_is_found(books, heard, ask, settings):
    with settings, track_task("loop"):
        for book in Book.objects.all():
            ask(book)

    assert [(facts["route"], facts["count"]) for facts in heard] == [("loop", 8)]


@with_origins
def test_helper_that_is_called_in_a_loop_is_the_line(books, heard):
    def name_of(pk):
        return Author.objects.get(pk=pk).name

    with track_task("loop"):
        assert {name_of(book.author_id) for book in books} == {"Ursula"}

    assert [facts["origin"].partition(":")[0] for facts in heard] == ["tests/monitoring/test_n_plus_one.py"]


@with_origins
def test_constant_statements_are_silent(books, heard):
    with track_request("r"):
        assert len([book.author.name for book in Book.objects.select_related("author")]) == 8
        assert len([list(book.tags.all()) for book in Book.objects.prefetch_related("tags")]) == 8

    assert heard == []


@with_origins
def test_one_statement_on_six_lines_is_no_loop(heard):
    with track_request("r"):
        Author.objects.count()
        Author.objects.count()
        Author.objects.count()
        Author.objects.count()
        Author.objects.count()
        Author.objects.count()

    assert heard == []


@without_origins
def test_savepoints_are_no_loop(heard):
    with track_request("r"):
        for _ in range(OFTEN + 1):
            with transaction.atomic():
                pass

    assert heard == []


@with_origins
def test_threshold_counts_in_a_request_not_in_the_process(books, heard):
    for _ in range(3):
        with track_request("r"):
            for book in books[: OFTEN - 1]:
                Author.objects.get(pk=book.author_id)

    assert heard == []


@with_origins
def test_inner_task_tells_its_own(books, heard):
    with track_request("outer"), track_task("inner"):
        for book in books:
            Author.objects.get(pk=book.author_id)

    assert [facts["route"] for facts in heard] == ["inner"]


@with_origins
def test_request_that_fails_is_told_too(books, heard):
    def fail():
        for book in books:
            Author.objects.get(pk=book.author_id)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), track_request("r"):
        fail()

    assert [facts["count"] for facts in heard] == [8]


@with_origins
def test_receiver_that_fails_hides_nothing(books, heard, caplog):
    def fail(**_):
        raise ValueError("broken receiver")

    n_plus_one_found.connect(fail)
    try:
        with track_request("r"):
            for book in books:
                Author.objects.get(pk=book.author_id)
    finally:
        n_plus_one_found.disconnect(fail)

    assert [facts["count"] for facts in heard] == [8]


def test_cheap_repetition_in_a_long_request_is_not_worth_telling():
    with without_origins, track_request("r") as record:
        record.groups["cheap", None] = [20, 0.001]
        record.groups["dear", None] = [20, 0.5]
        record.seconds = 1.0

    assert [row.fingerprint for row in repetitions(record)] == ["dear"]


def test_slow_statement_with_an_origin_counts_with_the_others():
    with without_origins, track_request("r") as record:
        record.groups["one", None] = [OFTEN - 1, 0.01]
        record.groups["one", "app/views.py:3"] = [1, 0.2]

    (found,) = repetitions(record)
    assert (found.count, found.seconds, found.origin) == (OFTEN, pytest.approx(0.21), "app/views.py:3")


def test_header_says_how_many_statements_are_repeated():
    with without_origins, track_request("r") as record:
        record.groups["one", None] = [7, 0.2]
        record.statements, record.seconds = 9, 0.25

    assert server_timing(record) == 'db;dur=250.0;desc="9 statements, 1 repeated"'


@pytest.mark.django_db(transaction=True)
@with_origins
def test_statements_of_the_requests_threads_count(heard):
    author = Author.objects.create(name="A", email="a@example.com")

    with track_request("r") as record:

        def work():
            for _ in range(OFTEN):
                Author.objects.get(pk=author.pk)
            connection.close()

        thread = threading.Thread(target=copy_context().run, args=(work,))
        thread.start()
        thread.join()

    assert (record.statements >= OFTEN, [facts["count"] for facts in heard]) == (True, [OFTEN])
