"""GraphQL side by side: dbopt, graphene-django by hand and optimised, strawberry-django, and a loop without GraphQL.

    make bench ARGS=graphql

All variants live in one process, answer the same rows from one PostgreSQL, and take turns round by round. Peers that
are not installed are left out: `make bench` brings them.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time

import psycopg

from benchmarks.cache import Report
from benchmarks.databases import databases
from dbopt.testing import services

ROUNDS = 15
CELLS = (1000, 10)


def configure(url):
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        # The other packages have no limit of cost.
        DBOPT={"GRAPHQL": {"MAX_COST": 10_000_000}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "graphene_django", "benchmarks"],
        DATABASES=databases(url),
    )
    django.setup()


def measure(ways, *, rounds=ROUNDS):
    """Milliseconds (of the clock, of this process) of each way in each round; ways take turns."""
    spent = {name: ([], []) for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter(), time.process_time()
            way()
            ended = time.perf_counter(), time.process_time()
            for found, begin, end in zip(spent[name], started, ended, strict=True):
                found.append(1000 * (end - begin))
    return spent


def table(report, title, ways, *, base, rounds=ROUNDS, extra=None):  # noqa: PLR0913 - by keyword
    """Measure and report; returns the medians."""
    columns = ("variant", "ms", "quartiles", f"of {base}", "CPU ms", f"CPU of {base}", *(("SQL",) if extra else ()))
    report.title(title, *columns)
    spent = measure(ways, rounds=rounds)
    middles = {name: [statistics.median(times) for times in found] for name, found in spent.items()}
    for name, (wall, cpu) in middles.items():
        low, _, high = statistics.quantiles(spent[name][0], n=4)
        ratios = [f"{own / other:.2f}" for own, other in zip(middles[name], middles[base], strict=True)]
        more = (str(extra[name]),) if extra else ()
        report.row(name, f"{wall:.2f}", f"{low:.2f} - {high:.2f}", ratios[0], f"{cpu:.2f}", ratios[1], *more)
    return {name: cpu for name, (_, cpu) in middles.items()}


def statements(work):
    """Count a call's statements."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


def variants(makers):
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as error:
            print(f"without {name}: {error}")
    return found


def trees(report):
    from benchmarks.graphql_schemas import VARIANTS

    answers = variants(VARIANTS)
    for count in (100, 1000):
        expected = json.loads(answers["loop"](count))
        ways, counts = {}, {}
        for name, answer in answers.items():
            got = json.loads(answer(count))
            assert got == expected, f"{name} answers otherwise: {str(got)[:300]}"
            ways[name] = lambda answer=answer, count=count: answer(count)
            counts[name] = statements(ways[name])
        rounds = ROUNDS if count == 100 else 5
        table(
            report,
            f"{count:,} entities, their relationships and targets",
            ways,
            base="loop",
            rounds=rounds,
            extra=counts,
        )


def small(report):
    from benchmarks.graphql_schemas import SMALL, dbopt_variant, prefetch_variant

    ways = {"graphene-django": prefetch_variant(SMALL), "dbopt": dbopt_variant(SMALL)}
    ways = {name: lambda answer=answer: [answer(1) for _ in range(10)] for name, answer in ways.items()}
    table(report, "10 requests of one object with three fields", ways, base="graphene-django", rounds=3 * ROUNDS)


def cells(report):
    """The executor alone: attributes of plain objects."""
    import graphene
    from graphql import execute, parse

    from dbopt.graphql import DboptExecutionContext

    rows, width = CELLS
    names = [f"field{number}" for number in range(width)]
    item = type("Item", (graphene.ObjectType,), {name: graphene.String() for name in names})
    thing = type("Thing", (), dict.fromkeys(names, "text"))
    things = [thing() for _ in range(rows)]
    query = type(
        "Query",
        (graphene.ObjectType,),
        {"items": graphene.List(item), "resolve_items": lambda root, info: things},
    )
    schema = graphene.Schema(query=query).graphql_schema
    document = parse("{ items { " + " ".join(names) + " } }")
    ways = {
        "graphql-core": lambda: execute(schema, document),
        "dbopt": lambda: execute(schema, document, execution_context_class=DboptExecutionContext),
    }
    middles = table(report, f"Executor alone, {rows * width:,} cells", ways, base="graphql-core")
    per_cell = ", ".join(f"{name} {1000 * middle / rows / width:.2f} us" for name, middle in middles.items())
    print(f"CPU per cell: {per_cell}")
    report.lines += ["", f"CPU per cell: {per_cell}."]


def tops(report):
    """The ten newest of a thousand rows for each of a hundred parents."""
    from django.db.models import F, Window
    from django.db.models.functions import RowNumber

    from benchmarks.graphql_schemas import Link
    from dbopt.graphql.loading.top_rows import top_rows

    keys = list(range(2000, 2100))
    newest = Link.objects.order_by("-created", "-id").only("kind", "weight", "source_id")

    def numbered():
        window = Window(RowNumber(), partition_by=F("source"), order_by=[F("created").desc(), F("id").desc()])
        return list(newest.filter(source__in=keys).annotate(number=window).filter(number__lte=10))

    ways = {
        "ROW_NUMBER": numbered,
        "one query a parent": lambda: [list(newest.filter(source=key)[:10]) for key in keys],
        "dbopt, LATERAL": lambda: top_rows(newest, Link._meta.get_field("source"), keys, limit=10),
    }
    table(report, "Top 10 of 1,000 rows for 100 parents", ways, base="ROW_NUMBER")


def pages(report):
    """The same as connections: what a page of each of a hundred parents costs a request."""
    from benchmarks.graphql_connections import PARENTS, VARIANTS

    answers = variants(VARIANTS)
    expected = json.loads(answers["dbopt, keyset"](PARENTS))
    assert len(expected["data"]["entities"]) == PARENTS
    ways, counts = {}, {}
    for name, answer in answers.items():
        got = json.loads(answer(PARENTS))
        assert got == expected, f"{name} answers otherwise: {str(got)[:300]}"
        ways[name] = lambda answer=answer: answer(PARENTS)
        counts[name] = statements(ways[name])
    table(report, "First 10 of 1,000 rows for 100 parents", ways, base="graphene-django", extra=counts)


def memory(report):
    """What requests leave behind for the garbage collector."""
    from benchmarks.graphql_schemas import TREE, dbopt_variant, prefetch_variant

    report.title("Objects that a request of 100 entities leaves in cycles", "variant", "objects")
    for name, answer in (("graphene-django", prefetch_variant(TREE)), ("dbopt", dbopt_variant(TREE))):
        answer(100)
        gc.collect()
        gc.disable()
        answer(100)
        left = gc.collect()
        gc.enable()
        report.row(name, str(left))


PARTS = {"trees": trees, "small": small, "cells": cells, "tops": tops, "pages": pages, "memory": memory}


def main(arguments):
    report = Report()
    with services.start(["postgres"]) as running:
        with psycopg.connect(running.urls["postgres"], autocommit=True) as connection:
            configure(running.urls["postgres"])
            from benchmarks.graphql_schemas import SCHEMA

            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
        version = running.server("postgres").version
        head = f"PostgreSQL {version}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(head)
        report.lines += ["", head + "."]
        for name in arguments or PARTS:
            PARTS[name](report)
        from django.db import connections

        connections.close_all()
    return report.lines
