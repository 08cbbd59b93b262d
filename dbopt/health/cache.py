"""What cached functions did, as ``/health/cache-stats`` shows it."""

from __future__ import annotations

from typing import Any

from dbopt.monitoring import reports

_NONE: dict[str, Any] = {"hits": 0, "misses": 0, "hitRate": None, "sets": 0, "sizeBytes": 0}


def cache_stats() -> dict[str, Any]:
    """Return hits and misses since this process began, in all and by prefix; ``hitRate`` is None without traffic."""
    from dbopt.cache import statistics

    counted = statistics()
    return {
        "overall": {**_NONE, **counted["overall"]},
        "byPrefix": counted["byPrefix"],
        "debt": counted["debt"],
        "scope": reports.SCOPE,
        # Since the process began: counters have no window yet.
        "window_s": None,
    }
