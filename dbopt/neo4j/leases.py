"""What a pool has lent out: counted by us, completed by the driver's own numbers where it shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One alias's pool, in this process, now.

    Attributes:
        size: the most connections to one server.
        leases: connections in use through dbopt.
        peak: the most leases at any time since the driver was made.
        waiters: threads that are waiting for a connection.
        timeouts: how often none became free in time.
        open: connections open, or None where the driver does not tell.
        in_use: connections in use as the driver counts them, or None.
        source: "private" with the driver's own numbers, "public" with ours alone, "unavailable" before first use.
    """

    alias: str
    size: int
    leases: int = 0
    peak: int = 0
    waiters: int = 0
    timeouts: int = 0
    open: int | None = None
    in_use: int | None = None
    source: str = "unavailable"

    @property
    def utilization(self) -> float:
        """The part of the pool that is in use, 0..1; more on a cluster, where each server has a pool."""
        return (self.leases if self.in_use is None else self.in_use) / self.size


class Leases:
    """Counts of one driver; thread-safe."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._lock = Lock()
        self._leases = 0
        self._peak = 0
        self._waiters = 0
        self._timeouts = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the caller as waiting for a connection."""
        with self._lock:
            self._waiters += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiters -= 1

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Count a connection as lent out."""
        with self._lock:
            self._leases += 1
            self._peak = max(self._peak, self._leases)
        try:
            yield
        finally:
            with self._lock:
                self._leases -= 1

    def count_timeout(self) -> None:
        """Count an acquisition that failed."""
        with self._lock:
            self._timeouts += 1

    def stats(self, alias: str, driver: object) -> PoolStats:
        """Return the counts, with the driver's own numbers where they can be had."""
        private = _private_numbers(driver)
        opened, in_use = private or (None, None)
        with self._lock:
            return PoolStats(
                alias=alias,
                size=self.size,
                leases=self._leases,
                peak=self._peak,
                waiters=self._waiters,
                timeouts=self._timeouts,
                open=opened,
                in_use=in_use,
                source="public" if private is None else "private",
            )


def _private_numbers(driver: object) -> tuple[int, int] | None:
    """Read the pool's private lists (as they are in driver 5.28 to 6.4); None where they look otherwise."""
    pool: Any = getattr(driver, "_pool", None)
    lock, connections = getattr(pool, "lock", None), getattr(pool, "connections", None)
    if lock is None or connections is None:
        return None
    try:
        with lock:
            held = [connection for queue in connections.values() for connection in queue]
            return len(held), sum(bool(connection.in_use) for connection in held)
    except (AttributeError, TypeError):
        return None
