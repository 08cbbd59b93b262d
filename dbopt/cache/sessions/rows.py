"""Sessions in the database: what is left of them when Redis has lost its data.

Rows are those of ``django.contrib.sessions``, in its own format. They begin and end with their session, at once; what
changes in between follows a little later. A row that is gone is never written again: a session that ended stays ended.
"""

from __future__ import annotations

import atexit
import logging
import os
from datetime import datetime, timedelta
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from django.apps import apps
from django.core import signing
from django.db import connections, router
from django.utils import timezone

from dbopt.cache.names.keys import digest
from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from django.contrib.sessions.models import Session
    from django.db.models import QuerySet

    Write: TypeAlias = Callable[[list[str]], Iterable[str]]

logger = logging.getLogger(__name__)

# As long as a browser keeps a cookie at most; a session may have any age.
_REVOCATION_DAYS = 400


def are_kept() -> bool:
    """Tell whether sessions are written to the database."""
    return dbopt_settings.cache.session_write_behind is not None


def find(key: str) -> Session | None:
    """Return the row of a session that has not ended, from the primary."""
    return _rows().filter(session_key=key, expire_date__gt=timezone.now()).first()


def insert(key: str, *, data: str, ends: datetime) -> None:
    """Write the row of a new session."""
    _rows().create(session_key=key, session_data=data, expire_date=ends)


def update(key: str, *, data: str, ends: datetime) -> None:
    """Write a row anew if it is there."""
    _rows().filter(session_key=key).update(session_data=data, expire_date=ends)


def delete(keys: Sequence[str]) -> None:
    """Delete the rows of sessions that end."""
    _rows().filter(session_key__in=keys).delete()


def delete_ended() -> None:
    """Delete the rows of sessions that have ended."""
    _rows().filter(expire_date__lt=timezone.now()).delete()


def revoke(user: str) -> None:
    """Refuse all rows of a user that were written before now.

    Rows do not tell whose they are, and after a loss of data Redis does not know either: this is a row that does.
    """
    now = timezone.now()
    _rows().update_or_create(
        session_key=_revocation(user),
        defaults={
            "session_data": signing.b62_encode(int(now.timestamp())),
            "expire_date": now + timedelta(days=_REVOCATION_DAYS),
        },
    )


def is_revoked(user: str, row: Session) -> bool:
    """Tell whether a row was written before its user's sessions were revoked."""
    revocation = find(_revocation(user))
    if revocation is None:
        return False
    return signed_at(row.session_data) < signing.b62_decode(revocation.session_data)


def signed_at(data: str) -> int:
    """Return when a text was signed, in seconds since 1970."""
    return signing.b62_decode(data.rsplit(":", 2)[1])


def write_later(key: str, write: Write) -> None:
    """Have a changed session written by this process's :class:`WriteBehind`."""
    global _behind  # noqa: PLW0603 - one a process; of two that threads build at first, each writes what it was told
    held, seconds = _behind, dbopt_settings.cache.session_write_behind or 0.0
    if held is None or held.pid != os.getpid() or held.seconds != seconds:
        if held is not None:
            held.close()
        held = _behind = WriteBehind(write, seconds=seconds)
    held.note(key)


def write_now() -> None:
    """Write what this process has to write, without waiting for the thread."""
    if _behind is not None and _behind.pid == os.getpid():
        _behind.flush()


def _revocation(user: str) -> str:
    # No cookie can name it: keys of sessions have no colon. 40 characters, as many as the column takes.
    return f"revoked:{digest(user.encode())}"


def _rows() -> QuerySet[Session]:
    if not apps.is_installed("django.contrib.sessions"):
        raise ConfigurationError(
            'DBOPT["CACHE"]["SESSION_WRITE_BEHIND"] needs "django.contrib.sessions" in INSTALLED_APPS.'
        )
    from django.contrib.sessions.models import Session

    # Not a replica: it may still have the row of a session that ended.
    return Session.objects.using(router.db_for_write(Session))


class WriteBehind:
    """Writes changed sessions of this process after a delay, from a thread that lives while there is something to do.

    Args:
        write: writes the rows of some sessions, and returns the keys that must be written again.
        seconds: the delay.
    """

    def __init__(self, write: Write, *, seconds: float) -> None:
        self._write = write
        self.seconds = seconds
        self._lock = Lock()
        self._keys: set[str] = set()
        self._thread: Thread | None = None
        self._failing = False
        self._closed = Event()
        self.pid = os.getpid()
        atexit.register(self.close)

    def note(self, key: str) -> None:
        """Remember that a session changed."""
        with self._lock:
            self._keys.add(key)
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="dbopt-sessions", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what changed; what cannot be written is kept for the next time."""
        with self._lock:
            keys, self._keys = self._keys, set()
        if not keys:
            return
        try:
            again = set(self._write(sorted(keys)))
            self._failing = False
        except Exception as error:  # noqa: BLE001 - the thread must outlive any fault of either server
            again = keys
            if not self._failing:
                logger.warning("Changed sessions could not be written to the database (%s).", type(error).__name__)
            self._failing = True
        with self._lock:
            self._keys |= again

    def close(self) -> None:
        """Write what is left and stop; does nothing in a forked child."""
        if self.pid != os.getpid():
            return
        atexit.unregister(self.close)
        self._closed.set()
        self.flush()

    def _run(self) -> None:
        try:
            while not self._closed.wait(self.seconds):
                self.flush()
                connections.close_all()
                with self._lock:
                    if not self._keys:
                        self._thread = None
                        return
        finally:
            connections.close_all()


_behind: WriteBehind | None = None
