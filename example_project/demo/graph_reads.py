"""Looking up entities in the graph one by one, and in one batch."""

from __future__ import annotations

from typing import Any

from dbopt.intelgraph.models import Entity
from dbopt.neo4j import graph
from example_project.demo.stopwatch import measure

KEYS = 200
ONE = "MATCH (e:Entity {id: $id, tenantId: $tenant}) RETURN e.id AS id, e.name AS name"
BATCH = "UNWIND $ids AS id MATCH (e:Entity {id: id, tenantId: $tenant}) RETURN e.id AS id, e.name AS name"


def compare(tenant: int) -> dict[str, Any]:
    """Milliseconds for the same entities by single look-ups and by one UNWIND; both must give the same rows."""
    ids = list(Entity.objects.filter(tenant_id=tenant).order_by("id").values_list("id", flat=True)[:KEYS])
    single = measure(
        lambda: [row for id_ in ids for row in _pairs(graph.read(ONE, {"id": id_, "tenant": tenant}, name="demo one"))],
        runs=3,
    )
    batch = measure(lambda: _pairs(graph.read(BATCH, {"ids": ids, "tenant": tenant}, name="demo batch")), runs=3)
    return {
        "keys": len(ids),
        "found": len(batch.result),
        "same_rows": sorted(single.result) == sorted(batch.result),
        "single_ms": single.ms,
        "batch_ms": batch.ms,
    }


def _pairs(rows: Any) -> list[tuple[int, str]]:
    return [(row["id"], row["name"]) for row in rows]
