"""The cache server's own figures, asked over a short connection with the cache's time limits."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from threading import Lock

from dbopt.conf import dbopt_settings

_KEEP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class CacheServerFacts:
    """What the server says about itself. `used_bytes` is all its memory, not that of this project's keys."""

    server_version: str
    used_bytes: int


def has_cache_server() -> bool:
    """Say whether the cache alias of ``DBOPT["CACHE"]`` is on Redis; asks nothing."""
    from dbopt.cache.server.clients import uses_redis

    return uses_redis(dbopt_settings.cache.alias)


def ask_cache_server() -> CacheServerFacts:
    """Ask the server, within CONNECT_TIMEOUT + SOCKET_TIMEOUT.

    Raises:
        redis.RedisError: it does not answer.
        MissingExtraError: the client is not installed.
    """
    from dbopt.cache.server.clients import build_client

    client = build_client(dbopt_settings.cache)
    try:
        facts = client.info()
    finally:
        client.close()
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    return CacheServerFacts(server_version=str(version), used_bytes=int(facts.get("used_memory", 0)))


class _Kept:
    """The last size, or that there was none; a scrape every second must not become a question every second."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.until = 0.0
        self.size: int | None = None


_kept: dict[int, _Kept] = {}


def cache_size_bytes() -> int | None:
    """Return the server's memory in use, at most fifteen seconds old; None without a server or an answer."""
    kept = _kept.setdefault(os.getpid(), _Kept())
    with kept.lock:
        if time.monotonic() >= kept.until:
            kept.size = _size()
            kept.until = time.monotonic() + _KEEP_SECONDS
        return kept.size


def _size() -> int | None:
    if not has_cache_server():
        return None
    try:
        return ask_cache_server().used_bytes
    except Exception:  # noqa: BLE001 - the border: without the cache server a scrape still shows all the rest
        return None
