"""Removing stored results by the pattern of their names, for operators: in small steps, never with KEYS.

What changed in the database is invalidated by itself and at once; this is for making room, or for throwing away what a
faulty release stored. It reads the whole key space once, which takes time but never holds the server up.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dbopt.cache.server.clients import build_client, key_namespace
from dbopt.conf import dbopt_settings
from dbopt.exceptions import CacheUnreachableError, ConfigurationError, require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCAN_COUNT = 1000
UNLINK_BATCH = 500

# A pattern is about names; what stands in braces before them is the tenant.
_SPECIAL = "{}"


def matching(client: Any, pattern: str) -> Iterator[bytes]:
    """Yield the keys of results whose function name fits a pattern of Redis (``*``, ``?``, ``[ab]``).

    Raises:
        ConfigurationError: the pattern is empty or holds braces.
    """
    if not pattern or any(sign in pattern for sign in _SPECIAL):
        raise ConfigurationError(f"{pattern!r} is no pattern of names. Write one such as 'entity:*', without braces.")
    namespace = _escaped(key_namespace(dbopt_settings.cache))
    yield from client.scan_iter(match=f"{namespace}:v:{{*}}:{pattern}:*", count=SCAN_COUNT)


def count_pattern(pattern: str, *, report: Callable[[int], None] = lambda _: None) -> int:
    """Return how many results would go; ``report`` is told the number so far."""
    found = 0
    with _client() as client:
        for found, _ in enumerate(matching(client, pattern), start=1):
            if found % SCAN_COUNT == 0:
                report(found)
    return found


def delete_pattern(pattern: str, *, report: Callable[[int], None] = lambda _: None) -> int:
    """Remove results and return how many it were; may be stopped and run again at any time.

    Raises:
        CacheUnreachableError: the server does not answer; what was removed so far stays removed.
    """
    deleted = 0
    batch: list[bytes] = []
    with _client() as client:
        for key in matching(client, pattern):
            batch.append(key)
            if len(batch) == UNLINK_BATCH:
                deleted += _unlink(client, batch)
                report(deleted)
        deleted += _unlink(client, batch)
    return deleted


@contextmanager
def _client() -> Iterator[Any]:
    faults = require_extra("redis.exceptions", "redis")
    try:
        with closing(build_client(dbopt_settings.cache)) as client:
            yield client
    except (faults.RedisError, OSError) as error:
        raise CacheUnreachableError(f"The cache server does not answer ({type(error).__name__}).") from error


def _unlink(client: Any, batch: list[bytes]) -> int:
    # One command a key: on a cluster they lie in many slots. No MULTI: nothing waits for the whole batch.
    pipeline = client.pipeline(transaction=False)
    for key in batch:
        pipeline.unlink(key)
    batch.clear()
    return sum(pipeline.execute())


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in text)
