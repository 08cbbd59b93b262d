"""What the planner does with five kinds of query of the guide, with and without the index that serves them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from dbopt.intelgraph.models import Entity, Relationship

if TYPE_CHECKING:
    from django.db.models import QuerySet

RUNS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How PostgreSQL ran a query: scan nodes, whether it sorted, milliseconds in the server, 8 kB pages touched."""

    scans: tuple[str, ...]
    sorts: bool
    ms: float
    pages: int


def compare(tenant: int) -> list[dict[str, Any]]:
    """Plan and time of each query with its index, and in a rolled-back transaction without it."""
    rows = []
    for title, index, queryset in _queries(tenant):
        after = _plan(queryset)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"DROP INDEX {connection.ops.quote_name(index)}")
            before = _plan(queryset)
            transaction.set_rollback(True)
        rows.append({"query": title, "index": index, "before": asdict(before), "after": asdict(after)})
    return rows


def _queries(tenant: int) -> Iterator[tuple[str, str, QuerySet[Any, Any]]]:
    entities = Entity.objects.filter(tenant_id=tenant)
    kind = entities.values_list("type", flat=True).first()
    # A long word is a rare text, which is what people search for.
    words = (word for name in entities.values_list("name", flat=True)[:200] for word in name.split())
    sample = max(words, key=len, default="")[:12]
    hub = Relationship.objects.filter(tenant_id=tenant).values_list("source_id", flat=True).first()
    yield (
        "entities of a tenant and type, newest first",
        "idx_entity_tenant_type_created",
        entities.filter(type=kind).order_by("-created_at", "-id")[:50],
    )
    yield (
        "entities of a tenant, newest first",
        "idx_entity_tenant_created",
        entities.order_by("-created_at", "-id")[:50],
    )
    yield "entities whose name contains a text", "idx_entity_uname_trgm", Entity.objects.filter(name__icontains=sample)
    yield (
        "relationships out of an entity, surest first",
        "idx_rel_source_conf",
        Relationship.objects.filter(source_id=hub).order_by("-confidence").values("target_id", "type")[:50],
    )
    yield (
        "relationships with a property",
        "idx_rel_props",
        Relationship.objects.filter(props__contains=_a_property(tenant)),
    )


def _a_property(tenant: int) -> dict[str, str]:
    """A property with a text value that some relationship has."""
    for props in Relationship.objects.filter(tenant_id=tenant).values_list("props", flat=True)[:100]:
        for name, value in props.items():
            if isinstance(value, str):
                return {name: value}
    return {"none": "none"}


def _plan(queryset: QuerySet[Any, Any]) -> Plan:
    explained = [json.loads(queryset.explain(format="json", analyze=True, buffers=True))[0] for _ in range(RUNS)]
    nodes = list(_nodes(explained[0]["Plan"]))
    scans = tuple(
        node["Node Type"] + (f" using {node['Index Name']}" if "Index Name" in node else "")
        for node in nodes
        if "Scan" in node["Node Type"]
    )
    top = explained[-1]["Plan"]
    return Plan(
        scans=scans,
        sorts=any("Sort" in node["Node Type"] for node in nodes),
        ms=round(statistics.median(run["Execution Time"] for run in explained), 3),
        pages=top.get("Shared Hit Blocks", 0) + top.get("Shared Read Blocks", 0),
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
