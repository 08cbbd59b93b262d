"""What cached functions did, counted in this process by name."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Any

from dbopt.signals import announce, cache_read

HIT = "hit"
MISS = "miss"
STALE = "stale"
OLD = "old"
BYPASS = "bypass"
ERROR = "error"

# Latency of answers from the cache, in buckets of microseconds: bucket n holds what took less than 2 ** n.
BUCKETS = 26

_ANSWERED = frozenset({HIT, OLD})


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
        self.latencies = [0] * BUCKETS

    def count(self, outcome: str, *, reason: str | None, seconds: float) -> None:
        """Count a call, and announce it; what was served stale, to listeners, as a hit with that reason."""
        with self._lock:
            self.outcomes[outcome] += 1
            if outcome in _ANSWERED:
                self.latencies[min(int(seconds * 1e6).bit_length(), BUCKETS - 1)] += 1
            if outcome == BYPASS:
                self.bypasses[reason or ""] += 1
        announce(
            cache_read,
            sender=FunctionCounters,
            name=self.name,
            prefix=self.prefix,
            outcome=HIT if outcome == OLD else outcome,
            reason="served_stale" if outcome == OLD else reason,
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
                "latencies": {number: count for number, count in enumerate(self.latencies) if count},
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


def snapshots() -> dict[str, dict[str, Any]]:
    """Return the counters of all names in this process."""
    with _registry.lock:
        found = sorted(_registry.by_name.values(), key=lambda counters: counters.name)
    return {counters.name: counters.snapshot() for counters in found}
