"""The cache in tests: keys of a test's own, and what a block of code asked of it."""

from __future__ import annotations

import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test.utils import override_settings

from dbopt.cache import totals
from dbopt.cache.counters import BYPASS, HIT, MISS, OLD, STALE
from dbopt.cache.observation.transactions import tests_are_transparent
from dbopt.cache.server import servers
from dbopt.cache.server.clients import build_client, key_namespace
from dbopt.conf import dbopt_settings
from dbopt.signals import cache_invalidated, cache_read

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class CacheOperations:
    """What cached functions did in a block, in all threads of this process.

    Attributes:
        reads: name, outcome and reason of each call, in order: "hit", "miss", "stale" (a value was there, and wrong),
            "old" (served stale), "bypass", "error".
        renewed_tags: how many tags writes made anew.
        round_trips: how often the cache server was asked.
    """

    reads: list[tuple[str, str, str | None]] = field(default_factory=list)
    renewed_tags: int = 0
    round_trips: int = 0

    @property
    def hits(self) -> int:
        """Calls that were answered by the cache."""
        return sum(outcome in (HIT, OLD) for _, outcome, _ in self.reads)

    @property
    def misses(self) -> int:
        """Calls that computed their answer."""
        return sum(outcome in (MISS, STALE) for _, outcome, _ in self.reads)

    @property
    def bypasses(self) -> int:
        """Calls that went around the cache."""
        return sum(outcome == BYPASS for _, outcome, _ in self.reads)


@contextmanager
def count_cache_operations() -> Iterator[CacheOperations]:
    """Count what the block asks of the cache.

    ::

        with count_cache_operations() as operations:
            client.get("/people/")
        assert (operations.hits, operations.round_trips) == (1, 1)

    What counts round trips is the server object of the process: not across a change of settings in the block.
    """
    counted = CacheOperations()

    def read(*, name: str, outcome: str, reason: str | None, **_: Any) -> None:
        counted.reads.append((name, outcome, reason))

    def renewed(*, tags: int, **_: Any) -> None:
        counted.renewed_tags += tags

    cache_read.connect(read)
    cache_invalidated.connect(renewed)
    current = servers.server()
    before = current.round_trips
    try:
        with totals.paused():
            yield counted
    finally:
        counted.round_trips = current.round_trips - before
        cache_read.disconnect(read)
        cache_invalidated.disconnect(renewed)


@contextmanager
def cache_namespace() -> Iterator[str]:
    """Give the block keys of its own, empty at first and removed afterwards; yields what they begin with.

    Tests that run at the same time on one server see nothing of each other. In Django's ``TestCase``, whose transaction
    is never committed, cached functions behave in this thread as they do in production: they store between
    transactions of the code under test, and what a write made wrong is not served.
    """
    configured = getattr(settings, "DBOPT", {})
    section = configured.get("CACHE", {})
    prefix = f"{dbopt_settings.cache.prefix}-{uuid.uuid4().hex}"
    token = tests_are_transparent.set(True)
    try:
        with override_settings(DBOPT={**configured, "CACHE": {**section, "PREFIX": prefix}}):
            try:
                yield key_namespace(dbopt_settings.cache)
            finally:
                _remove_keys()
    finally:
        tests_are_transparent.reset(token)
        servers.forget()


def _remove_keys() -> None:
    with closing(build_client(dbopt_settings.cache)) as client:
        pipeline = client.pipeline(transaction=False)
        for key in client.scan_iter(match=f"{key_namespace(dbopt_settings.cache)}:*", count=1000):
            pipeline.unlink(key)
        pipeline.execute()
