"""Whether the cache server is worth asking: after repeated failures it is left alone for a while."""

from __future__ import annotations

import logging
import time
from threading import Lock

logger = logging.getLogger(__name__)


class Breaker:
    """Opens after ``failures`` failures in a row; then one caller in ``seconds`` tries again.

    Thread-safe. An outage is logged once when it begins and once when it is over.
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

    def succeeded(self) -> None:
        """Note an answer."""
        if not self._failures:
            return
        with self._lock:
            recovered, self._failures = self._failures, 0
        if recovered:
            logger.warning("Cache %r answers again.", self._alias)

    def failed(self, error: Exception) -> None:
        """Note a failure."""
        with self._lock:
            first = not self._failures
            self._failures += 1
            self._retry_at = time.monotonic() + self._seconds
        if first:
            logger.warning(
                "Cache %r failed (%s); %s until it is back.",
                self._alias,
                type(error).__name__,
                self._meanwhile,
            )
