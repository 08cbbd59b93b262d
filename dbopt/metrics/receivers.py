"""Counts what the stores announce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.signals import request_finished

from dbopt.conf import dbopt_settings
from dbopt.metrics.registry import families
from dbopt.metrics.samples import prepare_for_forks, sample_now_and_then
from dbopt.metrics.series import graph_children, loader_label, prefix_children, query_children, route_label
from dbopt.monitoring import tracker
from dbopt.monitoring.aggregate import NO_ROUTE
from dbopt.monitoring.records import current_record
from dbopt.signals import (
    batch_loaded,
    cache_invalidated,
    cache_read,
    cypher_executed,
    loader_unbatched,
    n_plus_one_found,
    observe,
)

if TYPE_CHECKING:
    from dbopt.monitoring.aggregate import Observation

_UID = "dbopt.metrics"


def install() -> None:
    """Listen to the stores. Registers no metric yet; repeating it changes nothing."""
    if count_statement not in tracker.observers:
        tracker.observers.append(count_statement)
    observe(cypher_executed, count_cypher)
    observe(cache_read, count_cache_read)
    observe(cache_invalidated, count_invalidation)
    observe(batch_loaded, count_batch)
    observe(n_plus_one_found, count_repetition)
    observe(loader_unbatched, count_unbatched)
    prepare_for_forks()
    request_finished.connect(sample_now_and_then, dispatch_uid=_UID)


def count_statement(seen: Observation) -> None:
    """Count a SQL statement."""
    children = query_children(seen.alias, seen.operation)
    children.duration.observe(seen.seconds)
    children.total.inc()
    if seen.failed:
        children.errors.inc()
    if seen.slow:
        children.slow.inc()


def count_cypher(*, database: str, access: str, seconds: float, slow: bool, failed: bool, **_: Any) -> None:
    """Count a Cypher statement."""
    children = graph_children(database, access)
    children.duration.observe(seconds)
    (children.failed if failed else children.passed).inc()
    if slow:
        children.slow.inc()


def count_cache_read(*, prefix: str, outcome: str, **_: Any) -> None:
    """Count a call of a cached function; one that went around the cache is neither a hit nor a miss."""
    children = prefix_children(prefix)
    if outcome == "hit":
        children.hits.inc()
    elif outcome in ("miss", "stale"):
        children.misses.inc()


def count_invalidation(*, tags: int, delivered: bool, **_: Any) -> None:
    """Count renewed tags."""
    labels = (dbopt_settings.cache.alias, "yes" if delivered else "no")
    families().cache_invalidations.labels(*labels).inc(tags)


def count_batch(*, loader: str, size: int, hits: int, **_: Any) -> None:
    """Count a batch of a loader; size 0 tells of hits alone."""
    made, name = families(), loader_label(loader)
    if size:
        made.batch_size.labels(name).observe(size)
    made.loads.labels(name, "miss").inc(size)
    made.loads.labels(name, "hit").inc(hits)


def count_repetition(*, route: str, **_: Any) -> None:
    """Count a statement that a request or task repeated."""
    families().n_plus_one.labels("statement", route_label(route)).inc()


def count_unbatched(**_: Any) -> None:
    """Count a loader that was waited for one key at a time."""
    record = current_record()
    families().n_plus_one.labels("loader", route_label(record.route if record else NO_ROUTE)).inc()
