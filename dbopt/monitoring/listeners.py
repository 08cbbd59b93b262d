"""Puts what the stores announce into the record of the request, and Cypher into the statistics."""

from __future__ import annotations

from typing import Any

from dbopt.monitoring.aggregate import NO_ROUTE, Observation, statistics_of_process
from dbopt.monitoring.records import current_record
from dbopt.signals import batch_loaded, cache_read, cypher_executed, observe


def install() -> None:
    """Listen. Repeating it changes nothing."""
    observe(cypher_executed, count_cypher)
    observe(cache_read, count_cache_read)
    observe(batch_loaded, count_batch)


def count_cypher(  # noqa: PLR0913 - the arguments of the signal
    *,
    alias: str,
    access: str,
    name: str | None,
    fingerprint: str,
    seconds: float,
    slow: bool,
    failed: bool,
    **_: Any,
) -> None:
    """Count a Cypher statement."""
    record = current_record()
    if record is not None:
        record.add(cypher=1, cypher_seconds=seconds)
    statistics_of_process().add(
        Observation(
            system="cypher",
            alias=alias,
            fingerprint=fingerprint,
            operation=access,
            text=name or "",
            seconds=seconds,
            slow=slow,
            failed=failed,
            origin=None,
            route=record.route if record is not None else NO_ROUTE,
        )
    )


def count_cache_read(*, outcome: str, **_: Any) -> None:
    """Count a call of a cached function; one that went around the cache is neither a hit nor a miss."""
    record = current_record()
    if record is None:
        return
    if outcome == "hit":
        record.add(hits=1)
    elif outcome in ("miss", "stale"):
        record.add(misses=1)


def count_batch(*, size: int, **_: Any) -> None:
    """Count a batch of a loader."""
    record = current_record()
    if record is not None:
        # A loader that answered everything itself says so with size 0.
        record.add(batches=1 if size else 0, loads=size)
