"""One page by cursor and by offset, at depth 1 and at 90 % of the rows, on a real PostgreSQL.

python benchmarks/pagination.py [rows]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.databases import databases
from dbopt.testing import services

PAGE = 100
ROUNDS = 31


def configure(url):
    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DATABASES=databases(url),
    )
    django.setup()


def make_model(rows):
    from django.db import connection, models

    class Event(models.Model):
        rank = models.IntegerField()
        created_at = models.DateTimeField()
        text = models.TextField()

        class Meta:
            app_label = "benchmark"
            indexes = [models.Index(fields=["-created_at", "-id"], name="benchmark_event_created")]

        def __str__(self):
            return self.text

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS benchmark_event")
    with connection.schema_editor() as editor:
        editor.create_model(Event)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO benchmark_event (rank, created_at, text) SELECT n %% 101, "
            "TIMESTAMPTZ '2024-01-01' + (n / 3) * INTERVAL '1 second', repeat('x', 100) "
            "FROM generate_series(1, %s) AS n",
            [rows],
        )
        cursor.execute("VACUUM ANALYZE benchmark_event")
    return Event


def milliseconds(ask):
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ask()
        times.append((time.perf_counter() - start) * 1000)
    low, _, high = statistics.quantiles(times, n=4)
    return statistics.median(times), low, high


def measure(model, rows):
    from dbopt.pagination import keyset_page

    order = ("-created_at", "-id")
    queryset = model.objects.order_by(*order)
    for name, depth in (("depth 1", 0), ("90 %", int(rows * 0.9))):
        after = None if depth == 0 else keyset_page(queryset).cursor(queryset[depth - 1])

        def by_cursor(after=after):
            return keyset_page(queryset, first=PAGE, after=after).rows

        def by_offset(depth=depth):
            return list(queryset[depth : depth + PAGE])

        assert by_cursor() == by_offset()
        for way, ask in (("cursor", by_cursor), ("offset", by_offset)):
            median, low, high = milliseconds(ask)
            print(f"{name:8} {way:8} {median:10.2f} {low:8.2f} - {high:.2f}")


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with services.start(["postgres"]) as running:
        server = running.server("postgres")
        configure(running.urls["postgres"])
        from django.db import connection

        model = make_model(rows)
        print(
            f"PostgreSQL {server.version}, Django {django.get_version()}, Python {sys.version.split()[0]}: "
            f"{rows} rows, pages of {PAGE} model instances, {ROUNDS} rounds"
        )
        print(f"{'':8} {'':8} {'median ms':>10} {'quartiles':>8}")
        measure(model, rows)
        with connection.schema_editor() as editor:
            editor.delete_model(model)
        connection.close()


if __name__ == "__main__":
    main()
