"""Times and statement counts of a piece of work."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connection
from django.test.utils import CaptureQueriesContext

from dbopt.signals import cypher_executed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measured(Generic[T]):
    """A result with its cost: median milliseconds of the timed runs, statements of SQL and of Cypher of one run."""

    result: T
    ms: float
    statements: int
    cypher: int


def measure(work: Callable[[], T], *, runs: int = 5) -> Measured[T]:
    """Run the work once to count its statements (and to warm caches), then time it; runs=0 times the first."""
    cypher = 0

    def count(**_: Any) -> None:
        nonlocal cypher
        cypher += 1

    cypher_executed.connect(count)
    try:
        with CaptureQueriesContext(connection) as captured:
            begun = time.perf_counter()
            result = work()
    finally:
        cypher_executed.disconnect(count)
    # Without timed runs it is the first one that counts: it will not be the same again.
    times = [] if runs else [(time.perf_counter() - begun) * 1000]
    for _ in range(runs):
        begun = time.perf_counter()
        result = work()
        times.append((time.perf_counter() - begun) * 1000)
    return Measured(result=result, ms=round(statistics.median(times), 3), statements=len(captured), cypher=cypher)
