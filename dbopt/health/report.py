"""The full report behind ``/health/database``: servers, pools, slow statements, cache, graph."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS

import dbopt
from dbopt.conf import dbopt_settings
from dbopt.health.cache import cache_stats
from dbopt.health.readiness import Verdict, readiness
from dbopt.monitoring import reports
from dbopt.monitoring.cache_server import has_cache_server
from dbopt.monitoring.pools import PoolState, pool_states

if TYPE_CHECKING:
    from dbopt.health.probes import Result

_SLOW_ROWS = 5


def database_report() -> tuple[Verdict, dict[str, Any]]:
    """Ask every server, and return the verdict with everything that is known about this process's databases.

    A part that is not configured is absent.
    """
    verdict = readiness()
    report: dict[str, Any] = {
        "status": verdict.status,
        "version": dbopt.__version__,
        "timestamp": datetime.now(tz=UTC).isoformat(timespec="milliseconds"),
        "scope": reports.SCOPE,
        "workers": 1,
        "checks": {name: result.as_dict() for name, result in verdict.results.items()},
    }
    aliases = {state.alias: _postgres(state, verdict.results) for state in pool_states()}
    if aliases:
        first = aliases.get(DEFAULT_DB_ALIAS) or next(iter(aliases.values()))
        report["postgres"] = {**first, "slow": _slow_share(), "aliases": aliases}
    if has_cache_server():
        report["cache"] = {"hitRate": cache_stats()["overall"]["hitRate"]}
    if dbopt_settings.neo4j:
        report["neo4j"] = {alias: _graph(alias, verdict.results) for alias in dbopt_settings.neo4j}
    report["slowQueries"] = [row.as_dict() for row in reports.slow_queries(_SLOW_ROWS)]
    return verdict, report


def _postgres(state: PoolState, found: Mapping[str, Result]) -> dict[str, Any]:
    result = found.get("database" if state.alias == DEFAULT_DB_ALIAS else f"database.{state.alias}")
    details = result.details if result is not None else {}
    limit = state.maximum or details.get("max_connections")
    return {
        "pool": {
            "pooled": state.pooled,
            "type": state.pool_type,
            "total": state.total,
            "idle": state.idle,
            "busy": state.busy,
            "waiting": state.waiting,
            "max": limit,
            "utilization": state.utilization(limit),
            "timeouts_total": state.timeouts,
        },
        "server_version": details.get("server_version"),
    }


def _slow_share() -> dict[str, Any]:
    sums = reports.totals()
    return {"last_hour": sums.slow, "share": round(sums.slow / sums.calls, 6) if sums.calls else None}


def _graph(alias: str, found: Mapping[str, Result]) -> dict[str, Any]:
    name = "neo4j" if alias == DEFAULT_DB_ALIAS else f"neo4j.{alias}"
    section: dict[str, Any] = {"server_version": found[name].details.get("server_version")}
    try:
        from dbopt.neo4j import graphs

        stats = graphs[alias].pool_stats()
    except ImportError:
        # The check has said so already: its error is MissingExtraError.
        return section
    section["pool"] = {
        "max": stats.size,
        "busy": stats.leases,
        "open": stats.open,
        "waiting": stats.waiters,
        "timeouts_total": stats.timeouts,
    }
    return section
