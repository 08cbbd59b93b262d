"""Answers from the cache beside answers computed: whole responses, and the second level of loaders.

    make bench ARGS=graphql_caching

By hand means what `cache_page` does, for POST: the bytes of a response in Django's cache under a hash of the body, for
60 seconds, whatever is written meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

import psycopg

from benchmarks.cache import Report
from benchmarks.databases import databases
from benchmarks.graphql import statements, table
from dbopt.testing import services

ROUNDS = 30


def configure(urls):
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DBOPT={"GRAPHQL": {"MAX_COST": 10_000_000}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "graphene_django", "dbopt", "benchmarks"],
        DATABASES=databases(urls["postgres"]),
        CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": urls["redis"]}},
    )
    django.setup()


def by_hand(view, text):
    """Return a function as `posting` does, with the view behind Django's cache."""
    from django.core.cache import caches
    from django.http import HttpResponse

    from benchmarks.graphql_schemas import posting

    cache = caches["default"]

    def cached(request):
        key = hashlib.sha256(request.body).hexdigest()
        content = cache.get(key)
        if content is None:
            content = view(request).content
            cache.set(key, content, 60)
        return HttpResponse(content, content_type="application/json")

    return posting(cached, text)


def responses(report):
    from benchmarks.graphql_schemas import SMALL, TREE, Entity, dbopt_variant, entities, graphene_schema, posting
    from dbopt.cache import invalidate
    from dbopt.graphql import GraphQLView, cache_control, optimize

    schema = optimize(
        graphene_schema(lambda info, limit: entities(limit), each=cache_control(max_age=60, scope="PUBLIC"))
    )
    kept = GraphQLView.as_view(schema=schema)
    for title, text, argument, times in (
        ("One object with three fields, 10 requests", SMALL, 7, 10),
        ("100 entities, their relationships and targets", TREE, 100, 1),
        ("1,000 entities, their relationships and targets", TREE, 1000, 1),
    ):
        answers = {
            "dbopt, nothing kept": dbopt_variant(text),
            "dbopt, response kept": posting(kept, text),
            "by hand, in Django's cache": by_hand(kept, text),
        }
        expected = {json.dumps(json.loads(answer(argument)), sort_keys=True) for answer in answers.values()}
        assert len(expected) == 1
        ways = {
            name: lambda answer=answer, argument=argument, times=times: [answer(argument) for _ in range(times)]
            for name, answer in answers.items()
        }
        counts = {name: statements(way) for name, way in ways.items()}
        base = "dbopt, nothing kept"
        table(report, title, ways, base=base, rounds=ROUNDS, extra=counts)
        # Apart: a write makes what is kept invalid for all that take turns.
        written = {
            base: ways[base],
            "dbopt, response kept": lambda way=ways["dbopt, response kept"]: (invalidate(Entity), way()),
        }
        table(report, f"{title}, after a write each time", written, base=base, rounds=ROUNDS)


def loaders(report):
    from django.db.models import Count, Max

    from benchmarks.graphql_schemas import Entity, Link
    from dbopt.graphql import DataLoader, ModelLoader, SecondLevel
    from dbopt.graphql.execution.promises import held_queue, run_next_job

    class EntityByPk(ModelLoader):
        model = Entity

    class LinksOf(DataLoader):
        def batch_load(self, keys):
            rows = Link.objects.filter(source__in=keys).values_list("source").annotate(Count("pk"), Max("weight"))
            return {key: [count, weight] for key, count, weight in rows}

    class KeptEntityByPk(EntityByPk):
        second_level = SecondLevel(scope="PUBLIC")

    class KeptLinksOf(LinksOf):
        second_level = SecondLevel(scope="PUBLIC")

    def load(loader, keys):
        with held_queue():
            promise = loader().load_many(keys)
            while run_next_job():
                pass
            return promise.get()

    rows, busy = list(range(1, 101)), list(range(2000, 2100))
    for title, plain, kept, keys in (
        ("Loader of 100 rows by primary key", EntityByPk, KeptEntityByPk, rows),
        ("Loader of aggregates over 1,000 rows each, 100 keys", LinksOf, KeptLinksOf, busy),
    ):
        assert load(plain, keys) == load(kept, keys) == load(kept, keys)
        ways = {
            "plain": lambda plain=plain, keys=keys: load(plain, keys),
            "second level": lambda kept=kept, keys=keys: load(kept, keys),
        }
        table(
            report,
            title,
            ways,
            base="plain",
            rounds=ROUNDS,
            extra={name: statements(way) for name, way in ways.items()},
        )


def main(arguments):
    report = Report()
    with services.start(["postgres", "redis"]) as running:
        with psycopg.connect(running.urls["postgres"], autocommit=True) as connection:
            configure(running.urls)
            from benchmarks.graphql_schemas import SCHEMA

            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)
        version, cache = (running.server(name).version for name in ("postgres", "redis"))
        head = f"PostgreSQL {version}, Valkey {cache}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(head)
        report.lines += ["", head + "."]
        for part in (responses, loaders):
            if not arguments or part.__name__ in arguments:
                part(report)
        from django.db import connections

        connections.close_all()
    return report.lines
