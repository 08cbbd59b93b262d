"""Every way to write, read, commit and fail, in orders that nobody thinks of: what is cached is always what is there.

One step at a time, on two connections whose transactions overlap; :mod:`tests.cache.test_protocol` interleaves the steps
of a single read and write. After each step every question is asked on both connections and by somebody new.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import Count, F
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dbopt.cache import cached_query
from dbopt.cache.functions import calls, fills
from dbopt.cache.names import tokens
from dbopt.cache.server import servers
from dbopt.tenancy import current_tenant, tenant_context
from tests.cache.conftest import DEADLINE
from tests.cache.valkeys import OwnValkey
from tests.fuzzing import examples
from tests.testapp.models import Author, Book, Tag

HANDS = ("a", "b")
KINDS = {"tokens": "g", "values": "v"}


def titles():
    return current_tenant(), list(Book.objects.order_by("title").values_list("title", "pages", "author__name"))


def shares():
    return current_tenant(), list(
        Author.objects.annotate(n=Count("books__tags")).order_by("pk").values_list("name", "n")
    )


def pages_by_key():
    keys = Book.objects.order_by("title").values_list("pk", flat=True)
    return [by_key(key) for key in keys]


@cached_query(timeout=300, negative_timeout=60)
def author_of(email: str):
    return Author.objects.get(email=email).name


def absent():
    with suppress(Author.DoesNotExist):
        return author_of("new@example.org")
    return None


@cached_query(timeout=300)
def by_key(key: int):
    return Book.objects.get(pk=key).pages


QUESTIONS = [
    cached_query(timeout=300, name="workload:titles")(titles),
    cached_query(timeout=300, name="workload:shares")(shares),
    cached_query(timeout=300, name="workload:strict", level="strict")(titles),
    cached_query(timeout=300, name="workload:local", local=True)(shares),
    cached_query(timeout=300, name="workload:keys")(pages_by_key),
    cached_query(timeout=300, name="workload:absent")(absent),
]


def run(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def saved(name):
    book = Book.objects.get(title=name)
    book.pages += 1
    book.save()


def made(name):
    author, _ = Author.objects.get_or_create(name=name, email=f"{name}@example.org")
    Book.objects.create(title=f"{name} more", author=author)


def bulk_updated(name):
    Book.objects.bulk_update([Book(pk=Book.objects.get(title=name).pk, pages=7)], ["pages"])


def upserted(name):
    book = Book(title=name, author=Author.objects.get(email="ada@example.org"), pages=5)
    book.key = Book.objects.get(title=name).key
    Book.objects.bulk_create([book], update_conflicts=True, unique_fields=["key"], update_fields=["pages"])


WRITES = {
    "save": saved,
    "update": lambda name: Book.objects.filter(title=name).update(pages=F("pages") + 1),
    "bulk_update": bulk_updated,
    "upsert": upserted,
    "raw": partial(run, "UPDATE public.testapp_book SET pages = pages + 1 WHERE title = %s"),
    "create": made,
    "cascade": lambda name: Author.objects.filter(name=name).delete(),
    "m2m": lambda name: Book.objects.get(title=name).tags.add(Tag.objects.get(slug=name)),
    "m2m_clear": lambda name: Book.objects.get(title=name).tags.clear(),
    "cte": partial(
        run, "WITH x AS (UPDATE testapp_book SET pages = 1 WHERE title = %s RETURNING 1) SELECT count(*) FROM x"
    ),
}


class Hand:
    """A connection in a thread of its own, with the atomic blocks that are open on it."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._blocks = []

    def do(self, work, *args):
        return self._pool.submit(work, *args).result(DEADLINE)

    def begin(self):
        block = transaction.atomic()
        self.do(block.__enter__)
        self._blocks.append(block)

    def end(self, *, commits):
        def leave(block):
            if not commits:
                transaction.set_rollback(True)
            with suppress(DatabaseError):
                block.__exit__(None, None, None)

        if self._blocks:
            self.do(leave, self._blocks.pop())

    def lose(self):
        """Lose the connection to the database, whatever is open on it."""

        def broken():
            pid = connection.connection.info.backend_pid if connection.connection else None
            self._blocks, blocks = [], self._blocks
            if pid is not None:
                _terminate(pid)
            with suppress(DatabaseError):
                Tag.objects.count()
            for block in reversed(blocks):
                with suppress(DatabaseError):
                    block.__exit__(DatabaseError, DatabaseError(), None)
            connections.close_all()

        self.do(broken)

    def close(self):
        while self._blocks:
            self.end(commits=False)
        self.do(connections.close_all)
        self._pool.shutdown()


def _terminate(pid):
    def kill():
        run("SELECT pg_terminate_backend(%s, 5000)", pid)
        connections.close_all()

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(kill).result(DEADLINE)


