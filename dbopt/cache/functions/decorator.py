"""The decorator: a function whose results are kept until something it read was written."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import connections
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from dbopt.cache import totals
from dbopt.cache.counters import BYPASS, ERROR, HIT, OLD, STALE, counters_of
from dbopt.cache.functions.calls import Call
from dbopt.cache.functions.specs import STRICT, TTL, Options, Spec
from dbopt.cache.functions.turns import Pause
from dbopt.cache.names.tokens import function_tag
from dbopt.cache.observation.recordings import recorded, refuse_all, running
from dbopt.cache.observation.transactions import state_of
from dbopt.cache.observation.unfinished import renew, repeat, unfinished
from dbopt.cache.server.servers import server
from dbopt.cache.values.envelopes import Envelope, model_absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dbopt.cache.functions.surroundings import Vary

P = ParamSpec("P")
R = TypeVar("R")

_RIGHT = (HIT, OLD)

# What of a cached function takes the arguments of a call.
_OF_CALLS = frozenset({"uncached", "refresh", "invalidate", "with_age"})

_bypassed: ContextVar[bool] = ContextVar("dbopt_cache_bypassed", default=False)


def cached_query(  # noqa: PLR0913 - options of a decorator, by keyword
    timeout: float | str | None = None,
    *,
    name: str | None = None,
    level: str | None = None,
    stale: float = 0.0,
    negative_timeout: float | None = None,
    tags: Iterable[str] = (),
    vary: Vary | Iterable[Vary] = (),
    local: bool = False,
    version: int = 1,
    shared: bool = False,
    codec: str = "rows",
    volatile_ok: float = 0.0,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Keep a function's results until what it read is written, at most for ``timeout``.

    What it depends on is observed from the SQL it runs in its own thread. Equal arguments of equal types share a
    result; a returned QuerySet is evaluated, and the caller gets a list. Works on ``async def``.
    Of many callers that find nothing, in all processes, one runs the function; the others wait, at most a second.

    Args:
        timeout: seconds, or the name of an entry in ``DBOPT["CACHE"]["TIMEOUTS"]``; None means ``TIMEOUT``.
        name: unique, for keys and statistics; what stands before a colon is its prefix. None means the dotted path.
        level: "commit" never serves what a commit has made wrong; "strict" not even while it commits; "ttl" serves it
            until ``timeout``.
        stale: seconds for which a result that a write has made wrong may still be served while one caller computes
            it anew, counted from when it was last known to be right.
        negative_timeout: seconds for which None, an empty list, or a ``Model.DoesNotExist`` that the function raises
            is kept; None: the first two like any result, the last not at all.
        tags: names for ``invalidate("name")``; needed by a function that runs no SQL.
        vary: what else a result depends on: "permissions" of the users among the arguments, or functions without
            arguments that return plain values. "language" and "timezone" always count.
        local: keep a copy in the process.
        version: raise it when the meaning of the result changes.
        shared: True when the result belongs to no tenant.
        codec: "rows" for plain values and instances of models; "pickle", signed with the project's SECRET_KEY, for
            what rows cannot hold.
        volatile_ok: seconds for which a result may be kept that depends on the time or on chance (``now()``,
            ``random()``); 0: such results are not kept. What it reads is followed as always.

    Raises:
        ConfigurationError: at decoration, or at the first call for a name that TIMEOUTS does not have.
        UncacheableArgumentError: at a call, for an argument that has no canonical form.
        TenantRequiredError: at a call without a tenant, where TENANCY requires one.
        MissingExtraError: at a call, where the redis client is not installed.
    """
    options = Options(
        timeout=timeout,
        name=name,
        level=level,
        stale=stale,
        negative_timeout=negative_timeout,
        tags=tags,
        vary=vary,
        local=local,
        version=version,
        shared=shared,
        codec=codec,
        volatile_ok=volatile_ok,
    )
    return lambda function: CachedFunction(function, Spec(function, options))


@contextmanager
def bypass() -> Iterator[None]:
    """Call cached functions in the block as if they were plain ones: nothing is read from the cache or stored."""
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)


def obstacle() -> str | None:
    """Return why no cached value may be used here now: it is bypassed, or a transaction of this thread sees its own rows."""
    return "bypass" if _bypassed.get() else _own_rows()


def _own_rows() -> str | None:
    for alias in connections:
        # Half the price of connections.all(initialized_only=True), which looks each up twice.
        state = state_of(connections[alias])
        reason = state.obstacle() if state is not None else None
        if reason is not None:
            return reason
    return None


