"""``SESSION_ENGINE = "dbopt.cache.sessions"``: sessions in Redis that survive concurrent requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.cache.sessions.store import SessionStore as SessionStore
    from dbopt.cache.sessions.store import revoke as revoke
    from dbopt.cache.sessions.store import sessions_of as sessions_of

__getattr__ = lazy_exports(__name__, dict.fromkeys(("SessionStore", "revoke", "sessions_of"), "store"))

__all__ = ["SessionStore", "revoke", "sessions_of"]
