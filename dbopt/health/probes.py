"""One check of one server: a deadline, at most one run at a time, and an answer that is kept for a moment.

A server that accepts a connection and then says nothing costs one thread, however often it is asked about.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Details = Mapping[str, Any]
_NOTHING: Details = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    Attributes:
        status: ``pass`` or ``fail``; a check that has not answered has failed.
        seconds: how long it took, or has been taking.
        age: seconds since it was found.
        error: name of the exception's class, ``timeout``, or None. Never a message: those name hosts and users.
        details: what the check learned from the server.
    """

    status: str
    seconds: float
    age: float = 0.0
    error: str | None = None
    details: Details = field(default_factory=lambda: _NOTHING)

    @property
    def passed(self) -> bool:
        """Whether the server answered in time."""
        return self.status == "pass"

    def as_dict(self) -> dict[str, Any]:
        """Return the shape of a check in a health report."""
        shape: dict[str, Any] = {
            "status": self.status,
            "ms": round(self.seconds * 1000, 1),
            "age_s": round(self.age, 1),
        }
        if self.error is not None:
            shape["error"] = self.error
        return shape


@dataclass(frozen=True, slots=True)
class _Finished:
    at: float
    result: Result


class Check:
    """Ask `ask` in a thread of its own, and answer within `timeout` seconds whatever it does. Thread-safe.

    Args:
        ask: returns details, or raises. It may hang: then it holds one thread until it returns.
        timeout: seconds from the start of a run; those who come later wait only for what is left of them.
        ttl: seconds for which an answer is given again.
        once: an answer that passed is kept for ever, and may arrive late (for what becomes true once and stays).
    """

    def __init__(
        self, name: str, ask: Callable[[], Details | None], *, timeout: float, ttl: float, once: bool = False
    ) -> None:
        self.name = name
        self.runs = 0
        self._ask = ask
        self._timeout = timeout
        self._ttl = ttl
        self._once = once
        self._lock = threading.Lock()
        self._running: threading.Event | None = None
        self._started = 0.0
        self._finished: _Finished | None = None

    def begin(self) -> None:
        """Start a run, unless one is under way or the last answer is still good."""
        with self._lock:
            if self._running is not None or self._is_fresh():
                return
            self._running = threading.Event()
            self._started = time.monotonic()
            self.runs += 1
            thread = threading.Thread(
                target=self._run, args=(self._running,), name=f"dbopt-health-{self.name}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # No thread to be had: say so through the deadline now, and try again at the next question.
                self._running, self._finished = None, None
                raise

    def result(self) -> Result:
        """Return the last answer if it is fresh, else the one of a run now; never later than the timeout."""
        self.begin()
        with self._lock:
            running, left = self._running, self._started + self._timeout - time.monotonic()
        if running is not None:
            running.wait(max(0.0, left))
        with self._lock:
            if self._running is None and self._finished is not None:
                found, age = self._finished.result, time.monotonic() - self._finished.at
                return Result(found.status, found.seconds, age, found.error, found.details)
            return Result("fail", time.monotonic() - self._started, error="timeout")

    def _is_fresh(self) -> bool:
        if self._finished is None:
            return False
        if self._once and self._finished.result.passed:
            return True
        return time.monotonic() - self._finished.at < self._ttl

    def _run(self, done: threading.Event) -> None:
        began = self._started
        try:
            details, error = self._ask() or _NOTHING, None
        except Exception as failure:  # noqa: BLE001 - the border: whatever a client raises is the answer "fail"
            details, error = _NOTHING, type(failure).__name__
        seconds = time.monotonic() - began
        # Late is failed, for those who ask afterwards too; else a slow server would flap between both.
        if error is None and seconds > self._timeout and not self._once:
            error = "timeout"
        result = Result("pass" if error is None else "fail", seconds, error=error, details=details)
        with self._lock:
            self._finished = _Finished(time.monotonic(), result)
            self._running = None
        done.set()


def results(checks: Mapping[str, Check]) -> dict[str, Result]:
    """Return the answers of all checks, which run side by side: all together take as long as the slowest."""
    for check in checks.values():
        check.begin()
    return {name: check.result() for name, check in checks.items()}
