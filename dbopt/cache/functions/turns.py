"""Who computes a value that many callers find missing: one in all processes; the others wait, but never for long.

In a process, the first caller begins a flight that the others wait for. It then asks the server for a lease that other
processes respect. Both are named by the value's key *and* the tokens the result will depend on: a write during a
computation makes it worthless, and with new tokens a new caller takes over at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbopt.cache.functions.flights import Flight, Flights
from dbopt.cache.functions.rounds import Round, Rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbopt.cache.server.exchange import CacheServer

# A caller waits at most three times as long as the last computation took, and never longer than this.
LONGEST_WAIT = 1.0
PATIENCE = 3.0

# Who polls for its whole process gives up early enough that those who wait for it still get what it computes.
_POLLING_SHARE = 2 / 3
_POLL_SECONDS = (0.005, 0.015)

# A lease outlives a computation that takes a little longer than usual, and not for long a process that died.
_LEASE_FACTOR = 5.0
_SHORTEST_LEASE = 1.0

# What is computed faster than others would poll for it is not worth a round trip for a lease.
LEASED_FROM = 0.005

_flights = Flights()
_rounds = Rounds()

# What the code that runs here is computing already: a function that calls itself must not wait for itself.
_computing: ContextVar[frozenset[str | None]] = ContextVar("dbopt_cache_computing", default=frozenset())


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before looking again, for a flight of this process or for another process."""

    seconds: float
    flight: Flight | None = None

    def wait(self) -> None:
        """Wait in this thread."""
        if self.flight is not None:
            self.flight.wait(self.seconds)
        else:
            time.sleep(self.seconds)

    async def wait_async(self) -> None:
        """Wait in this task."""
        if self.flight is not None:
            await self.flight.wait_async(self.seconds)
        else:
            await asyncio.sleep(self.seconds)


class Turn:
    """One call's way to the computation of a value. Who took a turn must leave it, whatever happens."""

    def __init__(self, server: CacheServer, value_key: str, lease_key: str) -> None:
        self._server = server
        self._value_key = value_key
        self._lease_key = lease_key
        self._began: float | None = None
        self._key: str | None = None
        self._flight: str | None = None
        self._lease: tuple[str, bytes] | None = None
        self._round_key = f"{lease_key}:round"
        self._round: Round | None = None
        self._leads_round = False

    @property
    def leads(self) -> bool:
        """Whether others wait for this call."""
        return self._flight is not None

    @property
    def holds_lease(self) -> bool:
        """Whether leaving needs a round trip."""
        return self._lease is not None

    def take(self, vector: bytes, *, data: bytes | None, expected: float | None) -> Pause | None:
        """Return None when this call is to compute the value now, else how long to wait before it looks again.

        Args:
            vector: the hash of the tokens that the result will depend on, as far as they are known.
            data: what the look found under the value's key.
            expected: seconds that the computation will take; None where that is not known.
        """
        limit, left = self._patience(expected)
        key = self._key = f"{self._lease_key}:{vector.hex()}"
        if left <= 0 or key in _computing.get():
            return None
        if key != self._flight:
            self._leave_flight()
            flight, is_mine = _flights.join(key)
            if not is_mine:
                return Pause(left, flight)
            self._flight = key
        if self._lease is not None or (expected is not None and expected < LEASED_FROM):
            return None
        return self._ask(key, data=data, expected=expected or 0.0, left=left - limit * (1 - _POLLING_SHARE))

    def gather(self, *, expected: float | None) -> Pause | None:
        """Like :meth:`take`, for what will not be stored: shared by those who came before its computation began."""
        _, left = self._patience(expected)
        key = self._key = self._round_key
        if left > 0 and key not in _computing.get():
            if self._round is None:
                self._round, self._leads_round = _rounds.join(key)
            if not self._leads_round:
                return None if self._round.has_landed else Pause(left, self._round.flight)
            before = _rounds.computing(key)
            if before is not None:
                return Pause(left, before.flight)
        if self._round is not None and self._leads_round:
            _rounds.begin(key, self._round)
        return None

    @property
    def shared(self) -> bytes | None:
        """What the leader of this call's round handed over, once it is there."""
        return self._round.payload if self._round is not None and self._round.has_landed else None

    @property
    def is_awaited(self) -> bool:
        """Whether this call computed for others too: they came before it began."""
        return self._round is not None and self._leads_round and self._round.has_begun and self._round.is_joined

    def share(self, payload: bytes) -> None:
        """Hand the result to those who wait for it, with :meth:`leave`; only where it :attr:`is_awaited`."""
        if self._round is not None:
            self._round.payload = payload

    def leave(self) -> None:
        """Let others go on. Idempotent."""
        led = self._round if self._leads_round else None
        self._leads_round = False
        try:
            self._leave_flight()
        finally:
            if led is not None:
                _rounds.land(self._round_key, led)

    def _leave_flight(self) -> None:
        flight, self._flight = self._flight, None
        lease, self._lease = self._lease, None
        try:
            if lease is not None:
                self._server.release(*lease)
        finally:
            if flight is not None:
                _flights.land(flight)

    def _patience(self, expected: float | None) -> tuple[float, float]:
        """Return how long to wait at most, and how much of that is left."""
        limit = LONGEST_WAIT if expected is None else min(LONGEST_WAIT, PATIENCE * expected)
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        return limit, self._began + limit - now

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Mark that the block computes this value."""
        token = _computing.set(_computing.get() | {self._key})
        try:
            yield
        finally:
            _computing.reset(token)

    def _ask(self, key: str, *, data: bytes | None, expected: float, left: float) -> Pause | None:
        seconds = max(_LEASE_FACTOR * expected, _SHORTEST_LEASE)
        lease = self._server.lease(key, seconds=seconds, beside=self._value_key)
        if lease is not None and lease.token is not None:
            self._lease = (key, lease.token)
        if lease is None or left <= 0:
            return None
        if lease.data != data:
            # Stored between the look and the lease, by who had the lease before.
            return Pause(0.0)
        if lease.token is not None:
            return None
        return Pause(min(left, random.uniform(*_POLL_SECONDS)))  # noqa: S311 - spreads load, guards nothing
