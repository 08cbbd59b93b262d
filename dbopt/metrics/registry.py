"""The metric families, made at first use and never at import.

They live in the default registry of prometheus_client, beside those of django-prometheus: one page shows both, in
one process as in several (``PROMETHEUS_MULTIPROC_DIR``).
No label carries a statement, a fingerprint, a user, a URL or a key: what is a label here is a closed or a capped set.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

from prometheus_client import Counter, Gauge, Histogram

from dbopt.conf import dbopt_settings

OPERATIONS = ("select", "insert", "update", "delete", "txn", "ddl", "other")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_KEYS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
_lock = Lock()


@dataclass(frozen=True, slots=True)
class Families:
    """Every metric of dbopt that a process counts itself."""

    query_duration: Histogram
    query_total: Counter
    query_errors: Counter
    query_slow: Counter
    pool_size: Gauge
    pool_idle: Gauge
    pool_waiting: Gauge
    pool_max: Gauge
    pool_timeouts: Counter
    neo4j_duration: Histogram
    neo4j_total: Counter
    neo4j_slow: Counter
    cache_hits: Counter
    cache_misses: Counter
    cache_sets: Counter
    cache_invalidations: Counter
    batch_size: Histogram
    loads: Counter
    n_plus_one: Counter
    internal_errors: Counter


_made: list[Families] = []


def families() -> Families:
    """Return the families of this process, registering them at the first call. Thread-safe."""
    if not _made:
        with _lock:
            if not _made:
                _made.append(_make())
    return _made[0]


def _make() -> Families:
    slow = dbopt_settings.monitoring.slow_query_ms / 1000
    # A bucket that ends at the threshold makes "slow" and the histogram agree.
    sql_buckets = tuple(sorted({*_SECONDS, slow})) if slow > 0 else _SECONDS
    query, pool = ["alias", "operation"], ["alias", "pool_type"]
    graph, cache = ["database", "operation"], ["cache", "prefix"]
    return Families(
        query_duration=Histogram(
            "postgres_query_duration_seconds",
            "Time of SQL statements as the client sees it.",
            query,
            buckets=sql_buckets,
        ),
        query_total=Counter("postgres_query_total", "SQL statements.", query),
        query_errors=Counter("postgres_query_errors_total", "SQL statements that failed.", query),
        query_slow=Counter("postgres_slow_query_total", "SQL statements over SLOW_QUERY_MS.", query),
        pool_size=_live("postgres_pool_size", "Connections open, in all live processes.", pool),
        pool_idle=_live("postgres_pool_idle", "Connections free in the pools.", pool),
        pool_waiting=_live("postgres_pool_waiting", "Callers that wait for a connection.", pool),
        pool_max=_live("postgres_pool_max", "Connections that the pools may open.", pool),
        pool_timeouts=Counter("postgres_pool_timeouts_total", "Callers that got no connection.", pool),
        neo4j_duration=Histogram(
            "neo4j_query_duration_seconds", "Time of Cypher statements with all rows.", graph, buckets=_SECONDS
        ),
        neo4j_total=Counter("neo4j_query_total", "Cypher statements.", [*graph, "status"]),
        neo4j_slow=Counter("neo4j_slow_query_total", "Cypher statements over SLOW_QUERY_MS.", graph),
        cache_hits=Counter("redis_cache_hits_total", "Calls of cached functions answered from the cache.", cache),
        cache_misses=Counter("redis_cache_misses_total", "Calls of cached functions that had to compute.", cache),
        cache_sets=Counter("redis_cache_sets_total", "Results stored.", cache),
        cache_invalidations=Counter(
            "redis_cache_invalidations_total", "Tags renewed after writes.", ["cache", "delivered"]
        ),
        batch_size=Histogram("dataloader_batch_size", "Keys of a loader's batch.", ["loader"], buckets=_KEYS),
        loads=Counter("dataloader_loads_total", "Keys asked of a loader.", ["loader", "result"]),
        n_plus_one=Counter(
            "dbopt_n_plus_one_total",
            "Statements that a request repeated, and loaders that it waited for one key at a time.",
            ["kind", "route"],
        ),
        internal_errors=Counter("dbopt_internal_errors_total", "Failures of watching; the work itself went on."),
    )


def _live(name: str, text: str, labels: list[str]) -> Gauge:
    # Of several processes: the sum over those that live.
    return Gauge(name, text, labels, multiprocess_mode="livesum")
