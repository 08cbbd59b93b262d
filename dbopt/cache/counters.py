"""What cached functions did, counted in this process by name."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Any

from dbopt.cache.servers import known_debt, known_faults
from dbopt.signals import announce, cache_read

if TYPE_CHECKING:
    from collections.abc import Iterable

HIT = "hit"
MISS = "miss"
STALE = "stale"
OLD = "old"
BYPASS = "bypass"
ERROR = "error"


class FunctionCounters:
    """The counters of one name. Thread-safe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = name.split(":", 1)[0]
        self._lock = Lock()
        self._clear()

    def _clear(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.bypasses: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.sets = 0
        self.stored_bytes = 0
        self.waits = 0
        self.seconds = 0.0

    def count(self, outcome: str, *, reason: str | None, seconds: float) -> None:
        """Count a call, and announce it."""
        with self._lock:
            self.outcomes[outcome] += 1
            self.seconds += seconds
            if outcome == BYPASS:
                self.bypasses[reason or ""] += 1
        announce(
            cache_read,
            sender=FunctionCounters,
            name=self.name,
            prefix=self.prefix,
            outcome=outcome,
            reason=reason,
            seconds=seconds,
        )

    def waited(self) -> None:
        """Count a wait for another caller that computes the same."""
        with self._lock:
            self.waits += 1

    def stored(self, size_bytes: int) -> None:
        """Count a stored result."""
        with self._lock:
            self.sets += 1
            self.stored_bytes += size_bytes

    def refused(self, reason: str) -> None:
        """Count a result that was computed and not stored."""
        with self._lock:
            self.refusals[reason] += 1

    def reset(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._clear()

    def snapshot(self) -> dict[str, Any]:
        """Return the counters as plain values."""
        with self._lock:
            return {
                "hits": self.outcomes[HIT] + self.outcomes[OLD],
                "servedStale": self.outcomes[OLD],
                "misses": self.outcomes[MISS] + self.outcomes[STALE],
                "stale": self.outcomes[STALE],
                "errors": self.outcomes[ERROR],
                "bypass": dict(self.bypasses),
                "refused": dict(self.refusals),
                "waits": self.waits,
                "sets": self.sets,
                "sizeBytes": self.stored_bytes,
            }


class _Registry:
    def __init__(self) -> None:
        self.lock = Lock()
        self.by_name: dict[str, FunctionCounters] = {}


_registry = _Registry()


def counters_of(name: str) -> FunctionCounters:
    """Return the counters of a name, the same object for every caller."""
    with _registry.lock:
        return _registry.by_name.setdefault(name, FunctionCounters(name))


def reset_statistics() -> None:
    """Start all counters of this process again from zero."""
    with _registry.lock:
        found = list(_registry.by_name.values())
    for counters in found:
        counters.reset()


def statistics() -> dict[str, Any]:
    """Return what cached functions did in this process since it began.

    Returns:
        ``overall``, ``byPrefix`` and ``byName``, each with hits, servedStale (hits whose value a write had made wrong),
        misses (stale ones included), stale (a value was there, but a write had made it wrong), hitRate (0..1, None
        without traffic), waits (for another caller that computed the same), sets, sizeBytes (stored in total, not what is held now), errors (calls answered
        by the database because the cache was out of reach), bypass and refused (counts by reason); and ``debt``,
        the renewals that the cache server has not received yet; ``faults``, how often it failed, by the error's class.
        A prefix is what stands before the first colon of a name; a name without one is its own.
    """
    with _registry.lock:
        found = sorted(_registry.by_name.values(), key=lambda counters: counters.name)
    by_name = {counters.name: counters.snapshot() for counters in found}
    prefixes: dict[str, list[dict[str, Any]]] = {}
    for counters in found:
        prefixes.setdefault(counters.prefix, []).append(by_name[counters.name])
    return {
        "overall": _total(by_name.values()),
        "byPrefix": {prefix: _total(parts) for prefix, parts in prefixes.items()},
        "byName": {name: _total([part]) for name, part in by_name.items()},
        "debt": known_debt(),
        "faults": known_faults(),
    }


def _total(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {
        "hits": 0,
        "servedStale": 0,
        "misses": 0,
        "stale": 0,
        "errors": 0,
        "waits": 0,
        "sets": 0,
        "sizeBytes": 0,
        "bypass": Counter(),
        "refused": Counter(),
    }
    for part in parts:
        for key, value in part.items():
            total[key] += Counter(value) if isinstance(value, dict) else value
    total["bypass"], total["refused"] = dict(total["bypass"]), dict(total["refused"])
    looked = total["hits"] + total["misses"]
    total["hitRate"] = total["hits"] / looked if looked else None
    return total
