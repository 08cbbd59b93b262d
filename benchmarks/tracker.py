"""What watching a statement costs: the tracker's own time, measured inside real ORM queries on PostgreSQL.

    DATABASE_URL=postgresql://... python -m benchmarks.tracker

Two spies stand around the tracker, one outside and one inside; the difference of what they measure is the tracker.
Measured in time and in processor time of the thread, which other programs on the machine disturb less.
The budget is 15 us a statement (median) with everything on.
"""

from __future__ import annotations

import os
import platform
import statistics
import time

import django

ROUNDS = 200
WARM_UP = 20


class Spy:
    """Remembers how long the rest of the chain took, statement by statement."""

    def __init__(self, clock):
        self.clock = clock
        self.seconds = []

    def __call__(self, execute, sql, params, many, context):
        started = self.clock()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds.append(self.clock() - started)


def twenty_queries(model):
    """Twenty statements of one to twenty conditions, as a page with many small queries makes them."""
    from django.db.models import Q

    for number in range(20):
        condition = Q(name=f"name{number}")
        for other in range(number):
            condition |= Q(name=f"other{other}")
        list(model.objects.filter(condition).values_list("encoding"))


def own_times(connection, model, *, between, clock):
    """Microseconds of what stands between the two spies, one figure a statement; the spies' own time is in it."""
    outer, inner = Spy(clock), Spy(clock)
    connection.execute_wrappers[:] = [outer, *between, inner]
    for _ in range(WARM_UP):
        twenty_queries(model)
    outer.seconds.clear()
    inner.seconds.clear()
    for _ in range(ROUNDS):
        twenty_queries(model)
    return [1e6 * (whole - rest) for whole, rest in zip(outer.seconds, inner.seconds, strict=True)]


def variants():
    """Name -> (DBOPT, whether the metrics listen, whether a request is recorded)."""
    return {
        "spies alone": None,
        "counted, no origin": ({"ORIGIN": "off"}, False),
        "counted, origin of each": ({"ORIGIN": "always"}, False),
        "counted, metrics, no origin": ({"ORIGIN": "off"}, True),
        "counted, metrics, origin of each": ({"ORIGIN": "always"}, True),
    }


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.db import connection, models
    from django.test import override_settings

    from dbopt.metrics import receivers
    from dbopt.monitoring import track_request, tracker

    class Database(models.Model):
        """A small table that every PostgreSQL has."""

        name = models.TextField(primary_key=True, db_column="datname")
        encoding = models.IntegerField()

        class Meta:
            managed = False
            app_label = "testapp"
            db_table = "pg_database"

        def __str__(self):
            return self.name

    connection.ensure_connection()
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    )
    print(f"{'us a statement':36}{'median':>8}{'p90':>8}{'processor: median':>20}{'p90':>8}")
    for name, variant in variants().items():
        options, metrics = variant or ({}, False)
        tracker.observers[:] = [receivers.count_statement] if metrics else []
        print(f"{name:36}", end="")
        for clock, width in ((time.perf_counter, 8), (time.thread_time, 20)):
            with override_settings(DBOPT={"MONITORING": options}), track_request("benchmark"):
                between = [tracker.track] if variant else []
                times = own_times(connection, Database, between=between, clock=clock)
            print(f"{statistics.median(times):{width}.1f}{statistics.quantiles(times, n=10)[-1]:8.1f}", end="")
        print()


if __name__ == "__main__":
    main()
