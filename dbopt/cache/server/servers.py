"""The cache server of this process: made at first use, anew after a fork and when settings changed."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from django.conf import settings

from dbopt.cache.server.clients import uses_redis
from dbopt.cache.server.debt import Debt
from dbopt.cache.server.exchange import CacheServer
from dbopt.conf import dbopt_settings

if TYPE_CHECKING:
    from dbopt.conf import CacheSettings


class _Current:
    """The server of this process, made anew after a fork and when settings changed."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.held: tuple[int, object, object, CacheServer | None] | None = None
        self.hooked = False

    def forget_after_fork(self) -> None:
        # The lock may have been held by a thread that the child does not have.
        self.lock = Lock()


_current = _Current()


def server() -> CacheServer:
    """Return this process's server; nothing connects before the first command.

    Raises:
        MissingExtraError: the redis client is not installed.
        ConfigurationError: the alias is not on Redis.
    """
    found = _lookup(required=True)
    if found is None:
        raise RuntimeError("unreachable: a required server is built or its reason raised")
    return found


def server_or_none() -> CacheServer | None:
    """Return this process's server, or None where the project has no cache on Redis: writes then announce nothing."""
    return _lookup(required=False)


def _lookup(*, required: bool) -> CacheServer | None:
    section, configured, pid = dbopt_settings.cache, settings.CACHES, os.getpid()
    held = _current.held
    is_current = held is not None and held[0] == pid and held[1] is section and held[2] is configured
    if held is not None and is_current and (held[3] is not None or not required):
        return held[3]
    with _current.lock:
        return _rebuild(section, configured, pid, required=required)


def _rebuild(section: CacheSettings, configured: object, pid: int, *, required: bool) -> CacheServer | None:
    held = _current.held
    if held is not None and held[:3] == (pid, section, configured) and held[3] is not None:
        return held[3]
    if not _current.hooked:
        _current.hooked = True
        os.register_at_fork(after_in_child=_current.forget_after_fork)
    built: CacheServer | None = None
    if required or uses_redis(section.alias):
        built = CacheServer(section, debt=_inherited_debt(section, configured))
    if held is not None and held[3] is not None and held[0] == pid:
        held[3].close()
    _current.held = (pid, section, configured, built)
    return built


def _inherited_debt(section: CacheSettings, configured: object) -> Debt | None:
    held = _current.held
    if held is None or held[3] is None or held[2] != configured or held[1] != section:
        return None
    debt = Debt(section.max_debt)
    debt.inherit(held[3].debt)
    return debt


def known_debt() -> int:
    """Return how many renewals this process owes; asks no server."""
    held = _current.held
    return len(held[3].debt) if held is not None and held[3] is not None else 0


def known_faults() -> dict[str, int]:
    """Return how often which error of the cache server was met by this process; asks no server."""
    held = _current.held
    return dict(held[3].breaker.faults) if held is not None and held[3] is not None else {}


def forget() -> None:
    """Close this process's server and forget what it owes; for tests that begin with an empty cache."""
    held, _current.held = _current.held, None
    if held is not None and held[3] is not None:
        held[3].close()
