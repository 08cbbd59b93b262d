"""How much the tests with made-up examples try: the same few each time, or with DBOPT_FUZZ=N new ones, N times as many."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("DBOPT_FUZZ", "0"))
IS_REPEATABLE = FACTOR == 0


def examples(count: int) -> int:
    """Return how many examples to try where a short run tries `count`."""
    return count * (FACTOR or 1)
