"""Cached queries that are invalidated by themselves; one tenant never sees another's.

Nothing is imported, configured or connected before a name is used: a project's models.py may import this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.cache.functions.aggregates import cached_metrics as cached_metrics
    from dbopt.cache.functions.decorator import bypass as bypass
    from dbopt.cache.functions.decorator import cached_query as cached_query
    from dbopt.cache.invalidation import invalidate as invalidate
    from dbopt.cache.invalidation import invalidate_all as invalidate_all
    from dbopt.cache.invalidation import invalidate_tenant as invalidate_tenant
    from dbopt.cache.invalidation import writes as writes
    from dbopt.cache.totals import statistics as statistics
    from dbopt.cache.warmers import warm as warm
    from dbopt.cache.warmers import warms as warms

# The client is asked for when a cached function is called, so no extra is named here: decorating needs none.
__getattr__ = lazy_exports(
    __name__,
    {
        "bypass": "functions.decorator",
        "cached_metrics": "functions.aggregates",
        "cached_query": "functions.decorator",
        "invalidate": "invalidation",
        "invalidate_all": "invalidation",
        "invalidate_tenant": "invalidation",
        "statistics": "totals",
        "warm": "warmers",
        "warms": "warmers",
        "writes": "invalidation",
    },
)

__all__ = [
    "bypass",
    "cached_metrics",
    "cached_query",
    "invalidate",
    "invalidate_all",
    "invalidate_tenant",
    "statistics",
    "warm",
    "warms",
    "writes",
]
