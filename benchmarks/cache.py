"""Caching side by side: dbopt, django-redis by hand, django-cachalot, django-cacheops and no cache, on real servers.

    make bench ARGS=cache

Every way of caching has a process and a Redis database of its own, all share one PostgreSQL table. Rounds of all ways
take turns, so that a slow moment of the machine hits each alike; shown is the median of the rounds' medians and
between which values the rounds lie.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import psycopg
import redis

from benchmarks.cache_variants import VARIANTS
from dbopt.testing import services

ROUNDS = 7
THREADS = 30
QUERY_SECONDS = 0.06
INSTANCES = ("orm", "django-redis", "dbopt", "dbopt-local", "cachalot", "cacheops")
# The first is measured again beside the tuples: it is what projects do today, and what the goals are set against.
TUPLES = ("django-redis", "orm-tuples", "django-redis-tuples", "dbopt-tuples", "dbopt-local-tuples")

SCHEMA = """
DROP TABLE IF EXISTS benchmarks_book, benchmarks_author;
CREATE TABLE benchmarks_author (id bigserial PRIMARY KEY, name varchar(100) NOT NULL);
CREATE TABLE benchmarks_book (
    id bigserial PRIMARY KEY, author_id bigint NOT NULL REFERENCES benchmarks_author, title varchar(200) NOT NULL,
    isbn varchar(13) NOT NULL, pages integer NOT NULL, price numeric(8, 2) NOT NULL, published date NOT NULL,
    created timestamptz NOT NULL, in_print boolean NOT NULL
);
INSERT INTO benchmarks_author (name) SELECT 'Author ' || n FROM generate_series(1, 100) AS n;
INSERT INTO benchmarks_book (author_id, title, isbn, pages, price, published, created, in_print)
SELECT n % 100 + 1, 'The title of book ' || n, lpad(n::text, 13, '9'), 100 + n % 900, n % 90 + 0.99,
       DATE '2000-01-01' + n, TIMESTAMPTZ '2020-01-01' + n * INTERVAL '1 hour', n % 3 > 0
