"""All that touches the inside of promise 2.3: its queue of this thread, its states, its callbacks.

promise keeps one queue of jobs a thread and drains it as soon as something is put in ("tick").
An operation holds the tick instead, so that loads collect, and drains the queue itself.
The package is frozen since 2019; `self_test` proves at first use that its inside is still the one we know.
"""

# ruff: noqa: SLF001  the private names of promise are this module's subject

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Protocol

from promise import Promise
from promise.dataloader import dispatch_queue
from promise.promise import async_instance, get_default_scheduler

from dbopt.exceptions import ConfigurationError
from dbopt.graphql.execution.waits import count_wait

logger = logging.getLogger(__name__)

PENDING, REJECTED, FULFILLED = -1, 0, 1

# A promise whose callbacks user code holds may lead anywhere: its loader goes first.
TALLEST = 1_000_000

# promise numbers callbacks up to 65,535 and then starts again at 0, which fails an assertion.
_LAST_STOCK_INDEX = 65_000
_CALLBACK_SIZE = 3


class Waiter(Protocol):
    """What wants to know how a promise ends."""

    def settle(self, value: Any, error: Exception | None) -> None:
        """Take the result."""
        ...


class Loads(Protocol):
    """A loader, as its job in the queue sees it."""

    _job: Dispatch | None
    _queue: dict[Any, None]

    def _dispatch(self) -> None: ...


class LoaderPromise(Promise[Any]):
    """A promise of a loader: cells of the executor wait in a list, user code by callbacks."""

    _loader: Loads | None = None
    _waiters: list[Waiter] | None = None

    def settle_value(self, value: Any) -> None:
        """Fulfil, or reject with a value that is an error; follow a value that is a promise."""
        if isinstance(value, Promise):
            value._then(self.settle_value, self.settle_error)
        elif isinstance(value, Exception):
            self.settle_error(value)
        else:
            self._state = FULFILLED
            self._rejection_handler0 = value
            self._tell(value, None)

    def settle_error(self, error: Exception) -> None:
        """Reject."""
        self._state = REJECTED
        self._fulfillment_handler0 = error
        self._traceback = error.__traceback__
        self._tell(None, error)

    def _tell(self, value: Any, error: Exception | None) -> None:
        if error is not None and not self._length and not self._waiters:
            # promise is silent about a rejection that nobody handles.
            logger.debug("Nobody waits for a load of %s that failed with %s.", _name(self._loader), _name(error))
        if self._length:
            async_instance.settle_promises(self)
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            waiter.settle(value, error)

    def _settle_promise(self, promise: Any, handler: Any, value: Any, traceback: Any) -> None:
        # promise asks isinstance(promise, self.__class__): a plain Promise that waits for one of ours would never settle.
        if isinstance(promise, Promise) and not isinstance(promise, LoaderPromise):
            if callable(handler):
                self._settle_promise_from_handler(handler, value, promise)
            elif self._state == FULFILLED:
                promise._fulfill(value)
            else:
                promise._reject(value, self._traceback)
        else:
            super()._settle_promise(promise, handler, value, traceback)

    def _add_callbacks(self, fulfill: Any, reject: Any, promise: Any) -> int:
        index: int = self._length
        if index < _LAST_STOCK_INDEX:
            return int(super()._add_callbacks(fulfill, reject, promise))
        # The order of promise's CALLBACK_*_OFFSET: fulfil, reject, promise.
        first = index * _CALLBACK_SIZE - _CALLBACK_SIZE
        for offset, entry in enumerate((fulfill, reject, promise)):
            self._handlers[first + offset] = entry
        self._length = index + 1
        return index

    def _wait(self, timeout: float | None = None) -> None:
        _run_until_settled(self)
        if is_pending(self):
            raise RuntimeError("This promise will never be settled: nothing is left to run that could settle it.")

    def __await__(self) -> Iterator[Any]:
        if is_pending(self):
            raise RuntimeError(
                "A coroutine cannot await the promise of a loader, which is settled after all coroutines. "
                "Return the promise from the coroutine."
            )
        return iter(self)

    @classmethod
    def _try_convert_to_promise(cls, obj: Any) -> Any:
        return Promise._try_convert_to_promise(obj)


