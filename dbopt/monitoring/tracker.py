"""Watches every SQL statement of every connection: one execute wrapper, outermost, that never raises."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.signals import connection_created

from dbopt.conf import dbopt_settings
from dbopt.monitoring import listeners, open_connections
from dbopt.monitoring.aggregate import NO_ROUTE, Observation, statistics_of_process
from dbopt.monitoring.origins import find_origin
from dbopt.monitoring.records import current_record, origin_wanted
from dbopt.signals import announce, query_executed
from dbopt.statements import read_statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]


class _Receiving(threading.local):
    active = False


_receiving = _Receiving()


observers: list[Callable[[Observation], None]] = []
"""What else counts every statement of this process; a signal would cost more than all the counting.

An observer asks no database. An error of it is counted, and hides the statement from the observers behind it.
"""


class InternalErrors:
    """How often watching a statement failed in this process. The statement itself was not touched."""

    count = 0


def install() -> None:
    """Watch all connections, those that are open and those that will be. Repeating it changes nothing."""
    connection_created.connect(_watch, dispatch_uid="dbopt.monitoring.tracker")
    listeners.install()
    _reset_after_fork()
    for connection in connections.all(initialized_only=True):
        _watch(sender=type(connection), connection=connection)


@lru_cache(maxsize=1)
def _reset_after_fork() -> None:
    # A child that kept its parent's counts would report them a second time.
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    if statistics_of_process.cache_info().currsize:
        statistics_of_process().reset()


def _watch(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    open_connections.remember(connection)
    aliases = dbopt_settings.monitoring.track_aliases
    if aliases is not None and connection.alias not in aliases:
        return
    if track not in connection.execute_wrappers:
        # First, never last: `with connection.execute_wrapper(x)` around the statement that connects
        # removes the last one at its end, which would be this one, and keep x for ever.
        connection.execute_wrappers.insert(0, track)


class Tracker:
    """The execute wrapper. An object, so that other wrappers can tell by its module whose it is."""

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Run a statement and count it."""
        started = perf_counter()
        failed = True
        try:
            result = execute(sql, params, many, context)
            failed = False
        finally:
            seconds = perf_counter() - started
            try:
                _observe(sql, context["connection"], seconds, failed)
            except Exception:  # noqa: BLE001 - the border: watching a statement must never break it
                InternalErrors.count += 1
        return result


track = Tracker()


def _observe(sql: Any, connection: BaseDatabaseWrapper, seconds: float, failed: bool) -> None:
    statement = read_statement(sql, connection)
    options = dbopt_settings.monitoring
    slow = seconds * 1000 >= options.slow_query_ms
    record = current_record()
    wanted = record.wants_origin if record is not None else origin_wanted()
    # A slow statement is worth the five microseconds in any case.
    origin = find_origin(3) if wanted or (slow and options.origin != "off") else None
    # By position: names would double the time it takes.
    seen = Observation(
        "sql",
        connection.alias,
        statement.fingerprint,
        statement.operation,
        statement.text,
        seconds,
        slow,
        failed,
        origin,
        record.route if record is not None else NO_ROUTE,
    )
    if record is not None:
        record.add_statement(seen)
    statistics_of_process().add(seen)
    for observer in observers:
        observer(seen)
    if query_executed.receivers and not _receiving.active:
        _announce(seen)


def _announce(seen: Observation) -> None:
    # A receiver may run SQL itself; that is counted, but announcing it again would never end.
    _receiving.active = True
    try:
        announce(
            query_executed,
            sender=track,
            alias=seen.alias,
            operation=seen.operation,
            fingerprint=seen.fingerprint,
            seconds=seen.seconds,
            slow=seen.slow,
            failed=seen.failed,
            origin=seen.origin,
        )
    finally:
        _receiving.active = False
