"""One way of caching the same 20 rows, in a process of its own: packages that patch Django cannot share one.

Started by :mod:`benchmarks.cache` as ``python -m benchmarks.cache_variants NAME``; orders come as JSON, one a line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

import django
from django.conf import settings

from benchmarks.databases import databases

ROWS = 20
KEY = "books"


EXECUTIONS: list[int] = []


def books(author: int):
    """Return twenty instances."""
    from benchmarks.models import Book

    return Book.objects.filter(author_id=author).order_by("id")[:ROWS]


def unsliced():
    """Return all books of one author, to be filtered further."""
    from benchmarks.models import Book

    return Book.objects.filter(author_id=1)


def book_tuples(author: int):
    """Return twenty rows."""
    return books(author).values_list()


def one_book(number: int):
    """Return a small result of its own for each number."""
    return books(1)[:1].values_list("id", "title")


def slow_books(seconds: float, number: int):
    """Return what takes a slow query to make, and count that it ran."""
    from django.db import connection

    with connection.cursor() as cursor:
        EXECUTIONS.append(number)
        cursor.execute("SELECT id, pg_sleep(%s) FROM benchmarks_book WHERE id = 1", [seconds])
    return list(books(1).values_list("id", flat=True))


class Uncached:
    """The ORM alone."""

    apps: tuple[str, ...] = ()
    extra: dict[str, object] = {}

    def query(self):
        """Return the query whose rows are kept."""
        return books(1)

    def ready(self):
        """Prepare what a project would have at import."""

    def read(self):
        return list(self.query())

    def forget(self):
        """Make the next read a miss, leaving what the package keeps beside values."""

    def save(self, book):
        """Save, and make what is cached of the table wrong no longer."""
        book.save()

    def fill(self, count):
        """Have so many cached results that one write to the table makes wrong."""

    def slow(self, seconds, number):
        """Read through a slow query, for a stampede."""
        return slow_books(seconds, number)


class UncachedTuples(Uncached):
    """The ORM alone, rows as tuples."""

    def query(self):
        return super().query().values_list()


class DjangoRedis(Uncached):
    """What projects write by hand: get, else query and set, under a constant key, with pickle."""

    def ready(self):
        from django.core.cache import cache

        self.cache = cache

    def read(self):
        found = self.cache.get(KEY)
        if found is None:
            found = list(self.query())
            self.cache.set(KEY, found, 3600)
        return found

    def forget(self):
        self.cache.delete(KEY)

    def save(self, book):
        super().save(book)
        self.cache.delete(KEY)

    def slow(self, seconds, number):
        found = self.cache.get(f"slow{number}")
        if found is None:
            found = super().slow(seconds, number)
            self.cache.set(f"slow{number}", found, 3600)
        return found


class DjangoRedisTuples(DjangoRedis):
    """The same with tuples instead of instances."""

    def query(self):
        return super().query().values_list()


class Dbopt(Uncached):
    """A cached function."""

    apps = ("dbopt",)
    options: dict[str, object] = {}

    rows = staticmethod(books)

    def ready(self):
        from dbopt.cache import cached_query
        from dbopt.cache.server.clients import build_client, key_namespace
        from dbopt.conf import dbopt_settings

        self.client = build_client(dbopt_settings.cache)
        self.client.connection_pool.connection_kwargs["socket_timeout"] = 60
        self.namespace = key_namespace(dbopt_settings.cache)
        self.books = cached_query(timeout=3600, name="bench:books", **self.options)(self.rows)
        self.slow_books = cached_query(timeout=3600, name="bench:slow", **self.options)(slow_books)
        self.one = cached_query(timeout=3600, name="bench:one")(one_book)

    def read(self):
        return self.books(1)

    def forget(self):
        self.client.unlink(*self.client.scan_iter(match=f"{self.namespace}:v:*", count=1000))

    def slow(self, seconds, number):
        return self.slow_books(seconds, number)

    def fill(self, count):
        """Copies of one stored result under other keys: what a write costs does not depend on who wrote them."""
        self.one(0)
        key = next(iter(self.client.scan_iter(match=f"{self.namespace}:v:*one*", count=1000)))
        value = self.client.get(key)
        for start in range(0, count, 10_000):
            pipeline = self.client.pipeline(transaction=False)
            for number in range(start, min(count, start + 10_000)):
                pipeline.set(key + b"%d" % number, value, ex=3600)
            pipeline.execute()


class DboptTuples(Dbopt):
    """A cached function, rows as tuples."""

    rows = staticmethod(book_tuples)


class DboptLocal(Dbopt):
    """With the local copy."""

    options = {"local": True}


class DboptLocalTuples(DboptTuples):
    """Tuples with the local copy."""

    options = {"local": True}


class DboptUnwatched(Dbopt):
    """The cache without the monitoring that comes with it: what its peers, which measure nothing, compare with."""

    extra = {"DBOPT": {"MONITORING": {"TRACK_ALIASES": []}}}


class DboptIdle(Uncached):
    """dbopt is installed and caches nothing: what writers pay."""

    apps = ("dbopt",)


class Cachalot(Uncached):
    """django-cachalot over django-redis: every query is cached."""

    apps = ("cachalot",)
    extra = {"CACHALOT_TIMEOUT": 3600}

    def forget(self):
        from django.core.cache import cache

        cache.clear()

    def fill(self, count):
        for number in range(count):
            list(unsliced().filter(pages=-number))


class Cacheops(Uncached):
    """django-cacheops, queries cached where `.cache()` says so."""

    apps = ("cacheops",)
    extra = {"CACHEOPS": {"benchmarks.*": {"ops": (), "timeout": 3600}}, "CACHEOPS_DEFAULTS": {"timeout": 3600}}

    def query(self):
        return super().query().cache()

    def forget(self):
        from cacheops.redis import redis_client

        redis_client.flushdb()

    def fill(self, count):
        for number in range(count):
            list(unsliced().filter(pages__gt=5000 + number).cache())


VARIANTS = {
    "orm": Uncached,
    "orm-tuples": UncachedTuples,
    "django-redis": DjangoRedis,
    "django-redis-tuples": DjangoRedisTuples,
    "dbopt": Dbopt,
    "dbopt-tuples": DboptTuples,
    "dbopt-local": DboptLocal,
    "dbopt-local-tuples": DboptLocalTuples,
    "dbopt-unwatched": DboptUnwatched,
    "dbopt-idle": DboptIdle,
    "cachalot": Cachalot,
    "cacheops": Cacheops,
}


def configure(variant):
    location = os.environ["BENCHMARK_REDIS"]
    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=[*variant.apps, "benchmarks"],
        DATABASES=databases(os.environ["DATABASE_URL"]),
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location}},
        CACHEOPS_REDIS=location,
        **variant.extra,
    )
    django.setup()


def timed(work, count, before=lambda: None):
    """Microseconds of each call."""
    spent = []
    for _ in range(count):
        before()
        started = time.perf_counter()
        work()
        spent.append(1e6 * (time.perf_counter() - started))
    return spent


class Worker:
    """Does what the orders say and answers each with one line."""

    def __init__(self, variant):
        self.variant = variant

    def hits(self, count):
        assert len(self.variant.read()) == ROWS
        self.variant.read()
        return timed(self.variant.read, count)

    def misses(self, count):
        return timed(self.variant.read, count, before=self.variant.forget)

    def saves(self, count):
        from benchmarks.models import Book

        book = Book.objects.get(pk=1)

        def save():
            book.pages += 1
            self.variant.save(book)

        return timed(save, count, before=self.variant.read)

    def fill(self, count):
        self.variant.fill(count)
        return []

    def stampede(self, threads, seconds, number):
        """Each thread's time from the common start to its answer; the last figure is the count of executions."""
        from django.db import connection

        EXECUTIONS.clear()
        barrier, spent = threading.Barrier(threads), []

        def ask():
            connection.ensure_connection()
            barrier.wait()
            started = time.perf_counter()
            self.variant.slow(seconds, number)
            spent.append(1e6 * (time.perf_counter() - started))
            connection.close()

        crowd = [threading.Thread(target=ask) for _ in range(threads)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        return [*spent, len(EXECUTIONS)]

    def statement(self, count):
        """What the observer adds to one statement of a request that has nothing to do with the cache."""
        from django.db import connection

        spies = Spy(), Spy()
        wrappers = [wrapper for wrapper in connection.execute_wrappers if "cache" in type(wrapper).__module__]
        connection.execute_wrappers[:] = [spies[0], *wrappers, spies[1]]
        for _ in range(count):
            list(self.variant.query())
        outer, inner = spies
        return [1e6 * (whole - rest) for whole, rest in zip(outer.seconds, inner.seconds, strict=True)]


class Spy:
    """Remembers how long the rest of the chain took, statement by statement."""

    def __init__(self):
        self.seconds = []

    def __call__(self, execute, sql, params, many, context):
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds.append(time.perf_counter() - started)


def main():
    variant = VARIANTS[sys.argv[1]]()
    configure(variant)
    variant.ready()
    worker = Worker(variant)
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        print(json.dumps(getattr(worker, order)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