FROM generate_series(1, 10000) AS n;
CREATE INDEX ON benchmarks_book (author_id, id);
VACUUM ANALYZE benchmarks_book;
"""


class Remote:
    """A variant's process."""

    def __init__(self, name, environment):
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cache_variants", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def do(self, *order):
        """Have an order carried out; return its microseconds."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The process of {self.name} ended while it did {order[0]}.")
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)


class Report:
    """Lines for people, and the same as a Markdown table."""

    def __init__(self):
        self.lines = []

    def title(self, text, *columns):
        print(f"\n{text}\n{columns[0]:24}" + "".join(f"{column:>18}" for column in columns[1:]))
        self.lines += ["", f"### {text}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]

    def row(self, name, *cells):
        print(f"{name:24}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
        self.lines.append(f"| {' | '.join((name, *cells))} |")


def compare(remotes, names, report, *, order, count, base):  # noqa: PLR0913 - by keyword
    """Rounds that take turns; returns the median of each variant."""
    rounds = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            rounds[name].append(statistics.median(remotes[name].do(order, count)))
    middle = {name: statistics.median(found) for name, found in rounds.items()}
    for name in names:
        spread = f"{min(rounds[name]):.0f} - {max(rounds[name]):.0f}"
        report.row(name, f"{middle[name]:.0f}", spread, f"{middle[name] / middle[base]:.2f}")
    return middle


def reads(remotes, report):
    base, columns = "django-redis", ("variant", "us", "rounds", "of django-redis")
    for names, what in ((INSTANCES, "instances"), (TUPLES, "tuples")):
        report.title(f"A hit: 20 rows as {what}", *columns)
        compare(remotes, names, report, order="hits", count=300, base=base)
        report.title(f"A miss: query and store 20 rows as {what}", *columns)
        cached = [name for name in names if not name.startswith("orm") and "local" not in name]
        compare(remotes, cached, report, order="misses", count=100, base=base)


@contextmanager
def longest_stall(url):
    """Ping all the while; the list holds milliseconds of each ping."""
    pings, over = [], threading.Event()
    client = redis.Redis.from_url(url)

    def ping():
        while not over.wait(0.0005):
            started = time.perf_counter()
            client.ping()
            pings.append(1000 * (time.perf_counter() - started))

    thread = threading.Thread(target=ping)
    thread.start()
    yield pings
    over.set()
    thread.join()
    client.close()


def writes(remotes, report, environments, *, sizes):
    report.title(
        "save() with so many cached results that it makes wrong", "variant", "keys", "us", "of orm", "stall ms"
    )
    plain = statistics.median(remotes["orm"].do("saves", 500))
    report.row("orm", "-", f"{plain:.0f}", "1.00", f"{stall(remotes['orm'], environments['orm'], 300):.1f}")
    for name, most in sizes.items():
        for size in (1, 10, 1_000, 10_000, 100_000, 1_000_000):
            if size > most:
                break
            if size == 1 < most:
                continue
            # The first save after cacheops' results meets all of them; of the others, every save meets the same.
            count, rounds = (1, 1) if name == "cacheops" else (100, ROUNDS)
            remotes[name].do("fill", size)
            middle, ratio = saves(remotes, name, count=count, rounds=rounds)
            if name == "cacheops":
                remotes[name].do("fill", size)
            longest = stall(remotes[name], environments[name], 3 * count)
            report.row(name, f"{size:,}", f"{middle:.0f}", f"{ratio:.2f}", f"{longest:.1f}")
        # A server with a million keys is no place for the next variant.
        with redis.Redis.from_url(environments[name]["BENCHMARK_REDIS"]) as client:
            client.flushdb()


def saves(remotes, name, *, count, rounds):
    """Microseconds of a save, and how many times as long as one by the ORM alone it takes, measured beside it."""
    spent, beside = [], []
    for _ in range(rounds):
        spent += remotes[name].do("saves", count)
        beside += remotes["orm"].do("saves", 100)
    middle = statistics.median(spent)
    return middle, middle / statistics.median(beside)


def stall(remote, environment, count):
    """Milliseconds of the longest PING during so many saves, whose times do not count: the pings disturb them."""
    with longest_stall(environment["BENCHMARK_REDIS"]) as pings:
        remote.do("saves", count)
    return max(pings)


def stampedes(remotes, report):
    report.title(
        f"{THREADS} threads ask at once for what a query of {1000 * QUERY_SECONDS:.0f} ms makes",
        "variant", "executions", "p50 ms", "p95 ms", "p95 of the query",
    )  # fmt: skip
    for name in ("orm", "django-redis", "dbopt"):
        found = [remotes[name].do("stampede", THREADS, QUERY_SECONDS, number) for number in range(ROUNDS)]
        executions = statistics.median(answer[-1] for answer in found)
        spent = [value / 1000 for answer in found for value in answer[:-1]]
        p95 = statistics.quantiles(spent, n=20)[-1]
        ratio = p95 / 1000 / QUERY_SECONDS
        report.row(name, f"{executions:.0f}", f"{statistics.median(spent):.0f}", f"{p95:.0f}", f"{ratio:.2f}")


def idle(remotes, report):
    report.title("What one statement pays where nothing is cached or written", "variant", "us", "p90")
    for name in ("orm", "dbopt-idle"):
        spent = [value for _ in range(ROUNDS) for value in remotes[name].do("statement", 300)]
        report.row(name, f"{statistics.median(spent):.2f}", f"{statistics.quantiles(spent, n=10)[-1]:.2f}")


def main(arguments):
    most = int(arguments[0]) if arguments else 1_000_000
    report = Report()
    with services.start(["postgres", "redis"]) as running, ExitStack() as stack:
        with psycopg.connect(running.urls["postgres"], autocommit=True) as connection:
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
        address = running.urls["redis"].rsplit("/", 1)[0]
        environments = {
            name: {"DATABASE_URL": running.urls["postgres"], "BENCHMARK_REDIS": f"{address}/{number}"}
            for number, name in enumerate(VARIANTS)
        }
        remotes = {name: Remote(name, environments[name]) for name in VARIANTS}
        for remote in remotes.values():
            stack.callback(remote.close)
        versions = f"PostgreSQL {running.server('postgres').version}, Valkey {running.server('redis').version}"
        print(f"{versions}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        reads(remotes, report)
        writes(
            remotes,
            report,
            environments,
            sizes={
                # By hand: save, then delete the one key that is known to be wrong.
                "django-redis": 1,
                "dbopt": most,
                "dbopt-unwatched": min(most, 1_000),
                "cachalot": min(most, 1_000),
                "cacheops": min(most, 10_000),
            },
        )
        stampedes(remotes, report)
        idle(remotes, report)
    return report.lines
