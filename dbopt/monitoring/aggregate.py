"""Statement statistics of this process: bounded in memory, one row a fingerprint, five-minute slots for an hour.

Later stores that add up several processes take the same rows; what they must keep is that buckets are mergeable.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from dbopt.conf import dbopt_settings

NO_ROUTE = "-"
"""The route of a statement outside of every request and task."""

SLOT_SECONDS = 300
SLOTS = 12
MAX_WINDOW = SLOT_SECONDS * SLOTS
"""The longest window, in seconds, that the process remembers."""

OTHER = "other"
"""The fingerprint that stands for all statements beyond the limit."""

MAX_TEXT = 2000

# Upper bounds in seconds, 0.1 ms to 3.3 s in steps of 1.41: a percentile read from them is at most 41 % too high.
BOUNDS = tuple(0.0001 * 2 ** (step / 2) for step in range(31))


class Observation(NamedTuple):
    """One executed statement. A tuple, because a frozen dataclass takes five times as long to make.

    Attributes:
        system: ``sql`` or ``cypher``.
        text: the normalised statement: no parameter, no literal.
        route: pattern of the request's URL, name of the task, or ``-``.
    """

    system: str
    alias: str
    fingerprint: str
    operation: str
    text: str
    seconds: float
    slow: bool
    failed: bool
    origin: str | None
    route: str


@dataclass(frozen=True, slots=True)
class SlowEvent:
    """One slow statement. `at` is a Unix time."""

    at: float
    system: str
    alias: str
    fingerprint: str
    operation: str
    seconds: float
    failed: bool
    origin: str | None
    route: str


class StatementRow:
    """Sums of one fingerprint on one alias."""

    __slots__ = (
        "alias",
        "buckets",
        "calls",
        "errors",
        "fingerprint",
        "last_seen",
        "max_seconds",
        "operation",
        "origin",
        "route",
        "seconds",
        "slow",
        "system",
        "text",
    )

    def __init__(self, *, system: str, alias: str, fingerprint: str, operation: str, text: str) -> None:
        self.system = system
        self.alias = alias
        self.fingerprint = fingerprint
        self.operation = operation
        self.text = text
        self.calls = self.slow = self.errors = 0
        self.seconds = self.max_seconds = self.last_seen = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.origin: str | None = None
        self.route = NO_ROUTE

    def absorb(self, other: StatementRow) -> None:
        """Add the sums of a row of the same statement."""
        self.calls += other.calls
        self.slow += other.slow
        self.errors += other.errors
        self.seconds += other.seconds
        self.max_seconds = max(self.max_seconds, other.max_seconds)
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        if other.last_seen >= self.last_seen:
            self.last_seen = other.last_seen
            self.route = other.route
            self.origin = other.origin or self.origin

    def percentile(self, share: float) -> float:
        """Return the upper bound, in seconds, of the fastest `share` (0..1) of the calls."""
        needed, seen = share * self.calls, 0
        for bucket, count in enumerate(self.buckets):
            seen += count
            if seen >= needed:
                return min(BOUNDS[bucket], self.max_seconds) if bucket < len(BOUNDS) else self.max_seconds
        return self.max_seconds


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all statements of a window."""

    calls: int
    slow: int
    errors: int
    seconds: float


Key = tuple[str, str]


