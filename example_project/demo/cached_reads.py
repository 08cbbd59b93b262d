"""A cached aggregate: cold, warm, and right after a write that changes it."""

from __future__ import annotations

import time
from typing import Any

from dbopt.intelgraph.models import Entity
from dbopt.intelgraph.summaries import entity_type_counts
from dbopt.tenancy import tenant_context
from example_project.demo.stopwatch import measure

PROBE = "DEMO-PROBE"


def compare(tenant: int) -> dict[str, Any]:
    """Milliseconds and statements of each read, and whether the read after the write saw the new value."""
    with tenant_context(tenant):
        entity_type_counts.invalidate_all()
        begun = time.perf_counter()
        entity_type_counts(tenant)
        cold_ms = (time.perf_counter() - begun) * 1000
        warm = measure(lambda: entity_type_counts(tenant), runs=50)
        uncached = measure(lambda: entity_type_counts.uncached(tenant))
        probe = Entity.objects.create(tenant_id=tenant, type=PROBE, name="written by the demo", confidence=0.5)
        begun = time.perf_counter()
        seen = dict(entity_type_counts(tenant)).get(PROBE) == 1
        after_write_ms = (time.perf_counter() - begun) * 1000
        probe.delete()
        gone = PROBE not in dict(entity_type_counts(tenant))
    return {
        "uncached_ms": uncached.ms,
        "cold_ms": round(cold_ms, 3),
        "warm_ms": warm.ms,
        "warm_statements": warm.statements,
        "after_write_ms": round(after_write_ms, 3),
        "new_value_seen": seen and gone,
    }
