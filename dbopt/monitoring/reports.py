"""What a person asks about the statements: which are slow, where they come from, what share they have.

For now everything here is about this process (`SCOPE`); each worker of a server answers for itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from dbopt.monitoring.aggregate import MAX_WINDOW, SlowEvent, StatementRow, Totals, statistics_of_process

SCOPE = "process"
"""Whose statements the reports cover."""

SORTS = ("total", "mean", "max", "calls")


@dataclass(frozen=True, slots=True)
class StatementReport:
    """One statement over a window. Times in milliseconds, as the field is used to.

    Attributes:
        sql: normalised: no parameter and no literal. For Cypher its name, where it has one.
        p95_ms: an upper bound, at most 41 % too high.
        origin: ``path:line`` that asked last, where it was looked up.
        route: URL pattern or task that asked last; ``-`` outside of both.
        last_seen: ISO 8601, UTC.
    """

    fingerprint: str
    sql: str
    system: str
    alias: str
    operation: str
    calls: int
    total_ms: float
    mean_ms: float
    p95_ms: float
    max_ms: float
    slow: int
    errors: int
    origin: str | None
    route: str
    last_seen: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def slow_queries(limit: int = 20, *, window: float = MAX_WINDOW, sort: str = "total") -> list[StatementReport]:
    """Return the statements that were slow at least once, worst first.

    Args:
        limit: rows, at least 1.
        window: seconds back from now, at most 3600; rounded up to five minutes.
        sort: ``total`` time, ``mean`` or ``max`` time, or number of ``calls``.

    Raises:
        ValueError: an argument is out of range.
    """
    return _report([row for row in _rows(window) if row.slow], limit=limit, sort=sort)


def statements(limit: int = 20, *, window: float = MAX_WINDOW, sort: str = "total") -> list[StatementReport]:
    """Return all statements, slow or not; arguments as for :func:`slow_queries`."""
    return _report(_rows(window), limit=limit, sort=sort)


def slow_events(limit: int = 100) -> list[SlowEvent]:
    """Return the newest slow statements one by one, newest first."""
    return statistics_of_process().slow_events()[:limit]


def totals(*, window: float = MAX_WINDOW) -> Totals:
    """Return the sums over all SQL statements of the window."""
    return statistics_of_process().totals(window=window)


def _rows(window: float) -> list[StatementRow]:
    if not 0 < window <= MAX_WINDOW:
        raise ValueError(f"window is {window:g}; it must be more than 0 and at most {MAX_WINDOW} seconds.")
    return statistics_of_process().rows(window=window)


def _report(rows: list[StatementRow], *, limit: int, sort: str) -> list[StatementReport]:
    if limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    if sort not in SORTS:
        raise ValueError(f"sort is {sort!r}; it must be one of {', '.join(SORTS)}.")
    # The fingerprint settles ties, so that two calls give one order.
    ordered = sorted(rows, key=lambda row: (-_measure(row, sort), row.alias, row.fingerprint))
    return [_of_row(row) for row in ordered[:limit]]


def _measure(row: StatementRow, sort: str) -> float:
    match sort:
        case "mean":
            return row.seconds / row.calls
        case "max":
            return row.max_seconds
        case "calls":
            return row.calls
        case _:
            return row.seconds


def _of_row(row: StatementRow) -> StatementReport:
    return StatementReport(
        fingerprint=row.fingerprint,
        sql=row.text,
        system=row.system,
        alias=row.alias,
        operation=row.operation,
        calls=row.calls,
        total_ms=_ms(row.seconds),
        mean_ms=_ms(row.seconds / row.calls),
        p95_ms=_ms(row.percentile(0.95)),
        max_ms=_ms(row.max_seconds),
        slow=row.slow,
        errors=row.errors,
        origin=row.origin,
        route=row.route,
        last_seen=datetime.fromtimestamp(row.last_seen, tz=UTC).isoformat(timespec="milliseconds"),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
