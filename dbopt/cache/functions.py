"""The decorator: a function whose results are kept until something it read was written."""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet

from dbopt.cache.calls import Call, Found, reading_obstacle
from dbopt.cache.counters import BYPASS, ERROR, counters_of
from dbopt.cache.recordings import recorded, refuse_all, running
from dbopt.cache.servers import server
from dbopt.cache.specs import COMMIT, Spec
from dbopt.cache.tokens import function_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

P = ParamSpec("P")
R = TypeVar("R")

_bypassed: ContextVar[bool] = ContextVar("dbopt_cache_bypassed", default=False)


def cached_query(  # noqa: PLR0913 - options of a decorator, by keyword
    timeout: float | str | None = None,
    *,
    name: str | None = None,
    level: str | None = None,
    tags: Sequence[str] = (),
    version: int = 1,
    shared: bool = False,
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Keep a function's results until what it read is written, at most for ``timeout``.

    What it depends on is observed from the SQL it runs in its own thread. Equal arguments of equal types share a
    result; a returned QuerySet is evaluated, and the caller gets a list. Works on ``async def``.

    Args:
        timeout: seconds, or the name of an entry in ``DBOPT["CACHE"]["TIMEOUTS"]``; None means ``TIMEOUT``.
        name: unique, for keys and statistics; what stands before a colon is its prefix. None means the dotted path.
        level: "commit" never serves what a commit has made wrong; "ttl" serves it until ``timeout``.
        tags: names for ``invalidate("name")``; needed by a function that runs no SQL.
        version: raise it when the meaning of the result changes.
        shared: True when the result belongs to no tenant.

    Raises:
        ConfigurationError: at decoration, or at the first call for a name that TIMEOUTS does not have.
        UncacheableArgumentError: at a call, for an argument that has no canonical form.
        TenantRequiredError: at a call without a tenant, where TENANCY requires one.
        MissingExtraError: at a call, where the redis client is not installed.
    """

    def decorate(function: Callable[P, R]) -> CachedFunction[P, R]:
        own_tags = tags if isinstance(tags, str) else tuple(tags)
        return CachedFunction(
            function,
            Spec(
                function,
                timeout=timeout,
                name=name,
                level=level,
                tags=cast("tuple[str, ...]", own_tags),
                version=version,
                shared=shared,
            ),
        )

    return decorate


@contextmanager
def bypass() -> Iterator[None]:
    """Call cached functions in the block as if they were plain ones: nothing is read from the cache or stored."""
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)


class CachedFunction(Generic[P, R]):
    """A function with a cache in front. Thread-safe and fork-safe."""

    def __init__(self, function: Callable[P, R], spec: Spec) -> None:
        self._function = function
        self._spec = spec
        self._counters = counters_of(spec.name)
        update_wrapper(self, function)
        if iscoroutinefunction(function):
            markcoroutinefunction(self)
            self._run: Callable[..., Any] = self._run_async
        else:
            self._run = self._run_sync

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the stored result, or run the function and store what it returns."""
        return cast("R", self._run(args, kwargs))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind as a method; its class must define ``__cache_key__``, or be a model."""
        return self if instance is None else MethodType(self, instance)

    @property
    def uncached(self) -> Callable[P, R]:
        """The plain function."""
        return self._function

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function and store what it returns, whatever is stored now."""
        return cast("R", self._run(args, kwargs, accept=False))

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the result of this call, for the current tenant.

        A fill that is under way does not bring it back. False while the cache server is out of reach: then the whole
        function is invalidated as soon as it is back.
        """
        tenant = self._spec.tenant()
        if tenant is None:
            return True
        return self._call(tenant, args, kwargs).remove(fallback=function_tag(self._spec.name))

    def invalidate_all(self) -> bool:
        """Make all results of this function invalid, for all tenants; False as in :meth:`invalidate`."""
        return server().renew({function_tag(self._spec.name)})

    def _run_sync(self, args: Any, kwargs: Any, *, accept: bool = True) -> Any:
        started = time.perf_counter()
        call, found = self._begin(args, kwargs, accept=accept, started=started)
        if found is not None:
            return found.value
        if call is None or call.recording is None:
            return _evaluated(self._function(*args, **kwargs))
        try:
            with recorded(call.recording):
                result = _evaluated(self._function(*args, **kwargs))
        except Exception:
            self._failed(call, started)
            raise
        self._end(call, result, accept=accept, started=started)
        return result

    async def _run_async(self, args: Any, kwargs: Any, *, accept: bool = True) -> Any:
        started = time.perf_counter()
        function = cast("Callable[..., Any]", self._function)
        # In the thread that the ORM uses: only there the state of its connections is known, and blocking is allowed.
        call, found = await sync_to_async(self._begin)(args, kwargs, accept=accept, started=started)
        if found is not None:
            return found.value
        if call is None or call.recording is None:
            return await sync_to_async(_evaluated)(await function(*args, **kwargs))
        try:
            with recorded(call.recording):
                result = await sync_to_async(_evaluated)(await function(*args, **kwargs))
        except Exception:
            self._failed(call, started)
            raise
        await sync_to_async(self._end)(call, result, accept=accept, started=started)
        return result

    def _begin(self, args: Any, kwargs: Any, *, accept: bool, started: float) -> tuple[Call | None, Found | None]:
        """Look the result up; (None, None) means: run the function without the cache."""
        tenant = self._spec.tenant()
        reason = self._bypass_reason(tenant)
        if reason is not None or tenant is None:
            refuse_all("nested_bypass")
            if accept:
                self._counters.count(BYPASS, reason=reason, seconds=time.perf_counter() - started)
            return None, None
        call = self._call(tenant, args, kwargs)
        self._taint_outer()
        found = call.look(accept=accept)
        if found is None and call.recording is None:
            refuse_all("nested_bypass")
            self._counters.count(ERROR, reason="unreachable", seconds=time.perf_counter() - started)
        elif found is not None:
            self._counters.count(call.outcome, reason=None, seconds=time.perf_counter() - started)
        return call, found

    def _end(self, call: Call, result: Any, *, accept: bool, started: float) -> None:
        call.finish(result)
        if accept:
            self._counters.count(call.outcome, reason=call.reason, seconds=time.perf_counter() - started)

    def _failed(self, call: Call, started: float) -> None:
        self._counters.count(call.outcome, reason="failed", seconds=time.perf_counter() - started)

    def _call(self, tenant: str, args: Any, kwargs: Any) -> Call:
        place = self._spec.place(tenant, args, kwargs)
        return Call(self._spec, place, server=server(), counters=self._counters)

    def _bypass_reason(self, tenant: str | None) -> str | None:
        if _bypassed.get():
            return "bypass"
        if tenant is None:
            return "tenant"
        return reading_obstacle()

    def _taint_outer(self) -> None:
        """A result that may be wrong until its timeout must not become part of one that may not."""
        if self._spec.level != COMMIT:
            for outer in running():
                if outer.follows_tables:
                    outer.refuse("inner_ttl")


def _evaluated(result: Any) -> Any:
    return list(result) if isinstance(result, (QuerySet, RawQuerySet)) else result
