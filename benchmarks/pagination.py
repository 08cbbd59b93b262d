"""Pages of 100 rows by cursor and by OFFSET, at several depths of a long table, on a real PostgreSQL.

    make bench ARGS="pagination [rows]"

Depths of one order take turns, so that a slow moment of the machine hits each alike. Ways do not: a deep OFFSET leaves
the processor's caches full of rows, which the page measured after it would pay for. Both ways make model instances of
the same rows, which is looked at before anything is measured. "SQL" is the same statement alone: without
reading the cursor, building the statement and making instances.
"""

from __future__ import annotations

import os
import statistics
import sys

from benchmarks.cache import Report
from benchmarks.databases import databases
from benchmarks.graphql import measure
from dbopt.testing import services

ROWS = 1_000_000
PAGE = 100
ROUNDS = 11
WARM_ROUNDS = 1
# Shares of the rows: one in a thousand, one in ten, nine in ten.
DEPTHS = {"1": 0, "1/1000": 0.001, "1/10": 0.1, "9/10": 0.9}


def configure(url):
    import django
    from django.conf import settings

    settings.configure(SECRET_KEY="benchmark", USE_TZ=True, DATABASES=databases(url))
    django.setup()


def make_model(rows):
    from django.db import connection, models
    from django.db.models import F

    class Event(models.Model):
        created_at = models.DateTimeField()
        rank = models.IntegerField()
        score = models.FloatField(null=True)
        text = models.TextField()

        class Meta:
            app_label = "benchmark"
            indexes = [
                models.Index(fields=["-created_at", "-id"], name="benchmark_created"),
                models.Index(fields=["rank", "-created_at", "-id"], name="benchmark_rank"),
                models.Index(F("score").desc(nulls_last=True), F("id").desc(), name="benchmark_score"),
            ]

        def __str__(self):
            return self.text

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS benchmark_event")
    with connection.schema_editor() as editor:
        editor.create_model(Event)
    with connection.cursor() as cursor:
        # 101 ranks; every fifth row has no score, the others share 100,000 of them.
        cursor.execute(
            """
            INSERT INTO benchmark_event (created_at, rank, score, text)
            SELECT TIMESTAMPTZ '2024-01-01' + (n / 3) * INTERVAL '1 second', n %% 101,
                   CASE WHEN n %% 5 > 0 THEN (n::bigint * 7919) %% 100000 END, repeat('x', 100)
            FROM generate_series(1, %s) AS n
            """,
            [rows],
        )
        cursor.execute("VACUUM ANALYZE benchmark_event")
    return Event


def ways_of(model, order, rows):
    """A page of the order by cursor and by OFFSET, at each depth."""
    from dbopt.pagination import keyset_page
    from dbopt.pagination.order import order_of

    def by_cursor(after):
        return keyset_page(model.objects.all(), order_by=order, first=PAGE, after=after).rows

    def by_offset(depth):
        return list(queryset[depth : depth + PAGE])

    total = order_of(model.objects.all(), order)
    queryset = total.sort(model.objects.all(), is_backward=False)
    page = keyset_page(model.objects.all(), order_by=order)
    ways = {}
    for name, share in DEPTHS.items():
        depth = int(rows * share)
        after = page.cursor(queryset[depth - 1]) if depth else None
        assert by_cursor(after) == by_offset(depth)
        pages = {
            "cursor": lambda after=after: by_cursor(after),
            "OFFSET": lambda depth=depth: by_offset(depth),
        }
        for way, read in pages.items():
            ways.setdefault(way, {})[name] = read
            ways.setdefault(f"{way}, SQL", {})[name] = statement_of(read)
    return ways


def statement_of(read):
    """Return a call that runs a page's statement and takes its rows as they come."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        read()
    (query,) = captured

    def run():
        with connection.cursor() as cursor:
            cursor.execute(query["sql"])
            cursor.fetchall()

    return run


def compare(model, report, rows):
    from django.db.models import F

    orders = {
        "created_at DESC, id DESC": ("-created_at", "-id"),
        "rank, created_at DESC, id DESC": ("rank", "-created_at", "-id"),
        "score DESC NULLS LAST, id DESC": (F("score").desc(nulls_last=True), "-id"),
    }
    for title, order in orders.items():
        report.title(
            title, "way", *(f"depth {name}" for name in DEPTHS), "deepest of first", "quartiles of the deepest"
        )
        for way, depths in ways_of(model, order, rows).items():
            measure(depths, rounds=WARM_ROUNDS)
            spent = measure(depths, rounds=ROUNDS)
            times = [spent[name][0] for name in DEPTHS]
            middles = [statistics.median(found) for found in times]
            low, _, high = statistics.quantiles(times[-1], n=4)
            cells = [f"{middle:.2f}" for middle in middles]
            report.row(way, *cells, f"{middles[-1] / middles[0]:.2f}", f"{low:.2f} - {high:.2f}")


def totals(model, report):
    """What it costs to say how many there are."""
    from dbopt.pagination import count_rows

    modes = ("exact", "capped", "estimated")
    report.title("The total", "mode", "ms", "answer")
    spent = measure({mode: lambda mode=mode: count_rows(model.objects.all(), mode) for mode in modes}, rounds=7)
    for mode in modes:
        report.row(mode, f"{statistics.median(spent[mode][0]):.2f}", str(count_rows(model.objects.all(), mode)))


def main(arguments):
    rows = int(arguments[0]) if arguments else ROWS
    report = Report()
    with services.start(["postgres"]) as running:
        configure(running.urls["postgres"])
        from django.db import connection

        model = make_model(rows)
        head = (
            f"PostgreSQL {running.server('postgres').version}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, "
            f"load {os.getloadavg()[0]:.1f}: {rows:,} rows, pages of {PAGE} instances, milliseconds, "
            f"medians of {ROUNDS} rounds"
        )
        print(head)
        report.lines += ["", head + "."]
        compare(model, report, rows)
        totals(model, report)
        connection.close()
    return report.lines
