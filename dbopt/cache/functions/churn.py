"""Functions whose results are made wrong faster than they are read: for them, storing is work for nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOKS = 1000
LEAST_SHARE = 0.1
REST_SECONDS = 60.0


class Churn:
    """What became of one function's stored results, in this process.

    Of each thousand look-ups in a row that met a stored result, or whose own could not be stored because a write came
    first, at least a tenth must have been hits; else the function rests from the cache for a minute. Look-ups that
    found nothing say nothing: a cache that is still cold must be allowed to become warm.

    Thread-safe without a lock: threads that count at once may lose a few.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hits = 0
        self._losses = 0
        self._rests_until = 0.0

    def hit(self) -> None:
        """Note a result that was still right."""
        self._hits += 1

    def lost(self) -> None:
        """Note a result that a write had made wrong before anybody read it again."""
        self._losses += 1
        looks = self._hits + self._losses
        if looks >= LOOKS:
            if self._hits < LEAST_SHARE * looks:
                self._rests_until = self._clock() + REST_SECONDS
            self._hits = self._losses = 0

    def is_resting(self) -> bool:
        """Tell whether to go around the cache now."""
        if not self._rests_until:
            return False
        if self._clock() < self._rests_until:
            return True
        self._rests_until = 0.0
        return False
