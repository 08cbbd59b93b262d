"""Copies what is counted elsewhere (pools, cache) into the metrics: after requests, and whenever somebody scrapes."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from threading import Lock
from typing import Any

from dbopt.metrics.registry import Families, families
from dbopt.metrics.series import prefix_children
from dbopt.monitoring.cache_server import has_cache_server
from dbopt.monitoring.pools import PoolState, pool_states
from dbopt.monitoring.tracker import InternalErrors

_INTERVAL = 0.5


class _Sampler:
    """Remembers what was counted elsewhere, so that counters here grow by the difference. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pid = 0
        self._sampled = 0.0
        self._seen: dict[str, int] = {}

    def is_due(self) -> bool:
        """Say whether the last sample of this process is old enough for another."""
        return self._pid != os.getpid() or time.monotonic() - self._sampled >= _INTERVAL

    def forget_lock(self) -> None:
        """Begin with a free lock, in a forked child: the thread that held it does not exist there."""
        self._lock = Lock()

    def sample(self) -> None:
        """Write all gauges, and add what was counted since; a failure is counted and goes no further."""
        made = families()
        with self._lock:
            self._pid, self._sampled = os.getpid(), time.monotonic()
            try:
                self._copy(made)
            except Exception:  # noqa: BLE001 - the border: this runs at the end of every request
                InternalErrors.count += 1
            made.internal_errors.inc(self._grown("internal errors", InternalErrors.count))

    def _copy(self, made: Families) -> None:
        for state in pool_states():
            self._write(made, state)
        for prefix, counted in _cache_prefixes().items():
            prefix_children(prefix).sets.inc(self._grown(f"sets {prefix}", counted))

    def _write(self, made: Families, state: PoolState) -> None:
        labels = (state.alias, state.pool_type)
        made.pool_size.labels(*labels).set(state.total)
        made.pool_idle.labels(*labels).set(state.idle)
        made.pool_waiting.labels(*labels).set(state.waiting)
        made.pool_max.labels(*labels).set(state.maximum or 0)
        made.pool_timeouts.labels(*labels).inc(self._grown(state.alias, state.timeouts))

    def _grown(self, name: str, now: int) -> int:
        before = self._seen.get(name, 0)
        self._seen[name] = now
        # Less than before: the pool is a new one, and counts from zero.
        return now - before if now >= before else now


_sampler = _Sampler()


@lru_cache(maxsize=1)
def prepare_for_forks() -> None:
    """Have children begin with a free lock; repeating it changes nothing."""
    os.register_at_fork(after_in_child=_sampler.forget_lock)


def sample_now() -> None:
    """Copy the numbers now. Creates no pool and no connection."""
    _sampler.sample()


def sample_now_and_then(**_: Any) -> None:
    """Copy the numbers, unless it was done within the last half second.

    With several processes a scrape reaches one of them: the others must have written their numbers before.
    """
    if _sampler.is_due():
        _sampler.sample()


def _cache_prefixes() -> dict[str, int]:
    """Return prefix -> results stored by this process."""
    if not has_cache_server():
        return {}
    from dbopt.cache import statistics

    return {prefix: counted["sets"] for prefix, counted in statistics()["byPrefix"].items()}