class Dispatch:
    """A loader's job in the queue. The executor picks the one with the tallest selection below it."""

    __slots__ = ("has_waited", "height", "held", "loader")

    def __init__(self, loader: Loads, *, height: int, held: int) -> None:
        self.loader = loader
        self.height = height
        # Promises handed out that did not come straight back to the executor.
        self.held = held
        self.has_waited = False

    @property
    def is_due(self) -> bool:
        """Whether the loader still waits for this job."""
        return self.loader._job is self

    @property
    def priority(self) -> int:
        """The higher, the sooner."""
        return TALLEST if self.held > 0 else self.height

    def __call__(self) -> None:
        """Run inside a tick of promise itself: once let everything go first that is already queued."""
        if not self.has_waited and async_instance.normal_queue:
            self.has_waited = True
            async_instance.normal_queue.append(self)
        elif self.is_due:
            self.loader._dispatch()


def _note_wait(loader: Any) -> None:
    """A loader, ours or a stock one, is sent off because somebody waits; the executor itself never does."""
    if _operations.depth and _operations.waiting and len(loader._queue) == 1:
        count_wait(_operations.waits, loader)


def _name(thing: object) -> str:
    return type(thing).__name__


def promise_for(loader: Loads) -> LoaderPromise:
    """Return a pending promise of a loader."""
    promise = LoaderPromise.__new__(LoaderPromise)
    promise._loader = loader
    return promise


def is_pending(promise: Promise[Any]) -> bool:
    """Whether a promise, or the one it follows, is not settled."""
    return bool(promise._target()._state == PENDING)


def outcome(promise: Promise[Any]) -> tuple[Any, Exception | None] | None:
    """Return (value, error) of a promise, or None while it is pending."""
    target = promise._target()
    if target._state == PENDING:
        return None
    if target._state == REJECTED:
        return None, target._fulfillment_handler0
    return target._rejection_handler0, None


def settled(value: Any) -> Any:
    """Wait for a value that may be a promise, running this thread's queue."""
    return value.get() if isinstance(value, Promise) else value


def subscribe(promise: Promise[Any], waiter: Waiter, *, height: int) -> None:
    """Tell a waiter how a pending promise ends."""
    target = promise._target()
    if not isinstance(target, LoaderPromise) or target._loader is None:
        target._then(lambda value: waiter.settle(value, None), lambda error: waiter.settle(None, error))
    elif target._waiters is not None:
        target._waiters.append(waiter)
    else:
        target._waiters = [waiter]
        job = target._loader._job
        if job is not None and not target._length:
            job.held -= 1
            job.height = max(job.height, height)


def then(promise: Promise[Any], fulfilled: Callable[[Any], None], rejected: Callable[[Exception], None]) -> None:
    """Call one of two functions when a promise is settled."""
    promise._then(fulfilled, rejected)


def enqueue(job: Dispatch) -> None:
    """Put a loader's job into this thread's queue. Outside an operation it runs at once."""
    async_instance.invoke(job, get_default_scheduler())


def run_next_job() -> bool:
    """Run one job of this thread's queue: callbacks first, then the tallest loader; False when there is none."""
    queue = async_instance.normal_queue
    loads: list[Dispatch] = []
    while queue:
        job = queue.popleft()
        if type(job) is not Dispatch:
            queue.extendleft(reversed(loads))
            _run(job)
            return True
        if job.is_due:
            loads.append(job)
    if loads:
        best = max(loads, key=lambda job: job.priority)
        queue.extend(job for job in loads if job is not best)
        _note_wait(best.loader)
        best.loader._dispatch()
        return True
    if async_instance.late_queue:
        _run(async_instance.late_queue.popleft())
        return True
    return False


