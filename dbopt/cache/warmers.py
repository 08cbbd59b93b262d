"""Filling the cache before it is asked: after a deployment, after a flush, before the morning.

An app says in its module ``warmers`` which calls are worth having::

    @warms(recent_entities)
    def kinds():
        for kind in ("person", "company"):
            yield current_tenant(), kind        # arguments by position; a dictionary: by name

``manage.py dbopt_cache warm`` makes those calls for every tenant.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from asgiref.sync import async_to_sync, iscoroutinefunction
from django.utils.module_loading import autodiscover_modules, import_string

from dbopt.cache.functions.decorator import CachedFunction
from dbopt.cache.server.servers import server
from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError
from dbopt.tenancy import tenant_context

logger = logging.getLogger(__name__)

Arguments = tuple[Any, ...] | dict[str, Any]
Calls = Callable[[], Iterable[Arguments]]


@dataclass(frozen=True, slots=True)
class Warmer:
    """A cached function and the calls that are worth having."""

    function: CachedFunction[Any, Any]
    calls: Calls

    @property
    def name(self) -> str:
        """The function's name in keys and statistics."""
        return self.function.name

    @property
    def is_shared(self) -> bool:
        """Whether its results belong to no tenant."""
        return self.function.is_shared


@dataclass(frozen=True, slots=True)
class Warmed:
    """What a run did.

    Attributes:
        calls: how many calls were made.
        failed: how many of them raised; logged with the function's name.
        is_whole: False where the cache server went out of reach, or ``stop`` was set: the rest was left.
    """

    calls: int
    failed: int
    is_whole: bool


_warmers: list[Warmer] = []


def warms(function: CachedFunction[Any, Any]) -> Callable[[Calls], Calls]:
    """Declare calls of a cached function that :func:`warm` makes; runs with the tenant set.

    Raises:
        ConfigurationError: it is no cached function.
    """
    if not isinstance(function, CachedFunction):
        raise ConfigurationError(f"@warms({function!r}): name a function decorated with @cached_query.")

    def declare(calls: Calls) -> Calls:
        _warmers.append(Warmer(function, calls))
        return calls

    return declare


def declared_warmers(names: Iterable[str] = ()) -> list[Warmer]:
    """Return the warmers of all installed apps, or those whose function has one of the names.

    Raises:
        ConfigurationError: no warmer is declared for a name.
    """
    autodiscover_modules("warmers")
    wanted = set(names)
    unknown = wanted - {warmer.name for warmer in _warmers}
    if unknown:
        known = ", ".join(sorted({warmer.name for warmer in _warmers})) or "none"
        raise ConfigurationError(f"No app declares a warmer for {sorted(unknown)[0]!r}. Declared: {known}.")
    return [warmer for warmer in _warmers if not wanted or warmer.name in wanted]


def all_tenants() -> list[Any]:
    """Return the primary keys of all tenants, as ``TENANCY["TENANTS"]`` says; [] where tenancy is not used.

    Raises:
        ConfigurationError: tenancy is used and the setting is missing or names nothing that can be imported.
    """
    section = dbopt_settings.tenancy
    if section.resolver is None:
        return []
    if section.tenants is None:
        raise ConfigurationError(
            'DBOPT["TENANCY"]["TENANTS"] is not set, so the tenants are not known. '
            "Name a function that returns their primary keys, or say for which tenants."
        )
    return list(_lister(section.tenants)())


def warm(
    *names: str,
    tenants: Iterable[Any] | None = None,
    rate: float = 50.0,
    refresh: bool = False,
    report: Callable[[str, int], None] = lambda name, calls: None,
    stop: threading.Event | None = None,
) -> Warmed:
    """Make the calls that warmers declare, one after the other.

    A result that is there and valid is left as it is. A call that raises is logged and passed over. The run ends when
    the cache server goes out of reach: without it every call would only load the database.

    Args:
        names: of cached functions; none: all that have a warmer.
        tenants: primary keys; None: all of ``TENANCY["TENANTS"]``. Functions with ``shared=True`` are called once.
        rate: calls in a second, at most.
        refresh: compute also what is there and valid.
        report: is told the function's name and the number of calls so far.
        stop: ends the run between two calls.

    Raises:
        ConfigurationError: no warmer has one of the names, or the tenants are not known.
    """
    warmers = declared_warmers(names)
    if tenants is None:
        tenants = all_tenants() if warmers else ()
    run = _Run(_Pace(rate, stop or threading.Event()), refresh=refresh, report=report)
    found = list(tenants) or [None]
    is_whole = all(run.work(warmer, [None] if warmer.is_shared else found) for warmer in warmers)
    return Warmed(run.calls, run.failed, is_whole=is_whole and not server().breaker.is_open)


class _Run:
    """The calls of one run."""

    def __init__(self, pace: _Pace, *, refresh: bool, report: Callable[[str, int], None]) -> None:
        self.calls = 0
        self.failed = 0
        self._pace = pace
        self._refresh = refresh
        self._report = report

    def work(self, warmer: Warmer, tenants: Iterable[Any]) -> bool:
        """Make one function's calls; False: the run is over."""
        for tenant in tenants:
            with tenant_context(tenant):
                for arguments in warmer.calls():
                    if not self._pace.wait() or server().breaker.is_open:
                        return False
                    self.failed += not self._made(warmer, arguments)
                    self.calls += 1
                    self._report(warmer.name, self.calls)
        return True

    def _made(self, warmer: Warmer, arguments: Arguments) -> bool:
        call: Callable[..., Any] = warmer.function.refresh if self._refresh else warmer.function
        if iscoroutinefunction(warmer.function):
            call = async_to_sync(call)
        try:
            if isinstance(arguments, Mapping):
                call(**arguments)
            else:
                call(*arguments)
        except Exception as error:  # noqa: BLE001 - one faulty function must not keep the others cold
            # The message of an error may hold values.
            logger.warning("Warming %s failed (%s).", warmer.name, type(error).__name__)
            return False
        return True


class _Pace:
    """Lets so many pass in a second, evenly."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._interval = 1.0 / rate
        self._stop = stop
        self._next = time.monotonic()

    def wait(self) -> bool:
        """Return when the next one may pass; False: nobody may any more."""
        left = self._next - time.monotonic()
        self._next = max(self._next, time.monotonic()) + self._interval
        return not self._stop.wait(max(0.0, left))


@lru_cache(maxsize=8)
def _lister(path: str) -> Callable[[], Iterable[Any]]:
    try:
        lister: Callable[[], Iterable[Any]] = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f'DBOPT["TENANCY"]["TENANTS"] names {path!r}, which cannot be imported: {error}. '
            "Name a function that returns the primary keys of all tenants."
        ) from error
    return lister
