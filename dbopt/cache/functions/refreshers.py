"""Work behind the callers' backs: a few threads that compute anew what was served old."""

from __future__ import annotations

import os
from collections import deque
from threading import Lock, Thread
from typing import TYPE_CHECKING

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 2

# More may be asked for than is worth remembering: what is still wanted will be asked for again.
_LONGEST_QUEUE = 100


class Refreshers:
    """The workers of one process; thread-safe. They are daemons, begin with the first job and end with the last.

    Each job has connections of its own, closed when it ends.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = Lock()
        self._jobs: deque[tuple[str, Callable[[], None]]] = deque()
        self._keys: set[str] = set()
        self._workers = 0

    @property
    def is_idle(self) -> bool:
        """Whether no worker is left."""
        return not self._workers

    def submit(self, key: str, job: Callable[[], None]) -> bool:
        """Have a job done, which must not raise; False where one with this key waits or runs, or too many wait."""
        with self._lock:
            if key in self._keys or len(self._keys) >= _LONGEST_QUEUE:
                return False
            self._keys.add(key)
            self._jobs.append((key, job))
            begins = self._workers < WORKERS
            self._workers += begins
        if begins:
            Thread(target=self._work, name="dbopt-cache-refresher", daemon=True).start()
        return True

    def _work(self) -> None:
        while (found := self._next()) is not None:
            key, job = found
            try:
                job()
            finally:
                connections.close_all()
                with self._lock:
                    self._keys.discard(key)

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._lock:
            if self._jobs:
                return self._jobs.popleft()
            self._workers -= 1
            return None


_held = Refreshers()


def refreshers() -> Refreshers:
    """Return this process's workers: a forked child has none of its parent's."""
    global _held  # noqa: PLW0603 - two threads that come at once lose at most a job, which will be asked for again
    if _held.pid != os.getpid():
        _held = Refreshers()
    return _held