def _run(job: Any) -> None:
    if isinstance(job, Promise):
        job._settle_promises()
        return
    if isinstance(job, partial) and job.func is dispatch_queue:
        _note_wait(job.args[0])
    job()


def _run_until_settled(promise: Promise[Any]) -> None:
    """Run jobs while somebody waits for a promise."""
    _operations.waiting += 1
    try:
        while is_pending(promise) and run_next_job():
            pass
    finally:
        _operations.waiting -= 1


class _Operations(threading.local):
    depth = 0
    waiting = 0
    waits: dict[type, int]


_operations = _Operations()


@contextmanager
def held_queue() -> Iterator[None]:
    """Hold this thread's tick, so that loads collect until the operation drains the queue.

    The outermost operation of a thread starts with an empty queue and leaves nothing behind, however it ends:
    a callback of one request never runs inside another. Jobs that someone else queued are put back.
    """
    self_test()
    if _operations.depth:
        _operations.depth += 1
        try:
            yield
        finally:
            _operations.depth -= 1
        return
    others = list(async_instance.normal_queue), list(async_instance.late_queue), async_instance.is_tick_used
    reset_thread_state()
    async_instance.is_tick_used = True
    # `.get()` of a promise that is not ours: promise's own loop gives up the tick, and does not say for whom it waits.
    # The instance is this thread's, so that no other thread's `.get()` changes.
    async_instance.drain_queue_until_resolved = _run_until_settled  # type: ignore[method-assign]  # meant so
    _operations.depth, _operations.waits = 1, {}
    try:
        yield
    finally:
        _operations.depth = 0
        del async_instance.drain_queue_until_resolved
        reset_thread_state()
        async_instance.normal_queue.extend(others[0])
        async_instance.late_queue.extend(others[1])
        async_instance.is_tick_used = others[2]


def drop_leftovers() -> int:
    """Forget what promise still has queued in this thread, unless an operation is running in it."""
    return 0 if _operations.depth else reset_thread_state()


def reset_thread_state() -> int:
    """Forget what promise still has queued in this thread; return how many jobs that were."""
    forgotten = len(async_instance.normal_queue) + len(async_instance.late_queue)
    async_instance.normal_queue.clear()
    async_instance.late_queue.clear()
    async_instance.is_tick_used = False
    return forgotten


@cache
def self_test() -> None:
    """Prove once that promise's inside is the one this module knows.

    Raises:
        ConfigurationError: another version, or a look-alike, is installed.
    """
    tick, async_instance.is_tick_used = async_instance.is_tick_used, True
    waiting = list(async_instance.normal_queue)
    async_instance.normal_queue.clear()
    try:
        seen = _exercise()
    except (AssertionError, AttributeError, TypeError) as error:
        raise ConfigurationError(_UNKNOWN_PROMISE) from error
    finally:
        async_instance.normal_queue.clear()
        async_instance.normal_queue.extend(waiting)
        async_instance.is_tick_used = tick
    if seen != [1, "told", 2, [1, 3], "failed"]:
        raise ConfigurationError(_UNKNOWN_PROMISE)


_UNKNOWN_PROMISE = "The installed package 'promise' works differently inside than version 2.3. Install promise==2.3."


def _exercise() -> list[Any]:
    seen: list[Any] = []

    class Note:
        def settle(self, value: Any, error: Exception | None) -> None:
            seen.append("told" if error is None and value == 1 else "wrong")

    first, failing = LoaderPromise(), LoaderPromise()
    plain: Promise[Any] = Promise()
    first.then(seen.append)
    first.then(lambda value: value + 1).then(seen.append)
    Promise.all([first, plain]).then(seen.append)
    failing.catch(lambda error: seen.append(str(error)))
    subscribe(first, Note(), height=0)
    first.settle_value(1)
    plain.do_resolve(3)
    while run_next_job():
        pass
    failing.settle_error(ValueError("failed"))
    while run_next_job():
        pass
    return sorted(seen, key=[1, "told", 2, [1, 3], "failed"].index)
