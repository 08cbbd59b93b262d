"""Trying again, within a time that a web request can bear."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from dbopt.neo4j.errors import driver_errors, is_retryable

T = TypeVar("T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 2.0


def retrying(attempt: Callable[[], T], *, seconds: float) -> T:
    """Call attempt until it succeeds, fails for good, or the time is up; raise its last error then.

    The driver's own loop starts its clock after the first failure and doubles its pauses, so that 5 seconds become 7.
    Here the clock starts with the first call, and no pause reaches past the end. The last call itself may add as long
    as one connection attempt takes.

    Args:
        attempt: may run more than once; must leave nothing behind when it fails.
        seconds: from the first call; 0 tries once.
    """
    deadline = time.monotonic() + seconds
    delay = FIRST_DELAY
    while True:
        try:
            return attempt()
        except driver_errors() as error:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not is_retryable(error):
                raise
        # Spread out, so that the workers of a service do not come back all at once.
        time.sleep(min(remaining, delay * random.uniform(0.8, 1.2)))  # noqa: S311 (not a secret)
        delay = min(delay * 2, LONGEST_DELAY)
