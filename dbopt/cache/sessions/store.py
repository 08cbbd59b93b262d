"""``SESSION_ENGINE = "dbopt.cache.sessions"``: sessions in Redis that survive concurrent requests.

A session is one signed text under its key. A save replaces it only while it is what the request has loaded; otherwise
the keys that the request changed are put into what others have stored meanwhile. See docs/sessions.md.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY as USER
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError, SessionBase, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core import signing
from django.utils import timezone
from django.utils.crypto import get_random_string

from dbopt.cache.names.keys import digest
from dbopt.cache.sessions import rows
from dbopt.cache.sessions.records import MARK, Record, records, signature
from dbopt.conf import dbopt_settings
from dbopt.exceptions import SessionUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from django.contrib.auth.base_user import AbstractBaseUser

    Data: TypeAlias = dict[str, Any]

logger = logging.getLogger("django.security.SuspiciousSession")

_KEY_LENGTHS = range(8, 41)
_KEY_CHARS = frozenset(VALID_KEY_CHARS)
# Seen by a save that replaces whatever is there.
_ANYTHING = b""


class _Found(NamedTuple):
    """A session that is there: its data, the signed text they came from, and when that was written (since 1970)."""

    data: Data
    text: bytes
    signed_at: int


class SessionStore(SessionBase):
    """Django's session, kept in Redis. One round trip a load and a save, none where nothing changed.

    Raises:
        SessionUnavailableError: the server does not answer within the cache's time limits. Never an empty session
            instead: that would log the user out.
    """

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._seen = _ANYTHING

    def load(self) -> Data:
        """Return what is stored under the key; forget the key where nothing is."""
        found = None if self.session_key is None else self._find(self.session_key)
        if found is None:
            self._session_key = None
            return {}
        # Not where somebody calls load() only to look: a save must know what its own data was made of.
        if not hasattr(self, "_session_cache"):
            self._seen = found.text
            if self._is_old(found):
                # The middleware then saves, and sends the cookie again, which must not end before the session.
                self.modified = True
        return found.data

    def exists(self, session_key: str | None) -> bool:
        """Tell whether there is such a session."""
        return bool(self._validate_session_key(session_key)) and self._find(str(session_key)) is not None

    def create(self) -> None:
        """Begin a session under a new key, with what the instance holds."""
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Store the session; keys that this request did not change keep what others gave them meanwhile.

        Raises:
            UpdateError: the session ended meanwhile.
            CreateError: must_create, and the key is taken.
        """
        if self.session_key is None:
            self.create()
            return
        self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # not in the stubs
        if self.session_key is None:
            raise UpdateError
        if must_create:
            self._create(self.session_key)
        else:
            self._replace(self.session_key)

    def delete(self, session_key: str | None = None) -> None:
        """End a session, now and for requests that still hold it."""
        key = self.session_key if session_key is None else session_key
        if key is None or not self._validate_session_key(key):
            return
        if rows.are_kept():
            # First: Redis asks the rows when it knows nothing of a session.
            rows.delete([key])
        (held,) = records().remove([key])
        user = _user_of(self._read(key, held) if held else None)
        if user is not None:
            records().unlist(user, key)

    def clear(self) -> None:
        """Empty the session; the next save leaves nothing of what others have stored either."""
        super().clear()
        self._seen = _ANYTHING

    def cycle_key(self) -> None:
        """Go on under a new key, with all data, also what other requests stored until now; the old one ends.

        Raises:
            SessionInterrupted: somebody was logged in, and the session ended meanwhile.
        """
        mine: Data = self._session  # type: ignore[attr-defined]  # not in the stubs
        # After that: it loads what was seen.
        old, seen = self.session_key, self._seen
        if old is None:
            self.create()
            return
        new = self._get_new_session_key()
        record = self._record(new)
        held = records().move(old, new, record)
        if held == MARK and record.user is not None:
            records().remove([new], user=record.user)
            raise SessionInterrupted("The session was ended by another request while its key was changed.")
        self._session_key, self._seen, self.modified = new, record.data, True
        if rows.are_kept():
            rows.insert(new, data=self.encode(mine), ends=_ends(record))
            rows.delete([old])
        is_changed = held and seen and signature(held) != signature(seen)
        theirs = self._read(old, held) if is_changed else None
        if theirs is not None:
            self._session_cache = self._merged(theirs, base=self._read(old, seen), mine=mine)
            self._replace(new)

    async def acycle_key(self) -> None:
        """See cycle_key()."""
        await sync_to_async(self.cycle_key)()

    @classmethod
    def clear_expired(cls) -> None:
        """Delete rows of sessions that have ended; in Redis they go by themselves."""
        if rows.are_kept():
            rows.delete_ended()

    def _validate_session_key(self, key: object) -> bool:
        return isinstance(key, str) and len(key) in _KEY_LENGTHS and set(key) <= _KEY_CHARS

    def _get_new_session_key(self) -> str:
        # Whether it is taken turns out when it is stored.
        return get_random_string(32, VALID_KEY_CHARS)

    def _create(self, key: str) -> None:
        record = self._record(key)
        if not records().create(key, record):
            raise CreateError
        self._seen = record.data
        if rows.are_kept():
            rows.insert(key, data=self.encode(self._session_cache), ends=_ends(record))

    def _replace(self, key: str) -> None:
        before = _user_of(self._read(key, self._seen)) if rows.are_kept() and self._seen else None
        record = self._record(key)
        # Each time round, another request's save has succeeded.
        while (held := records().replace(key, record, seen=self._seen)) is not None:
            theirs = self._read(key, held) if held else None
            if theirs is None and not (rows.are_kept() and held == MARK and self._find_row(key, is_reachable=True)):
                raise UpdateError
            if theirs is None:
                # Redis has lost it, the database has not: it is back now.
                continue
            self._session_cache = self._merged(theirs, base=self._read(key, self._seen), mine=self._session_cache)
            self._seen = held
            record = self._record(key)
        self._seen = record.data
        if not rows.are_kept():
            return
        if record.user == before:
            rows.write_later(key, _write_rows)
        else:
            # Who is logged in must not be lost with the server, not even for a second.
            rows.update(key, data=self.encode(self._session_cache), ends=_ends(record))

    def _merged(self, theirs: Data, *, base: Data | None, mine: Data) -> Data:
        return merged(theirs, base=base or {}, mine=mine, dumps=self.serializer().dumps)

    def _find(self, key: str) -> _Found | None:
        try:
            held = records().read(key)
        except SessionUnavailableError:
            if not rows.are_kept():
                raise
            return self._find_row(key, is_reachable=False)
        if held is None and rows.are_kept():
            return self._find_row(key, is_reachable=True)
        return self._found(key, held)

    def _find_row(self, key: str, *, is_reachable: bool) -> _Found | None:
        """Return a session from the database, and put it back into Redis unless it was removed there."""
        row = rows.find(key)
        if row is None:
            return None
        data = self.decode(row.session_data)
        user = _user_of(data)
        if user is not None and rows.is_revoked(user, row):
            return None
        seconds = int((row.expire_date - timezone.now()).total_seconds())
        record = Record(self._signed(key, data), max(seconds, 1), user)
        if not is_reachable or records().create(key, record):
            return _Found(data, record.data, rows.signed_at(row.session_data))
        return self._found(key, records().read(key))

    def _found(self, key: str, held: bytes | None) -> _Found | None:
        data = self._read(key, held) if held else None
        return None if data is None or held is None else _Found(data, held, rows.signed_at(held.decode()))

    def _is_old(self, found: _Found) -> bool:
        expiry = found.data.get("_session_expiry")
        share = dbopt_settings.cache.session_renew_after
        if share == 1 or isinstance(expiry, (str, datetime)):
            return False
        return time.time() - found.signed_at >= share * self.get_expiry_age(expiry=expiry)

    def _record(self, key: str) -> Record:
        data = self._session_cache
        return Record(self._signed(key, data), int(self.get_expiry_age()), _user_of(data))

    def _salt(self, key: str) -> str:
        # A text that was copied to another key is no session.
        return f"{self.key_salt}:{key}"

    def _signed(self, key: str, data: Data) -> bytes:
        return signing.dumps(data, salt=self._salt(key), serializer=self.serializer, compress=True).encode()

    def _read(self, key: str, text: bytes) -> Data | None:
        try:
            data = signing.loads(text.decode(), salt=self._salt(key), serializer=self.serializer)
        except signing.BadSignature:
            logger.warning("Session data corrupted")
            return None
        except Exception:  # noqa: BLE001 - a serializer may raise anything at what another one has written
            return None
        return data if isinstance(data, dict) else None


