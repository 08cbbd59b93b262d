"""Which results are being computed in this process: one thread or task computes each, the others wait until it landed."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from contextlib import suppress


class Flight:
    """One computation under way. Who began it must land it, whatever happens."""

    def __init__(self) -> None:
        self._landed: Future[None] = Future()
        # From here on it cannot be cancelled: a task that gives up waiting must not end the wait of all others.
        self._landed.set_running_or_notify_cancel()

    def land(self) -> None:
        """Let everybody go on who waits."""
        self._landed.set_result(None)

    def wait(self, seconds: float) -> None:
        """Wait until it landed, at most for so long."""
        with suppress(TimeoutError):
            self._landed.result(seconds)

    async def wait_async(self, seconds: float) -> None:
        """Wait as :meth:`wait` does, in any event loop."""
        await asyncio.wait({asyncio.wrap_future(self._landed)}, timeout=seconds)


class Flights:
    """The flights of this process, each under a key. Thread-safe without a lock, so a fork cannot leave it locked."""

    def __init__(self) -> None:
        self._flying: dict[tuple[int, str], Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the flight under a key, and whether it began with this call."""
        begun = Flight()
        # setdefault is atomic. A forked child has flights of its own: those of its parent never land there.
        flight = self._flying.setdefault((os.getpid(), key), begun)
        return flight, flight is begun

    def land(self, key: str) -> None:
        """End a flight; only for who began it."""
        self._flying.pop((os.getpid(), key)).land()
