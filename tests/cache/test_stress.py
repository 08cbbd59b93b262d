"""Everything at once for some seconds: no read is older than what had been written before it began."""

from __future__ import annotations

import random
import threading
import time

import pytest
from django.conf import settings
from django.db import connection, connections
from django.db.models import F, Max, Sum
from django.db.transaction import atomic, set_rollback
from django.test import override_settings

from dbopt.cache import cached_query, statistics
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

WRITERS = READERS = 4
BOOKS_EACH = 3
NEVER = 10**6


def answers_of(level):
    """The same questions, cached at a level. Each answers with the pages of all books, or of one."""

    @cached_query(timeout=30, level=level, name=f"stress_one_{level}")
    def one(pk: int):
        return {pk: Book.objects.get(pk=pk).pages}

    @cached_query(timeout=30, level=level, name=f"stress_each_{level}")
    def each():
        return dict(Book.objects.values_list("pk", "pages"))

    @cached_query(timeout=30, level=level, name=f"stress_joined_{level}")
    def joined(name: str):
        return {book.pk: book.pages for book in Book.objects.select_related("author").filter(author__name=name)}

    @cached_query(timeout=30, level=level, name=f"stress_total_{level}")
    def total():
        return Book.objects.aggregate(total=Sum("pages"), most=Max("pages"))

    return one, each, joined, total


ANSWERS = {level: answers_of(level) for level in ("commit", "strict")}


class Ledger:
    """Of each book, the version whose write has returned. One writer a book, so versions only grow."""

    def __init__(self, books):
        self.known = dict.fromkeys(books, 0)
        self.checked = 0
        self.wrong = []
        self._lock = threading.Lock()

    def check(self, before, found, what):
        older = {pk: (pages, before[pk]) for pk, pages in found.items() if not before[pk] <= pages < NEVER}
        with self._lock:
            self.checked += 1
            if older:
                self.wrong.append((what, older))


def write(pk, version):
    book = Book.objects.get(pk=pk)
    book.pages = version
    way = random.randrange(8)
    if way == 0:
        book.save()
    elif way == 1:
        with atomic():
            book.save(update_fields=["pages"])
            Author.objects.filter(pk=book.author_id).update(born=None)
    elif way == 2:
        Book.objects.filter(pk=pk).update(pages=F("pages") + 1)
    elif way == 3:
        Book.objects.bulk_update([book], ["pages"])
    elif way == 4:
        with atomic(), atomic():
            Book.objects.filter(key=book.key).update(pages=version)
    elif way == 5:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE testapp_book SET pages = %s WHERE id = %s", [version, pk])
    elif way == 6:
        with atomic():
            with atomic():
                Book.objects.filter(pk=pk).update(pages=NEVER)
                set_rollback(True)
            Book.objects.filter(pk=pk).update(pages=version)
    else:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE testapp_book SET pages = %s WHERE id = %s", [version, pk])
            cursor.execute("COMMIT")


def take_back(pk):
    with atomic():
        Book.objects.filter(pk=pk).update(pages=NEVER)
        set_rollback(True)


def writing(ledger, books, until):
    while time.monotonic() < until:
        pk = random.choice(books)
        if random.random() < 0.2:
            take_back(pk)
            continue
        version = ledger.known[pk] + 1
        write(pk, version)
        ledger.known[pk] = version
        threading.Event().wait(random.uniform(0, 0.05))


def reading(ledger, answers, names, until):
    one, each, joined, total = answers
    while time.monotonic() < until:
        before = dict(ledger.known)
        way = random.randrange(4)
        if way == 0:
            ledger.check(before, one(random.choice(list(before))), "one")
        elif way == 1:
            ledger.check(before, each(), "each")
        elif way == 2:
            ledger.check(before, joined(random.choice(names)), "joined")
        else:
            found = total()
            ledger.check({0: sum(before.values()), 1: max(before.values())}, dict(enumerate(found.values())), "total")


def evicting(valkey, until):
    while time.monotonic() < until:
        key = valkey.randomkey()
        if random.random() < 0.01:
            valkey.flushdb()
        elif key is not None:
            valkey.delete(key)
        threading.Event().wait(random.uniform(0, 0.005))


@pytest.fixture
def slow_commits(outside):
    """A COMMIT takes up to 5 ms, so that others get in between."""
    outside.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM pg_sleep(random() * 0.005); RETURN NULL; END $$"
    )
    outside.execute(
        "CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON testapp_book DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    yield
    outside.execute("DROP FUNCTION dawdle() CASCADE")


def run(level, seconds, *, threads, valkey):
    """Work for so long and return how many reads were checked; none of them was wrong."""
    names = [f"writer {number}" for number in range(WRITERS)]
    authors = [Author.objects.create(name=name, email=f"{name[-1]}@example.org") for name in names]
    books = [
        [Book.objects.create(title=f"{number}", author=author).pk for number in range(BOOKS_EACH)] for author in authors
    ]
    connections.close_all()
    ledger = Ledger(pk for own in books for pk in own)
    section = {"STRICT": ["*"] if level == "strict" else [], "SOCKET_TIMEOUT": 5.0, "CONNECT_TIMEOUT": 5.0}
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": section}):
        until = time.monotonic() + seconds
        working = [threads(writing, ledger, own, until) for own in books]
        working += [threads(reading, ledger, ANSWERS[level], names, until) for _ in range(READERS)]
        working.append(threads(evicting, valkey, until))
        for each in working:
            each.result(seconds + 30)
        assert dict(ledger.known) == ANSWERS[level][1]()

    assert ledger.wrong == []
    assert statistics()["overall"]["hits"] > 0
    return ledger.checked


@pytest.mark.parametrize("level", ANSWERS)
def test_no_read_is_older_than_a_write_that_had_returned(slow_commits, threads, valkey, level):
    assert run(level, 2, threads=threads, valkey=valkey) >= 20


@pytest.mark.long
@pytest.mark.parametrize("level", ANSWERS)
def test_no_read_of_thousands_is_older_than_a_write_that_had_returned(slow_commits, threads, valkey, level):
    assert run(level, 20, threads=threads, valkey=valkey) >= 2000
