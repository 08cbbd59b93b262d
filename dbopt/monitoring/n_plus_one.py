"""Statements that one request repeats, most likely in a loop: told at its end, from its counts alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dbopt.signals import announce, is_heard, n_plus_one_found

if TYPE_CHECKING:
    from dbopt.monitoring.records import RequestRecord

OFTEN = 5
"""So many times the same statement is a loop: relations and loaders ask once a level."""

# What takes less than both of these is not worth anybody's time.
_SHARE, _SECONDS = 0.03, 0.010


@dataclass(frozen=True, slots=True)
class Repetition:
    """One statement that was repeated. `seconds` is the sum; `origin` the ``path:line`` that asked, where it was looked up."""

    fingerprint: str
    count: int
    seconds: float
    origin: str | None


def repetitions(record: RequestRecord) -> list[Repetition]:
    """Return the statements that a request repeated, the dearest first, each once.

    Where origins were looked up, only repetitions by one line count: the same statement on six lines is no loop.
    """
    found: dict[str, Repetition] = {}
    for (fingerprint, origin), (count, seconds) in _groups(record).items():
        worth = seconds >= _SECONDS or seconds >= _SHARE * record.seconds
        known = found.get(fingerprint)
        if count >= OFTEN and worth and (known is None or count > known.count):
            found[fingerprint] = Repetition(fingerprint, int(count), seconds, origin)
    return sorted(found.values(), key=lambda row: -row.seconds)


def announce_repetitions(record: RequestRecord) -> None:
    """Tell each statement that a request repeated; costs nothing unheard."""
    if is_heard(n_plus_one_found):
        for found in repetitions(record):
            announce(n_plus_one_found, sender=type(record), route=record.route, **asdict(found))


def _groups(record: RequestRecord) -> dict[tuple[str, str | None], list[float]]:
    # A copy: a thread that the request has started may still write.
    groups = dict(record.groups)
    if record.wants_origin:
        return groups
    # Without origins a statement that was slow has one all the same, and is still one of its kind.
    merged: dict[tuple[str, str | None], list[float]] = {}
    origins = {fingerprint: origin for fingerprint, origin in groups if origin is not None}
    for (fingerprint, _), (count, seconds) in groups.items():
        row = merged.setdefault((fingerprint, origins.get(fingerprint)), [0, 0.0])
        row[0] += count
        row[1] += seconds
    return merged
