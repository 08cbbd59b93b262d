"""What cached functions did: in this process, or in all processes that share the cache server.

Every process adds what it counted to one hash on the server, every ten seconds while it works and once when it ends:
no round trip is made for a single call. The hash has a field a function and figure, and never grows with traffic.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import secrets
import time
from collections import Counter
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from dbopt.cache.counters import BUCKETS, snapshots
from dbopt.cache.names.keys import NO_TENANT
from dbopt.cache.server.roads import Script
from dbopt.cache.server.servers import known_debt, server_or_none
from dbopt.exceptions import CacheUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dbopt.cache.server.exchange import CacheServer

PUSH_SECONDS = 10.0

# How long the totals of a project that does nothing any more stay.
_KEEP_SECONDS = 7 * 86_400

Figures = dict[str, Any]

# The road may have a command carried out twice; the second key tells.
_ADD = Script("""
if not redis.call('SET', KEYS[2], '', 'NX', 'PX', 60000) then return 1 end
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
""")
_READ = Script("return redis.call('HGETALL', KEYS[1])")


def statistics(scope: Literal["process", "all"] = "process") -> dict[str, Any]:
    """Return what cached functions did since the process began, or in all processes since the totals were begun.

    Args:
        scope: "process", or "all": what the processes have reported, at most ten seconds old, and this one's own.

    Returns:
        ``overall``, ``byPrefix`` and ``byName``, each with hits, servedStale (hits whose value a write had made wrong),
        misses (stale ones included), stale (a value was there, but a write had made it wrong), hitRate (0..1, None
        without traffic), waits (for another caller that computed the same), sets, sizeBytes (stored in total, not
        what is held now), errors (calls answered by the database because the cache was out of reach), bypass and
        refused (counts by reason), hitMs (``p50`` and ``p95``: at most so many milliseconds; None without hits); and
        ``debt``, this process's renewals that the server has not received yet, and ``scope``.
        A prefix is what stands before the first colon of a name; a name without one is its own.

    Raises:
        CacheUnreachableError: the totals of all processes are asked for, and the server does not answer.
    """
    by_name = snapshots() if scope == "process" else _totals.of_all()
    prefixes: dict[str, list[Figures]] = {}
    for name, figures in by_name.items():
        prefixes.setdefault(name.split(":", 1)[0], []).append(figures)
    return {
        "scope": scope,
        "overall": _summed(by_name.values()),
        "byPrefix": {prefix: _summed(parts) for prefix, parts in prefixes.items()},
        "byName": {name: _summed([figures]) for name, figures in by_name.items()},
        "debt": known_debt(),
    }


def is_due() -> bool:
    """Tell whether :func:`push` should be called now."""
    return time.monotonic() >= _totals.due


def push() -> None:
    """Add what this process counted to the totals, in one round trip. Never raises for the server."""
    _totals.push()


@contextmanager
def paused() -> Iterator[None]:
    """Send nothing in the block; for tests that count round trips."""
    due, _totals.due = _totals.due, math.inf
    try:
        yield
    finally:
        _totals.due = due


class _Totals:
    """What of this process's counters the server has already."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self.due = time.monotonic() + PUSH_SECONDS
        self._lock = Lock()
        # A forked child has its parent's counts, which are the parent's to report.
        self._pushed: dict[str, Figures] = snapshots()

    def push(self) -> bool:
        """Send the difference; False while the server does not take it, which then goes with the next."""
        self.due = time.monotonic() + PUSH_SECONDS
        with self._lock:
            counted = snapshots()
            changes = dict(_changes(self._pushed, counted))
            current = server_or_none() if changes else None
            if changes and (current is None or not _add(current, changes)):
                return False
            self._pushed = counted
        return True

    def of_all(self) -> dict[str, Figures]:
        """Return the totals by name, this process's newest counts included."""
        current = server_or_none()
        found = current.run(_READ, [_key(current)]) if current is not None and self.push() else None
        if found is None:
            raise CacheUnreachableError("The cache server does not answer, so the totals are not known.")
        by_name: dict[str, Figures] = {}
        for field, count in zip(found[::2], found[1::2], strict=True):
            name, figure, *reason = json.loads(field)
            figures = by_name.setdefault(name, {})
            if reason:
                figures.setdefault(figure, {})[reason[0]] = int(count)
            else:
                figures[figure] = int(count)
        return dict(sorted(by_name.items()))


_totals = _Totals()


@atexit.register
def _push_at_exit() -> None:
    # A server that went before this process (after a test run, say) is no news any more.
    logging.getLogger("dbopt.cache.server.breaker").disabled = True
    push()


def _key(current: CacheServer) -> str:
    return f"{current.namespace}:s:{{{NO_TENANT}}}"


def _add(current: CacheServer, changes: Mapping[str, int]) -> bool:
    pairs = [part for change in changes.items() for part in change]
    key = _key(current)
    return current.run(_ADD, [key, f"{key}:{secrets.token_hex(8)}"], _KEEP_SECONDS, *pairs) is not None


def _changes(before: Mapping[str, Figures], after: Mapping[str, Figures]) -> Iterable[tuple[str, int]]:
    """Yield the field and the difference of every figure that grew, or that began again from zero."""
    for name, figures in after.items():
        known = before.get(name, {})
        for figure, value in figures.items():
            reasons = value.items() if isinstance(value, dict) else [(None, value)]
            for reason, count in reasons:
                past = known.get(figure, 0) if reason is None else known.get(figure, {}).get(reason, 0)
                grown = count - past if count >= past else count
                if grown:
                    yield json.dumps([name, figure] if reason is None else [name, figure, reason]), grown


def _summed(parts: Iterable[Figures]) -> Figures:
    total: Figures = dict.fromkeys(
        ("hits", "servedStale", "misses", "stale", "errors", "waits", "sets", "sizeBytes"), 0
    )
    total |= {"bypass": Counter(), "refused": Counter()}
    latencies: Counter[int] = Counter()
    for part in parts:
        for figure, value in part.items():
            if figure == "latencies":
                latencies.update({int(bucket): count for bucket, count in value.items()})
            elif isinstance(value, dict):
                total[figure].update(value)
            else:
                total[figure] += value
    looked = total["hits"] + total["misses"]
    return total | {
        "bypass": dict(total["bypass"]),
        "refused": dict(total["refused"]),
        "hitRate": total["hits"] / looked if looked else None,
        "hitMs": {"p50": _at_most(latencies, 0.5), "p95": _at_most(latencies, 0.95)},
    }


def _at_most(latencies: Counter[int], share: float) -> float | None:
    """Return the milliseconds that this share of hits stayed below: the upper end of a bucket."""
    left = share * latencies.total()
    for bucket in range(BUCKETS):
        left -= latencies[bucket]
        if latencies.total() and left <= 0:
            return float(2**bucket) / 1000
    return None
