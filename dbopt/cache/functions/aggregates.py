"""Slow aggregates and metrics: served at once, with their age, and computed anew behind the callers' backs."""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections
from django.utils import timezone, translation

from dbopt.cache.functions.decorator import CachedFunction, evaluated
from dbopt.cache.functions.refreshers import refreshers
from dbopt.cache.functions.specs import Options, Spec
from dbopt.cache.observation.recordings import recorded, running, unobserved
from dbopt.cache.observation.scopes import session_scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from dbopt.cache.functions.calls import Call
    from dbopt.cache.functions.surroundings import Vary
    from dbopt.cache.values.envelopes import Envelope

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_DAY = 86_400.0


class Aged(NamedTuple):
    """A value and the seconds since its computation began."""

    value: Any
    age: float


def cached_metrics(  # noqa: PLR0913 - options of a decorator, by keyword
    timeout: float | str | None = None,
    *,
    stale: float = _DAY,
    name: str | None = None,
    level: str | None = None,
    tags: Iterable[str] = (),
    vary: Vary | Iterable[Vary] = (),
    version: int = 1,
    shared: bool = False,
) -> Callable[[Callable[P, R]], MetricsFunction[P, R]]:
    """Serve what is there at once, however old, and have it computed anew behind the caller's back.

    A result becomes old after ``timeout``, or when something it read was written. The next caller gets it all the
    same and has one worker, of all processes, compute it anew. Only the first caller waits, when nothing is there.
    ``function.with_age(...)`` returns the value and its age in seconds.

    What it reads without SQL, or through statements that depend on the time, becomes old by ``timeout`` alone. Unlike
    with ``cached_query``, a caller in the middle of a transaction is served what others committed before.

    Args:
        timeout: seconds, or the name of an entry in ``DBOPT["CACHE"]["TIMEOUTS"]``; None means ``TIMEOUT``.
        stale: seconds for which a result is still served after that; a caller that comes later waits.
        level: "commit", or "ttl": writes do not make a result old.
        name: as in :func:`~dbopt.cache.cached_query`, like the others.
        tags: see there.
        vary: see there.
        version: see there.
        shared: see there.

    Raises:
        ConfigurationError, UncacheableArgumentError, TenantRequiredError, MissingExtraError: as there.
    """
    options = Options(
        decorator="cached_metrics",
        timeout=timeout,
        stale=stale,
        name=name,
        level=level,
        tags=tags,
        vary=vary,
        version=version,
        shared=shared,
        behind=True,
    )
    return lambda function: MetricsFunction(function, Spec(function, options))


class MetricsFunction(CachedFunction[P, R]):
    """A function whose old results are better than waiting. Thread-safe and fork-safe."""

    def with_age(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the value and the seconds since its computation began; of an async function: to be awaited."""
        if self._is_async:
            return self._with_age_async(args, kwargs)
        return _aged(self._run(args, kwargs))

    async def _with_age_async(self, args: Any, kwargs: Any) -> Aged:
        return _aged(await self._run_async(args, kwargs))

    def _found(self, call: Call, found: Envelope, *, args: Any, kwargs: Any, started: float) -> Envelope:
        if call.behind:
            # With the caller's tenant and other context variables. Django keeps these two to their thread.
            context, language, zone = copy_context(), translation.get_language(), timezone.get_current_timezone()
            refreshers().submit(call.key, lambda: context.run(self._compute_behind, args, kwargs, language, zone))
        return super()._found(call, found, args=args, kwargs=kwargs, started=started)

    def _compute_behind(self, args: Any, kwargs: Any, language: str | None, zone: tzinfo) -> None:
        with unobserved(), translation.override(language), timezone.override(zone):
            try:
                self._refresh_once(args, kwargs)
            except Exception as error:  # noqa: BLE001 - border of a thread: the old value goes on being served
                self._counters.refused("failed")
                logger.warning("%s could not be refreshed (%s).", self._spec.path, type(error).__name__)

    def _refresh_once(self, args: Any, kwargs: Any) -> None:
        tenant = self._spec.tenant()
        if tenant is None:
            return
        call = self._call(tenant, args, kwargs)
        try:
            if not call.claim() or call.fill is None:
                return
            with call.turn.computing(), recorded(call.fill.recording):
                result = self._result(args, kwargs)
            # The caller went on with its arguments, and may have changed them: then this is the result of others.
            if self._call(tenant, args, kwargs).key == call.key:
                self._end(call, result, accept=False, started=time.perf_counter())
        finally:
            call.leave()

    def _result(self, args: Any, kwargs: Any) -> Any:
        if not self._is_async:
            return evaluated(self._function(*args, **kwargs))
        return asyncio.run(self._result_async(args, kwargs))

    async def _result_async(self, args: Any, kwargs: Any) -> Any:
        function = cast("Callable[..., Any]", self._function)
        async with ThreadSensitiveContext():
            try:
                return await sync_to_async(evaluated)(await function(*args, **kwargs))
            finally:
                await sync_to_async(connections.close_all)()

    def _obstacle(self) -> str | None:
        """What a transaction wrote does not show in a metric before it is committed and computed anew.

        Workers have sessions of their own, which are set to nothing.
        """
        return "session_scope" if session_scope() else None

    def _taint_outer(self) -> None:
        for outer in running():
            if outer.follows_tables:
                outer.refuse("inner_stale")


def _aged(found: Envelope) -> Aged:
    return Aged(found.value, max(0.0, time.time() - found.made))
