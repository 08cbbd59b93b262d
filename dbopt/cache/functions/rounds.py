"""Computations whose results cannot be stored, shared by those callers of a process who came before they began.

Somebody may be committing what a strict result depends on, so a caller must not get what was read before it came. Who
comes while a round is computing joins the next one, which begins when the current one is over: two rounds serve a crowd
that would otherwise compute one by one.
"""

from __future__ import annotations

import os

from dbopt.cache.functions.flights import Flight


class Round:
    """One computation. The caller that opened it leads: it begins it and lands it, whatever happens."""

    def __init__(self) -> None:
        self.flight = Flight()
        self.is_joined = False
        self.has_begun = False
        self.has_landed = False
        self.payload: bytes | None = None


class Rounds:
    """The rounds of this process, by key. Thread-safe without a lock, so a fork cannot leave it locked."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], Round] = {}
        self._computing: dict[tuple[int, str], Round] = {}

    def join(self, key: str) -> tuple[Round, bool]:
        """Return the round that may still be joined, and whether it was opened by this call."""
        opened = Round()
        # setdefault is atomic, like the pop in begin(): who gets a round got it before that began.
        found = self._open.setdefault((os.getpid(), key), opened)
        if found is not opened:
            found.is_joined = True
        return found, found is opened

    def computing(self, key: str) -> Round | None:
        """Return the round that is being computed, if any."""
        return self._computing.get((os.getpid(), key))

    def begin(self, key: str, begun: Round) -> None:
        """Close a round to those who come later; before its first statement."""
        self._open.pop((os.getpid(), key), None)
        self._computing[os.getpid(), key] = begun
        begun.has_begun = True

    def land(self, key: str, landed: Round) -> None:
        """Let those who joined go on."""
        at = (os.getpid(), key)
        for held in (self._open, self._computing):
            if held.get(at) is landed:
                del held[at]
        landed.has_landed = True
        landed.flight.land()
