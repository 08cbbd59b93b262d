"""What one request or task asked of the databases.

The record is one object in a context variable, and is changed, never replaced: threads and tasks that were started
below it (``sync_to_async``, ``asyncio.gather``) copy the context and so share the object.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from django.conf import settings

from dbopt.conf import dbopt_settings
from dbopt.monitoring.aggregate import NO_ROUTE, Observation
from dbopt.monitoring.n_plus_one import announce_repetitions

MAX_GROUPS = 500
"""Distinct (fingerprint, origin) pairs that one record tells apart; further ones are counted in the sums only."""

_current: ContextVar[RequestRecord | None] = ContextVar("dbopt_request_record", default=None)


class RequestRecord:
    """Counts of one request or task. Thread-safe to write; reading while it is written gives a moment's view.

    Attributes:
        kind: ``request`` or ``task``.
        statements, seconds, slow, failed: SQL.
        cypher, cypher_seconds: Cypher.
        hits, misses: calls of cached functions.
        batches, loads: what loaders sent, in batches and in keys.
        groups: (fingerprint, origin) -> [count, seconds], at most ``MAX_GROUPS``; savepoints and their like left out.
    """

    __slots__ = (
        "_lock",
        "_name",
        "_request",
        "batches",
        "cypher",
        "cypher_seconds",
        "failed",
        "groups",
        "hits",
        "kind",
        "loads",
        "misses",
        "seconds",
        "slow",
        "statements",
        "wants_origin",
    )

    def __init__(self, name: str, *, kind: str, request: Any = None) -> None:
        self._lock = Lock()
        self._name = name
        self._request = request
        self.kind = kind
        self.wants_origin = origin_wanted()
        self.statements = self.slow = self.failed = 0
        self.cypher = self.hits = self.misses = self.batches = self.loads = 0
        self.seconds = self.cypher_seconds = 0.0
        self.groups: dict[tuple[str, str | None], list[float]] = {}

    @property
    def route(self) -> str:
        """The URL pattern (never the URL) or the task's name; ``-`` while it is not known."""
        match = getattr(self._request, "resolver_match", None)
        return self._name or (match.route if match else "") or NO_ROUTE

    def add_statement(self, seen: Observation) -> None:
        """Count one SQL statement."""
        key = (seen.fingerprint, seen.origin)
        with self._lock:
            self.statements += 1
            self.seconds += seen.seconds
            self.slow += seen.slow
            self.failed += seen.failed
            group = self.groups.get(key)
            if group is not None:
                group[0] += 1
                group[1] += seen.seconds
            elif seen.operation != "txn" and len(self.groups) < MAX_GROUPS:
                self.groups[key] = [1, seen.seconds]

    def add(self, **amounts: float) -> None:
        """Add to counters by name."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)


def origin_wanted() -> bool:
    """Say whether this request (or this statement outside of one) has the origin of every statement looked up."""
    options = dbopt_settings.monitoring
    if options.origin != "auto":
        return options.origin == "always"
    return bool(settings.DEBUG) or random.random() < options.origin_sample  # noqa: S311 - a sample


def current_record() -> RequestRecord | None:
    """Return the record of the request or task that runs here, or None outside of both."""
    return _current.get()


@contextmanager
def track_request(name: str = "", *, request: Any = None) -> Iterator[RequestRecord]:
    """Count what is asked inside, as one request.

    Args:
        name: the route; without it the pattern that `request` was resolved to.
        request: an ``HttpRequest``; only its ``resolver_match`` is read.
    """
    with _tracked(RequestRecord(name, kind="request", request=request)) as record:
        yield record


@contextmanager
def track_task(name: str) -> Iterator[RequestRecord]:
    """Count what is asked inside, as one task: a command, a job of a queue.

    An inner record counts for itself; what it counts does not appear in the outer one.
    """
    with _tracked(RequestRecord(name, kind="task")) as record:
        yield record


@contextmanager
def _tracked(record: RequestRecord) -> Iterator[RequestRecord]:
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)
        announce_repetitions(record)
