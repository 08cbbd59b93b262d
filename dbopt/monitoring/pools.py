"""Numbers of Django's connection pools, read without ever creating a pool or a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.utils.module_loading import import_string

from dbopt.monitoring.open_connections import count_open


@dataclass(frozen=True, slots=True)
class PoolState:
    """One alias at this moment, in this process.

    Attributes:
        pooled: False where Django keeps a connection a thread; then `total` counts the open ones, all of them
            busy (none is free for another thread), and `maximum` is unknown here.
        pool_type: ``read`` for an alias that mirrors another in tests (``TEST: {"MIRROR": ...}``), else ``write``.
        maximum: connections this process may open; None without a pool.
        waiting: callers that wait for a connection now.
        timeouts: callers that got none, since the pool was made.
    """

    alias: str
    pool_type: str
    pooled: bool
    total: int
    idle: int
    maximum: int | None
    waiting: int
    timeouts: int

    @property
    def busy(self) -> int:
        """Connections that are in somebody's hands."""
        return max(0, self.total - self.idle)

    def utilization(self, maximum: int | None = None) -> float | None:
        """Return busy connections as a share (0..1) of the pool's limit, or of `maximum` where there is no pool."""
        limit = self.maximum or maximum
        return round(min(1.0, self.busy / limit), 4) if limit else None


def pool_states() -> list[PoolState]:
    """Return the state of every PostgreSQL alias, in the order of DATABASES."""
    return [pool_state(alias) for alias in postgres_aliases()]


def postgres_aliases() -> list[str]:
    """Return the aliases whose backend is PostgreSQL's or derived from it; connects to none."""
    return [alias for alias in connections if _vendor(connections.settings[alias]["ENGINE"]) == "postgresql"]


def pool_state(alias: str) -> PoolState:
    """Return the state of one alias; never raises for an alias that was not used yet."""
    options = connections.settings[alias]
    pool_type = "read" if options.get("TEST", {}).get("MIRROR") else "write"
    wrapper = _wrapper_class(options["ENGINE"])
    pool = getattr(wrapper, "_connection_pools", {}).get(alias)
    if pool is not None:
        return _of_pool(alias, pool_type, pool)
    declared = options.get("OPTIONS", {}).get("pool")
    size = count_open(alias)
    return PoolState(
        alias=alias,
        pool_type=pool_type,
        pooled=bool(declared),
        total=size,
        idle=0,
        maximum=_declared_maximum(declared),
        waiting=0,
        timeouts=0,
    )


def _of_pool(alias: str, pool_type: str, pool: Any) -> PoolState:
    stats = pool.get_stats()
    return PoolState(
        alias=alias,
        pool_type=pool_type,
        pooled=True,
        total=stats["pool_size"],
        idle=stats["pool_available"],
        maximum=stats["pool_max"],
        waiting=_waiting(pool, stats),
        # A counter that is still zero is left out of the statistics.
        timeouts=stats.get("requests_errors", 0),
    )


def _waiting(pool: Any, stats: Mapping[str, int]) -> int:
    # The pool's own figure counts callers that gave up until a connection comes back (psycopg_pool 3.3).
    queue = getattr(pool, "_waiting", None)
    if queue is None:
        return stats["requests_waiting"]
    return sum(1 for client in list(queue) if client.conn is None and client.error is None)


def _declared_maximum(declared: Any) -> int | None:
    if not declared:
        return None
    options = declared if isinstance(declared, Mapping) else {}
    # psycopg_pool: min_size is 4 where it is not given, and max_size is min_size.
    minimum = options.get("min_size", 4)
    return int(options.get("max_size") or minimum)


def _wrapper_class(engine: str) -> type[Any]:
    found: type[Any] = import_string(f"{engine}.base.DatabaseWrapper")
    return found


def _vendor(engine: str) -> str:
    return str(_wrapper_class(engine).vendor)
