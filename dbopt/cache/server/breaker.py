"""Whether the cache server is worth asking: after repeated failures it is left alone for a while."""

from __future__ import annotations

import logging
import time
from collections import Counter
from threading import Lock

logger = logging.getLogger(__name__)


class Breaker:
    """Opens after ``failures`` failures in a row; then one caller in ``seconds`` tries again.

    Thread-safe. An outage is logged once when it begins and once when it is over. So are refusals: a server that is
    full answers reads between two refusals, which does not end them; an accepted write does.

    Attributes:
        faults: how often what went wrong, by the error's class.
    """

    def __init__(
        self,
        *,
        alias: str,
        failures: int,
        seconds: float,
        meanwhile: str = "answers come from the database",
    ) -> None:
        self._alias = alias
        self._meanwhile = meanwhile
        self._limit = failures
        self._seconds = seconds
        self._lock = Lock()
        self._failures = 0
        self._retry_at = 0.0
        self._is_away = False
        self._refuses = False
        self.faults: Counter[str] = Counter()

    @property
    def is_open(self) -> bool:
        """Whether the server is being left alone."""
        return self._failures >= self._limit

    def permits(self) -> bool:
        """Tell whether to ask the server now; while it is open, the caller that gets True is the one that tries."""
        if not self.is_open:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._retry_at:
                return False
            self._retry_at = now + self._seconds
            return True

    def succeeded(self, *, wrote: bool = True) -> None:
        """Note an answer, and whether it was to a write."""
        if not (self._failures or (wrote and self._refuses)):
            return
        with self._lock:
            recovered = self._is_away or (wrote and self._refuses)
            self._failures, self._is_away = 0, False
            self._refuses = self._refuses and not wrote
        if recovered:
            logger.warning("Cache %r answers again.", self._alias)

    def failed(self, error: Exception, *, refused: bool = False) -> None:
        """Note a failure: an answer that is missing, or one that refuses the command."""
        with self._lock:
            self.faults[type(error).__name__] += 1
            is_news = not (self._refuses if refused else self._is_away)
            self._refuses, self._is_away = self._refuses or refused, self._is_away or not refused
            self._failures += 1
            self._retry_at = time.monotonic() + self._seconds
        if is_news:
            logger.warning(
                "Cache %r failed (%s); %s until it is back.",
                self._alias,
                type(error).__name__,
                self._meanwhile,
            )
