"""Renewals of tokens that did not reach the cache server: they are owed, and paid before anything is read from it."""

from __future__ import annotations

from itertools import count
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from dbopt.cache.names.tokens import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Debt:
    """A bounded set of tags; one too many stands for all of them. Thread-safe, lives as long as the process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._serials = count()
        self._tags: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._tags)

    def __len__(self) -> int:
        return len(self._tags)

    def owe(self, tags: Iterable[str]) -> None:
        """Remember tags whose tokens must be renewed."""
        with self._lock:
            for tag in tags:
                self._tags[tag] = next(self._serials)
            if len(self._tags) > self._limit:
                self._tags = {EPOCH: next(self._serials)}

    def owed(self) -> Mapping[str, int]:
        """Return what is owed now, each tag with the serial number of its newest failure."""
        with self._lock:
            return dict(self._tags)

    def settle(self, paid: Mapping[str, int]) -> None:
        """Forget tags that were renewed since :meth:`owed` returned them, but none that became owed again meanwhile."""
        with self._lock:
            for tag, serial in paid.items():
                if self._tags.get(tag) == serial:
                    del self._tags[tag]

    def inherit(self, parent: Debt) -> None:
        """Take over what the parent of a forked process owed; its lock is not touched, for nobody may free it here."""
        self._tags = dict(parent._tags)
        self._serials = count(len(self._tags) and max(self._tags.values()) + 1)


class Payer:
    """A thread that pays while something is owed. A process that reads nothing more must pay too: others read on."""

    def __init__(self, debt: Debt, pay: Callable[[], object], *, seconds: float) -> None:
        self._debt = debt
        self._pay = pay
        self._seconds = seconds
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = Event()

    def start(self) -> None:
        """Try again soon, and until everything is paid. Idempotent."""
        with self._lock:
            if self._closed.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = Thread(target=self._work, name="dbopt-cache-debt", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop trying."""
        self._closed.set()

    def _work(self) -> None:
        while self._debt and not self._closed.wait(self._seconds):
            self._pay()
