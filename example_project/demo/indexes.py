"""What the planner does with five kinds of query of the guide, with and without the index that serves them."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction

from dbopt.intelgraph.queries import entities, relationships

if TYPE_CHECKING:
    from django.db.models import QuerySet

RUNS = 3
PAGE = 50
# Rows looked at for values that a query can ask for.
SAMPLE = 5000


@dataclass(frozen=True, slots=True)
class Plan:
    """How PostgreSQL ran a query: scan nodes, whether it sorted, milliseconds in the server, 8 kB pages touched."""

    scans: tuple[str, ...]
    sorts: bool
    ms: float
    pages: int


def settle() -> None:
    """Do what autovacuum does soon after tables were filled; outside a transaction.

    Until then the planner knows nothing of the rows, and a GIN index keeps them in an unsorted list that every
    search reads whole (https://www.postgresql.org/docs/18/gin.html#GIN-FAST-UPDATE).
    """
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def compare(tenant: int) -> list[dict[str, Any]]:
    """Plan and time of each query with its index, and in a rolled-back transaction without it.

    `used` tells whether the planner took the index: it reads a table of a few pages whole.
    """
    rows = []
    for title, index, queryset in _queries(tenant):
        after = _plan(queryset)
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"DROP INDEX {connection.ops.quote_name(index)}")
            before = _plan(queryset)
            transaction.set_rollback(True)
        used = any(scan.endswith(f" using {index}") for scan in after.scans)
        rows.append({"query": title, "index": index, "used": used, "before": asdict(before), "after": asdict(after)})
    return rows


def _queries(tenant: int) -> Iterator[tuple[str, str, QuerySet[Any, Any]]]:
    """Title, index and queryset, with values that the tenant's rows have."""
    # The rarest type: nearly every one of the newest entities may be of the commonest.
    kind, _ = min(entities.type_counts(tenant), key=lambda counted: counted[1], default=("", 0))
    names = entities.newest(tenant).values_list("name", flat=True)[:SAMPLE]
    sample = list(relationships.newest(tenant).values_list("source_id", "props")[:SAMPLE])
    hub = Counter(source for source, _ in sample).most_common(1)
    yield (
        "entities of a tenant and type, newest first",
        "idx_entity_tenant_type_created",
        entities.newest(tenant, kind=kind)[:PAGE],
    )
    yield "entities of a tenant, newest first", "idx_entity_tenant_created", entities.newest(tenant)[:PAGE]
    yield (
        "entities whose name contains a text",
        "idx_entity_uname_trgm",
        entities.name_contains(_rare_text(names)),
    )
    yield (
        "relationships out of an entity, surest first",
        "idx_rel_source_conf",
        relationships.surest_targets(hub[0][0] if hub else 0)[:PAGE],
    )
    yield (
        "relationships with a property",
        "idx_rel_props",
        relationships.with_props(_a_property(props for _, props in sample)),
    )


def _rare_text(names: Iterable[str]) -> str:
    """Four letters that few names have: a rare text is what people search for.

    Four, because an index of trigrams is read once for every three letters in a row.
    """
    seen = Counter(start for name in names for start in re.findall(r"\b\w{4}", name))
    return min(seen, key=seen.__getitem__, default="none")


def _a_property(sample: Iterable[dict[str, Any]]) -> dict[str, str]:
    """A property with a text value that some relationship has."""
    texts = ({name: value} for props in sample for name, value in props.items() if isinstance(value, str))
    return next(texts, {"none": "none"})


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