def merged(theirs: Data, *, base: Data, mine: Data, dumps: Callable[[Data], bytes]) -> Data:
    """Return what others have stored, with what was changed from base to mine: added, set or deleted keys.

    Values are compared as they would be stored: one that was changed in place counts, and 1 is not True.
    """
    kept = {key: value for key, value in theirs.items() if key in mine or key not in base}
    changed = {
        key: value for key, value in mine.items() if key not in base or dumps({key: value}) != dumps({key: base[key]})
    }
    return kept | changed


@dataclass(frozen=True, slots=True)
class UserSession:
    """A session of a user; end it with ``SessionStore().delete(session.session_key)``.

    Attributes:
        session_key: the secret that the cookie holds; never show it.
        ends: when it ends unless it is used.
        data: what it holds.
    """

    session_key: str = field(repr=False)
    ends: datetime
    data: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        """A name for pages and forms that does not tell the key."""
        return digest(self.session_key.encode())


def sessions_of(user: AbstractBaseUser) -> list[UserSession]:
    """Return the sessions in which a user is logged in, the first to end first; two round trips.

    Raises:
        SessionUnavailableError: the server does not answer.
    """
    alive = [(key, ends, data) for key, ends, data in _listed(user) if data is not None]
    return [UserSession(key, datetime.fromtimestamp(ends, UTC), data) for key, ends, data in alive]