class Aggregate:
    """All statements of one process. Thread-safe; emptied in a forked child."""

    def __init__(self, *, max_fingerprints: int, max_slow_events: int) -> None:
        self._limit = max_fingerprints
        self._max_slow = max_slow_events
        self.reset()

    def reset(self) -> None:
        """Forget everything; also right in a forked child, whose copy of the lock may be held for ever."""
        self._lock = Lock()
        self._slots: deque[tuple[int, dict[Key, StatementRow]]] = deque(maxlen=SLOTS + 1)
        # The newest slot, and when it ends.
        self._rows: dict[Key, StatementRow] = {}
        self._until = -1.0
        self._events: deque[SlowEvent] = deque(maxlen=self._max_slow)

    def add(self, seen: Observation) -> None:
        """Count one statement."""
        # All at once: attributes of a tuple are read one by one at a price.
        _, alias, fingerprint, _, _, seconds, slow, failed, origin, route = seen
        # Monotonic: a clock that is set back must not revive a slot, nor one set forward drop them all.
        now, monotonic, bucket = time.time(), time.monotonic(), bisect_left(BOUNDS, seconds)
        with self._lock:
            if monotonic >= self._until:
                self._open_slot(_slot(monotonic))
            row = self._rows.get((alias, fingerprint)) or self._add_row(seen)
            row.calls += 1
            row.seconds += seconds
            row.buckets[bucket] += 1
            row.max_seconds = max(row.max_seconds, seconds)
            row.last_seen = now
            row.route = route
            if origin is not None:
                row.origin = origin
            if failed:
                row.errors += 1
            if slow:
                row.slow += 1
                self._events.append(_slow_event(seen, now))

    def rows(self, *, window: float) -> list[StatementRow]:
        """Return one row a statement and alias over the last `window` seconds, in no order.

        The window is rounded up to whole slots of ``SLOT_SECONDS``; the running one always counts.
        """
        merged: dict[Key, StatementRow] = {}
        oldest = _slot(time.monotonic() - window)
        with self._lock:
            for number, rows in self._slots:
                if number >= oldest:
                    _merge(merged, rows)
        return list(merged.values())

    def totals(self, *, window: float) -> Totals:
        """Return the sums over all SQL statements of the last `window` seconds."""
        rows = [row for row in self.rows(window=window) if row.system == "sql"]
        return Totals(
            calls=sum(row.calls for row in rows),
            slow=sum(row.slow for row in rows),
            errors=sum(row.errors for row in rows),
            seconds=sum(row.seconds for row in rows),
        )

    def slow_events(self) -> list[SlowEvent]:
        """Return the newest slow statements, newest first."""
        with self._lock:
            return list(reversed(self._events))

    def _open_slot(self, number: int) -> None:
        self._rows, self._until = {}, float((number + 1) * SLOT_SECONDS)
        self._slots.append((number, self._rows))

    def _add_row(self, seen: Observation) -> StatementRow:
        rows = self._rows
        if len(rows) >= self._limit:
            return rows.setdefault((seen.alias, OTHER), _other_row(seen))
        row = rows[seen.alias, seen.fingerprint] = StatementRow(
            system=seen.system,
            alias=seen.alias,
            fingerprint=seen.fingerprint,
            operation=seen.operation,
            text=seen.text[:MAX_TEXT],
        )
        return row


@lru_cache(maxsize=1)
def statistics_of_process() -> Aggregate:
    """Return the one aggregate of this process."""
    options = dbopt_settings.monitoring
    return Aggregate(max_fingerprints=options.max_fingerprints, max_slow_events=options.max_slow_events)


def _other_row(seen: Observation) -> StatementRow:
    return StatementRow(
        system=seen.system, alias=seen.alias, fingerprint=OTHER, operation=OTHER, text="(all further statements)"
    )


def _slow_event(seen: Observation, now: float) -> SlowEvent:
    return SlowEvent(
        at=now,
        system=seen.system,
        alias=seen.alias,
        fingerprint=seen.fingerprint,
        operation=seen.operation,
        seconds=seen.seconds,
        failed=seen.failed,
        origin=seen.origin,
        route=seen.route,
    )


def _merge(merged: dict[Key, StatementRow], rows: Mapping[Key, StatementRow]) -> None:
    for key, row in rows.items():
        into = merged.get(key)
        if into is None:
            into = merged[key] = StatementRow(
                system=row.system, alias=row.alias, fingerprint=row.fingerprint, operation=row.operation, text=row.text
            )
        into.absorb(row)


def _slot(monotonic: float) -> int:
    return int(monotonic // SLOT_SECONDS)
