"""The demo's way from an empty server to a served console."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import Count
from django.test import Client

from dbopt.intelgraph.models import Entity, Investigation, Member, Relationship, Tenant
from dbopt.intelgraph.queries import members
from example_project.demo import cached_reads, graph_reads, graphql_reads, graphql_view, indexes, pages, serving, tables

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand

LOADED_TENANT = "demo"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    once: bool
    report: Path | None
    data: Path | None
    entities: int
    port: int

    @classmethod
    def of(cls, options: dict[str, Any]) -> Options:
        """Take the demo's options out of all options of the command."""
        return cls(**{name: options[name] for name in cls.__slots__})


def travel(command: BaseCommand, *, options: Options, servers: dict[str, Any]) -> None:
    """Migrate, load, synchronise, measure, report; then serve, unless once."""
    report: dict[str, Any] = {"versions": _versions(), "servers": servers or _servers()}
    _prepare(command, options)
    tenant = Tenant.objects.annotate(size=Count("entities")).order_by("-size").first()
    if tenant is None:
        raise CommandError("There is no tenant after loading.", returncode=1)
    member = _member(tenant)
    report["counts"] = {
        "entities": Entity.objects.count(),
        "relationships": Relationship.objects.count(),
        "investigations": Investigation.objects.count(),
    }
    with _step(command, "measuring"):
        report["indexes"] = indexes.compare(tenant.pk)
        report["graphql"] = graphql_reads.compare(member) | graphql_view.show(member)
        report["pagination"] = pages.compare(tenant.pk)
        report["cache"] = cached_reads.compare(tenant.pk)
        report["neo4j"] = graph_reads.compare(tenant.pk)
        report["health"] = Client(SERVER_NAME="localhost").get("/health/database").json()
    for line in tables.lines(report):
        command.stdout.write(line)
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        command.stdout.write(f"\nwrote {options.report}")
    _check(report)
    if not options.once:
        serving.serve(command, first_port=options.port)


def _prepare(command: BaseCommand, options: Options) -> None:
    with _step(command, "migrate"):
        call_command("migrate", verbosity=0)
    with _step(command, "neo4j_indexes"):
        call_command("neo4j_indexes", stdout=command.stdout)
    if options.data is None:
        with _step(command, f"intelgraph_seed --entities {options.entities}"):
            call_command("intelgraph_seed", entities=options.entities, stdout=command.stdout)
    else:
        with _step(command, f"intelgraph_load {options.data.name} --tenant {LOADED_TENANT}"):
            call_command(
                "intelgraph_load", str(options.data), tenant=LOADED_TENANT, create_tenant=True, stdout=command.stdout
            )
    with _step(command, "dbopt_graph sync"):
        call_command("dbopt_graph", "sync", stdout=command.stdout)
    with _step(command, "vacuum and analyze"):
        indexes.settle()


@contextmanager
def _step(command: BaseCommand, title: str) -> Iterator[None]:
    command.stdout.write(f"-- {title}")
    begun = time.perf_counter()
    yield
    command.stdout.write(f"   {time.perf_counter() - begun:.1f} s")


def _member(tenant: Tenant) -> Member:
    """A user of the tenant to log in as; made when the data brought none."""
    member = members.newest(tenant.pk).select_related("user").first()
    if member is None:
        user, _ = get_user_model().objects.get_or_create(username=f"analyst@{tenant.slug}")
        member = Member.objects.create(tenant=tenant, user=user, role="analyst", email=f"analyst@{tenant.slug}.example")
    return member


def _versions() -> dict[str, str]:
    packages = ("dbopt", "Django", "psycopg", "redis", "neo4j", "graphene-django", "graphql-core", "promise")
    return {"python": platform.python_version(), **{name.lower(): metadata.version(name) for name in packages}}


def _servers() -> dict[str, Any]:
    """Versions of servers that this demo did not start."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        (version,) = cursor.fetchone()
    return {"postgres": {"version": version, "start_seconds": None}}


def _check(report: dict[str, Any]) -> None:
    """A demo whose two ways give different answers has failed."""
    wrong = [name for name in ("graphql", "pagination", "neo4j") if not report[name]["same_rows"]]
    if not report["cache"]["new_value_seen"]:
        wrong.append("cache")
    if not report["graphql"]["as_promised"]:
        wrong.append("graphql's view")
    if wrong:
        raise CommandError(f"With and without dbopt, the answers differ: {', '.join(wrong)}.", returncode=1)