def revoke(user: AbstractBaseUser, *, keep: SessionBase | str | None = None) -> int:
    """End the sessions in which a user is logged in; three round trips.

    Args:
        user: whose.
        keep: a session, or its key, that goes on: ``request.session`` when users do this themselves.

    Returns:
        How many ended.

    Raises:
        SessionUnavailableError: the server does not answer; call again, some may not have ended.
    """
    kept = keep.session_key if isinstance(keep, SessionBase) else keep
    listed = [(key, data) for key, _, data in _listed(user) if key != kept]
    keys = [key for key, _ in listed]
    if rows.are_kept():
        rows.revoke(_id_of(user))
        rows.delete(keys)
        _write_rows([kept] if kept else [])
    records().remove(keys, user=_id_of(user))
    return sum(data is not None for _, data in listed)


def _listed(user: AbstractBaseUser) -> list[tuple[str, float, Data | None]]:
    """Return key, end and data of what a user's index names; no data where the session is gone or not there yet."""
    listed = records().keys_of(_id_of(user))
    store = SessionStore()
    texts = records().read_many([key for key, _ in listed])
    found = [
        (key, ends, store._read(key, text) if text else None)  # noqa: SLF001 - the same module
        for (key, ends), text in zip(listed, texts, strict=True)
    ]
    # One that somebody else has logged into since is not this user's any more.
    return [item for item in found if item[2] is None or _user_of(item[2]) == _id_of(user)]


def _write_rows(keys: Sequence[str]) -> Iterable[str]:
    """Write the rows of sessions as they are in Redis now; return those that changed meanwhile."""
    store = SessionStore()
    texts = records().read_many(keys)
    for key, text in zip(keys, texts, strict=True):
        found = store._found(key, text)  # noqa: SLF001 - the same module
        if found is not None:
            saved = timezone.now() - timedelta(seconds=time.time() - found.signed_at)
            ends = store.get_expiry_date(modification=saved, expiry=found.data.get("_session_expiry"))
            rows.update(key, data=store.encode(found.data), ends=ends)
    # Another process may have written an older state over a newer one: whoever did so finds it out here.
    return [key for key, text, now in zip(keys, texts, records().read_many(keys), strict=True) if text != now]


def _id_of(user: AbstractBaseUser) -> str:
    # As login() writes it into the session.
    return str(user._meta.pk.value_to_string(user))  # noqa: SLF001


def _user_of(data: Mapping[str, Any] | None) -> str | None:
    user = None if data is None else data.get(USER)
    return None if user is None else str(user)


def _ends(record: Record) -> datetime:
    return timezone.now() + timedelta(seconds=record.seconds)
