"""The time limit of an operation: between batches, before each statement, and in the middle of one.

A statement that runs is cancelled from another thread, by the protocol's own cancel request. Setting `statement_timeout`
instead would cost two round trips an operation, outlive it behind a transaction pooler, and start anew with each statement.
"""

from __future__ import annotations

import logging
import os
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections
from graphql import GraphQLError

from dbopt.exceptions import OperationTimeoutError
from dbopt.graphql.execution.executor import DboptExecutionContext
from dbopt.graphql.execution.runs import Run

if TYPE_CHECKING:
    from graphql import ExecutionContext, GraphQLResolveInfo

    from dbopt.graphql.execution.batches import Batch
    from dbopt.graphql.execution.plans import FieldPlan

logger = logging.getLogger(__name__)

# A cancel that overtakes its statement on the way is lost: it is sent again until the statement has ended.
_REPEAT = 0.1
_CANCEL_TIMEOUT = 1.0

# What leaves a block or takes it back must pass, or Django would no longer know in what state the transaction is.
_ALWAYS_ALLOWED = ("SAVEPOINT", "RELEASE", "ROLLBACK")


class Deadline:
    """When an operation must have ended. Belongs to the operation's thread, except `expire` and `abandon`.

    Attributes:
        wakes_at: when the watchdog looks at it next, by `time.monotonic`.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.wakes_at = self._at = monotonic() + seconds
        self._lock = threading.Lock()
        # The driver's connection whose statement runs.
        self._running: Any = None
        self._has_expired = False
        self._is_abandoned = False

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return max(self._at - monotonic(), 0.0)

    def error(self) -> BaseException:
        """Return what an operation ends with that goes on after its time."""
        return CancelledError() if self._is_abandoned else OperationTimeoutError(self.seconds)

    def abandon(self) -> None:
        """End the operation at once: nobody waits for it any more. From any thread, and without waiting."""
        self._is_abandoned = True
        self._at = self.wakes_at = -inf
        _watchdog().hurry(self)

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            OperationTimeoutError: there is none left.
            CancelledError: the operation was abandoned.
        """
        if monotonic() >= self._at:
            raise self.error()

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Run a statement, as an execute wrapper of Django, while there is time."""
        if isinstance(sql, str) and sql.startswith(_ALWAYS_ALLOWED):
            return execute(sql, params, many, context)
        self.check()
        self._run(context["connection"].connection)
        try:
            return execute(sql, params, many, context)
        except DatabaseError as error:
            if self._has_expired:
                raise self.error() from error
            raise
        finally:
            self._run(None)

    def _run(self, connection: Any) -> None:
        # Waits for a cancel that is on its way: it must not hit the next statement.
        with self._lock:
            self._running = connection

    def expire(self) -> None:
        """Cancel the statement that runs, if one does. Called by the watchdog's thread, again and again until the end."""
        self.wakes_at = monotonic() + _REPEAT
        with self._lock:
            self._has_expired = True
            if self._running is not None:
                _cancel(self._running)


def _cancel(connection: Any) -> None:
    try:
        if hasattr(connection, "cancel_safe"):
            connection.cancel_safe(timeout=_CANCEL_TIMEOUT)
        elif hasattr(connection, "cancel"):
            connection.cancel()
    except Exception:
        # The border: the watchdog must live on. The server's own statement_timeout is left to end the statement.
        logger.warning("A statement that ran out of time could not be cancelled.", exc_info=True)


class Watchdog:
    """Expires deadlines, in a thread of its own that is started with the first one. Thread-safe."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything; in a forked child, which has not inherited the thread."""
        self._changed = threading.Condition()
        self._watched: set[Deadline] = set()
        self._wakes_at = inf
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        """Expire a deadline when its time has come."""
        with self._changed:
            self._watched.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="dbopt-deadlines", daemon=True)
                self._thread.start()
            elif deadline.wakes_at < self._wakes_at:
                self._changed.notify()

    def hurry(self, deadline: Deadline) -> None:
        """Look at a deadline now, if it is still watched: it wakes earlier than it said."""
        with self._changed:
            if deadline in self._watched:
                self._changed.notify()

    def forget(self, deadline: Deadline) -> None:
        """Leave a deadline alone from now on."""
        with self._changed:
            self._watched.discard(deadline)

    def _work(self) -> None:
        while True:
            for deadline in self._due():
                deadline.expire()

    def _due(self) -> list[Deadline]:
        with self._changed:
            self._wakes_at = min((deadline.wakes_at for deadline in self._watched), default=inf)
            if self._wakes_at == inf:
                self._changed.wait()
            else:
                self._changed.wait(max(self._wakes_at - monotonic(), 0))
            now = monotonic()
            return [deadline for deadline in self._watched if deadline.wakes_at <= now]


@cache
def _watchdog() -> Watchdog:
    watchdog = Watchdog()
    os.register_at_fork(after_in_child=watchdog.reset)
    return watchdog


_current: ContextVar[Deadline | None] = ContextVar("dbopt_graphql_deadline", default=None)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[Deadline | None]:
    """Give what runs inside so many seconds; None is no limit. Covers all databases of this thread."""
    if seconds is None:
        yield None
        return
    deadline = Deadline(seconds)
    token = _current.set(deadline)
    watched = connections.all()
    for connection in watched:
        # By hand: Django's execute_wrapper() takes away whatever is last at its end, which may be another's.
        connection.execute_wrappers.append(deadline)
    _watchdog().watch(deadline)
    try:
        yield deadline
    finally:
        _watchdog().forget(deadline)
        for connection in watched:
            connection.execute_wrappers.remove(deadline)
        _current.reset(token)


class TimedRun(Run):
    """A run that ends when its time is over, between batches and between the calls of resolvers."""

    def __init__(self, context: ExecutionContext) -> None:
        super().__init__(context)
        self.deadline = _current.get()

    def checkpoint(self, batch: Batch) -> None:
        """End the operation if its time is over."""
        self._check()

    def info(self, field: FieldPlan, batch: Batch, row: int) -> GraphQLResolveInfo:
        """Return what a resolver gets: it is asked for before each call of one."""
        self._check()
        return super().info(field, batch, row)

    def _check(self) -> None:
        if self.deadline is not None:
            try:
                self.deadline.check()
            except OperationTimeoutError as error:
                raise GraphQLError(str(error), original_error=error) from error


class TimedExecutionContext(DboptExecutionContext):
    """The view's: dbopt's executor under a time limit."""

    run_class = TimedRun
