"""Times and statement counts of a piece of work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db import connection
from django.test.utils import CaptureQueriesContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measured(Generic[T]):
    """A result with its cost: median milliseconds of the timed runs, SQL statements of one run."""

    result: T
    ms: float
    statements: int


def measure(work: Callable[[], T], *, runs: int = 5) -> Measured[T]:
    """Run the work once to count its statements (and to warm caches), then time it."""
    with CaptureQueriesContext(connection) as captured:
        result = work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        result = work()
        times.append((time.perf_counter() - begun) * 1000)
    return Measured(result=result, ms=round(statistics.median(times), 3), statements=len(captured))