class CachedFunction(Generic[P, R]):
    """A function with a cache in front. Thread-safe and fork-safe."""

    def __init__(self, function: Callable[P, R], spec: Spec) -> None:
        self._function = function
        self._spec = spec
        self._counters = counters_of(spec.name)
        update_wrapper(self, function)
        self._is_async = iscoroutinefunction(function)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result, or run the function and store what it returns."""
        if self._is_async:
            return cast("R", self._value_async(args, kwargs))
        return cast("R", self._run(args, kwargs).value)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as a method; its class must define ``__cache_key__``, or be a model."""
        return self if instance is None else BoundFunction(self, instance)

    @property
    def name(self) -> str:
        """Its name in keys and statistics."""
        return self._spec.name

    @property
    def is_shared(self) -> bool:
        """Whether its results belong to no tenant."""
        return self._spec.shared

    @property
    def uncached(self) -> Callable[P, R]:
        """The plain function."""
        return self._function

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function and store what it returns, whatever is stored now."""
        if self._is_async:
            return cast("R", self._value_async(args, kwargs, accept=False))
        return cast("R", self._run(args, kwargs, accept=False).value)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of this call, for the current tenant.

        A fill that is under way does not bring it back. Inside a transaction it is removed now, and once more after the
        COMMIT. False while the cache server is out of reach: then the whole function is invalidated as soon as it is back.
        """
        tenant = self._spec.tenant()
        if tenant is None:
            return True
        call = self._call(tenant, args, kwargs)
        remove = partial(call.remove, fallback=function_tag(self._spec.name))
        repeat(remove)
        return remove()

    def invalidate_all(self) -> bool:
        """Make all results of this function invalid, for all tenants; as :func:`~dbopt.cache.invalidate` does."""
        return renew({function_tag(self._spec.name)}, unfinished())

    def _run(self, args: Any, kwargs: Any, *, accept: bool = True) -> Envelope:
        started = time.perf_counter()
        call = self._begin(args, kwargs, accept=accept, started=started)
        if call is None:
            return Envelope(evaluated(self._function(*args, **kwargs)), time.time())
        try:
            step = call.step(call.look())
            if isinstance(step, Pause):
                self._counters.waited()
            while isinstance(step, Pause):
                step.wait()
                step = call.step(call.look())
            if step is not None:
                return self._found(call, step, args=args, kwargs=kwargs, started=started)
            return self._compute(call, args, kwargs, accept=accept, started=started)
        finally:
            call.leave()
            if totals.is_due():
                totals.push()

    def _compute(self, call: Call, args: Any, kwargs: Any, *, accept: bool, started: float) -> Envelope:
        if call.fill is None:
            self._unreachable(started)
            return Envelope(evaluated(self._function(*args, **kwargs)), time.time())
        try:
            with call.turn.computing(), recorded(call.fill.recording):
                result = evaluated(self._function(*args, **kwargs))
        except Exception as error:
            self._failed(call, error, accept=accept, started=started)
            raise
        self._end(call, result, accept=accept, started=started)
        return Envelope(result, time.time())

    async def _value_async(self, args: Any, kwargs: Any, *, accept: bool = True) -> Any:
        return (await self._run_async(args, kwargs, accept=accept)).value

    async def _run_async(self, args: Any, kwargs: Any, *, accept: bool = True) -> Envelope:
        started = time.perf_counter()
        function = cast("Callable[..., Any]", self._function)
        # In the thread that the ORM uses: only there the state of its connections is known, and blocking is allowed.
        call = await sync_to_async(self._begin)(args, kwargs, accept=accept, started=started)
        if call is None:
            return Envelope(await sync_to_async(evaluated)(await function(*args, **kwargs)), time.time())
        try:
            step = await self._step_async(call)
            if isinstance(step, Pause):
                self._counters.waited()
            while isinstance(step, Pause):
                await step.wait_async()
                step = await self._step_async(call)
            if step is not None:
                return self._found(call, step, args=args, kwargs=kwargs, started=started)
            return await self._compute_async(call, args, kwargs, accept=accept, started=started)
        finally:
            # Also when this task is cancelled; only a lease takes a round trip to give back.
            if call.holds_lease:
                await asyncio.shield(sync_to_async(call.leave)())
            else:
                call.leave()
            if totals.is_due():
                await sync_to_async(totals.push)()

    async def _step_async(self, call: Call) -> Envelope | Pause | None:
        look = await call.look_async()
        found = call.hit(look) if look is not None else None
        if found is not None:
            return found
        return await sync_to_async(lambda: call.step(look if look is not None else call.look()))()

    async def _compute_async(self, call: Call, args: Any, kwargs: Any, *, accept: bool, started: float) -> Envelope:
        function = cast("Callable[..., Any]", self._function)
        if call.fill is None:
            self._unreachable(started)
            return Envelope(await sync_to_async(evaluated)(await function(*args, **kwargs)), time.time())
        try:
            with call.turn.computing(), recorded(call.fill.recording):
                result = await sync_to_async(evaluated)(await function(*args, **kwargs))
        except Exception as error:
            await sync_to_async(self._failed)(call, error, accept=accept, started=started)
            raise
        await sync_to_async(self._end)(call, result, accept=accept, started=started)
        return Envelope(result, time.time())

    def _begin(self, args: Any, kwargs: Any, *, accept: bool, started: float) -> Call | None:
        """Return a call that may use the cache; None means: run the function without it."""
        tenant = self._spec.tenant()
        reason = self._bypass_reason(tenant)
        if reason is None and accept and self._spec.churn.is_resting():
            reason = "write_hot"
        if reason is not None or tenant is None:
            refuse_all("nested_bypass")
            if accept:
                self._counters.count(BYPASS, reason=reason, seconds=time.perf_counter() - started)
            return None
        self._taint_outer()
        return self._call(tenant, args, kwargs, accept=accept)

    def _found(self, call: Call, found: Envelope, *, args: Any, kwargs: Any, started: float) -> Envelope:
        self._counters.count(call.outcome, reason=None, seconds=time.perf_counter() - started)
        if call.outcome in _RIGHT:
            self._spec.churn.hit()
        error = found.error()
        if error is not None:
            raise error
        return found

    def _unreachable(self, started: float) -> None:
        refuse_all("nested_bypass")
        self._counters.count(ERROR, reason="unreachable", seconds=time.perf_counter() - started)

    def _end(self, call: Call, result: Any, *, accept: bool, started: float, absent: str | None = None) -> None:
        if call.fill is None:
            return
        reason, size_bytes = call.fill.finish(result, absent=absent)
        if absent is None:
            call.hand_over(result)
        if reason is not None:
            self._counters.refused(reason)
        else:
            self._counters.stored(size_bytes)
        if accept:
            outcome = call.outcome
            if (outcome == STALE or reason == "moved") and not self._spec.behind:
                self._spec.churn.lost()
            self._counters.count(outcome, reason=reason or call.reason, seconds=time.perf_counter() - started)

    def _failed(self, call: Call, error: Exception, *, accept: bool, started: float) -> None:
        kind: Any = type(error)
        absent = model_absent(kind) if self._spec.negative_timeout is not None else None
        if absent is not None:
            self._end(call, str(error), accept=accept, started=started, absent=absent)
            return
        if call.fill is not None:
            call.fill.pass_on()
        self._counters.count(call.outcome, reason="failed", seconds=time.perf_counter() - started)

    def _call(self, tenant: str, args: Any, kwargs: Any, *, accept: bool = True) -> Call:
        return Call(self._spec, self._spec.place(tenant, args, kwargs), server=server(), accept=accept)

    def _bypass_reason(self, tenant: str | None) -> str | None:
        if _bypassed.get():
            return "bypass"
        if tenant is None:
            return "tenant"
        return self._obstacle()

    def _obstacle(self) -> str | None:
        """Return why no cached value may be used in this thread now: one of its transactions sees rows of its own."""
        return _own_rows()

    def _taint_outer(self) -> None:
        """A result of a level that promises less must not become part of one that promises more."""
        level = self._spec.level
        for outer in running():
            if level == TTL and outer.follows_tables:
                outer.refuse("inner_ttl")
            elif level != STRICT and outer.is_strict:
                outer.refuse("inner_commit")
            if self._spec.volatile_ok and outer.follows_tables:
                outer.refuse("inner_volatile")


class BoundFunction:
    """A cached function as a method of an object: what takes the arguments of a call gets the object first."""

    def __init__(self, function: CachedFunction[Any, Any], instance: object) -> None:
        self.__func__ = function
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with the object in front."""
        return self.__func__(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__func__, name)
        return MethodType(found, self.__self__) if name in _OF_CALLS else found


def evaluated(result: Any) -> Any:
    """Return the rows of a QuerySet as a list, anything else as it is."""
    return list(result) if isinstance(result, (QuerySet, RawQuerySet)) else result