class Workload:
    """A run of steps, each a text: what to do, and on which hand."""

    def __init__(self, valkey, clock):
        self.valkey, self.clock = valkey, clock
        self.is_frozen = False
        self.clock.clear()
        self.valkey.client.flushall()
        servers.forget()
        Author.objects.exclude(email="ada@example.org").delete()
        Book.objects.update(pages=0)
        Book.tags.through.objects.all().delete()
        connections.close_all()
        self.hands = {name: Hand() for name in ("new", *HANDS)}
        self.tenant = 1

    def take(self, steps):
        try:
            self.ask()
            for step in steps:
                name, *arguments = step.split()
                getattr(self, name)(*arguments)
                self.ask()
        finally:
            self.close()

    def write(self, hand, way):
        self.hands[hand].do(WRITES[way], hand)

    def begin(self, hand):
        self.hands[hand].begin()

    def commit(self, hand):
        self.hands[hand].end(commits=True)

    def undo(self, hand):
        self.hands[hand].end(commits=False)

    def lose(self, hand):
        self.hands[hand].lose()

    def evict(self, kind):
        keys = [] if self.is_frozen else sorted(self.valkey.client.keys(f"*:{KINDS[kind]}:*"))
        for key in keys[::2]:
            self.valkey.client.delete(key)

    def flush(self):
        if not self.is_frozen:
            self.valkey.client.flushall()

    def part(self):
        (self.valkey.thaw if self.is_frozen else self.valkey.freeze)()
        self.is_frozen = not self.is_frozen

    def switch(self):
        self.tenant = 3 - self.tenant

    def shift(self):
        self.clock["seconds"] = {0: 3600, 3600: -3600, -3600: 0}[self.clock.get("seconds", 0)]

    def ask(self):
        """Nobody else is at work: what anybody gets must be what he would read. First who has not written anything."""
        for name, hand in self.hands.items():
            hand.do(self._ask, name)

    def _ask(self, name):
        with tenant_context(self.tenant):
            for question in QUESTIONS:
                assert question() == question.uncached(), (name, question.name)

    def close(self):
        if self.is_frozen:
            self.valkey.thaw()
        for hand in self.hands.values():
            hand.close()


ON_A_HAND = [*(f"write {{}} {way}" for way in WRITES), *["begin {}", "commit {}", "undo {}"] * 2, "lose {}"]
STEPS = [
    *(step.format(hand) for step in ON_A_HAND for hand in HANDS),
    *["evict tokens", "evict values", "flush", "switch", "shift"],
    *["part"] * 3,
]

# What each of the rules is there for.
SCENES = [
    "begin a, write a save, begin b, write b update, commit a, undo b, write b raw",
    "begin a, begin a, write a upsert, undo a, write a bulk_update, commit a",
    "begin a, begin a, write a create, commit a, begin a, write a m2m, undo a, commit a",
    "part, write a cte, part",
    "part, begin a, write a create, commit a, write b m2m, part, write a cascade, write b m2m_clear",
    "begin a, write a save, lose a, write a save",
    "begin a, write a save, evict tokens, commit a, evict values, flush, write b update",
    "write a save, shift, write a save, shift, write b save",
    "switch, write a create, switch",
]


STRICT = [pytest.param([], id="commit"), pytest.param(["*"], id="strict")]


@pytest.fixture
def take(shop_database, tmp_path, monkeypatch, request):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    Book.objects.bulk_create([Book(title=name, author=ada) for name in HANDS])
    Tag.objects.bulk_create([Tag(slug=name) for name in HANDS])
    clock, real = {}, time.time
    shifted = SimpleNamespace(**{**vars(time), "time": lambda: real() + clock.get("seconds", 0)})
    for module in (calls, fills, tokens):
        monkeypatch.setattr(module, "time", shifted)
    valkey = OwnValkey(tmp_path)
    valkey.start()
    # Marks renew tokens before a COMMIT already, and would hide a renewal that is missing after it.
    quick = {
        "STRICT": getattr(request, "param", []),
        "SOCKET_TIMEOUT": 0.05,
        "CONNECT_TIMEOUT": 0.05,
        "BREAKER_SECONDS": 0.1,
    }
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey.url}}
    dbopt = {**settings.DBOPT, "CACHE": quick, "TENANCY": {"RESOLVER": "x.y"}}
    with override_settings(CACHES=caches, DBOPT=dbopt):
        yield lambda steps: Workload(valkey, clock).take(steps)
        servers.forget()
    valkey.close()


def explore(take, *, count, steps):
    @hypothesis_settings(
        max_examples=examples(count),
        deadline=None,
        database=None,
        # A failure is told as it is: to make it shorter would take minutes.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.sampled_from(STEPS), min_size=steps, max_size=steps))
    def everybody_gets_what_is_there(taken):
        take(taken)

    everybody_gets_what_is_there()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scene", SCENES)
def test_everybody_gets_what_is_there(take, scene):
    take(scene.split(", "))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("take", STRICT, indirect=True)
def test_everybody_gets_what_is_there_in_some_order(take):
    explore(take, count=1, steps=16)


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("take", STRICT, indirect=True)
def test_everybody_gets_what_is_there_in_many_orders(take):
    explore(take, count=25, steps=40)
