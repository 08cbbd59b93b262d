"""Cursors: the key values of one row as signed text, which only the list that made it accepts.

``base64url(12 bytes of HMAC-SHA256 + compact JSON [signature of the list, value, ...])``. The values can be
read by whoever holds a cursor: never order by a column that the caller may not see.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.encoding import force_bytes

from dbopt.exceptions import ConfigurationError, InvalidCursorError

MAX_LENGTH = 4096
_MAC_BYTES = 12

# First match wins: a datetime is also a date. What JSON knows exactly (None, bool, int, str) has no tag.
_TAGS: tuple[tuple[str, type | tuple[type, ...], Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    ("f", float, float.__repr__, float),
    ("n", Decimal, str, Decimal),
    ("u", uuid.UUID, str, uuid.UUID),
    ("t", datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
    ("d", datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    ("c", datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    (
        "i",
        datetime.timedelta,
        lambda value: value // datetime.timedelta(microseconds=1),
        lambda text: datetime.timedelta(microseconds=text),
    ),
    (
        "b",
        (bytes, memoryview),
        lambda value: base64.b64encode(bytes(value)).decode(),
        lambda text: base64.b64decode(text, validate=True),
    ),
)
_READERS = {tag: read for tag, _, _, read in _TAGS}


def encode_cursor(signature: str, values: Iterable[Any]) -> str:
    """Return the cursor of a row.

    Raises:
        ConfigurationError: a value is of a type that cursors cannot hold, or the cursor would exceed 4 KB.
    """
    parts = [signature, *map(_encode, values)]
    body = json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
    cursor = _to_text(_mac(settings.SECRET_KEY, body) + body)
    if len(cursor) > MAX_LENGTH:
        raise ConfigurationError(
            f"A cursor of this list has {len(cursor)} characters; at most {MAX_LENGTH} are accepted. "
            "Order by shorter values than a long text."
        )
    return cursor


def decode_cursor(cursor: object, signature: str, *, argument: str) -> list[Any]:
    """Return the values of a cursor, of the very types that were put in.

    Args:
        cursor: as the client sent it.
        signature: of the list that is asked.
        argument: the name of the argument that brought the cursor, for the message.

    Raises:
        InvalidCursorError: too long, not base64, forged, or of another list, ordering or tenant.
    """
    raw = _from_text(cursor, argument)
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not any(hmac.compare_digest(mac, _mac(key, body)) for key in keys):
        raise InvalidCursorError(argument, "its signature does not match")
    try:
        found, *encoded = json.loads(body)
        values = [_decode(value) for value in encoded]
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise InvalidCursorError(argument, "it cannot be read") from error
    if found != signature:
        raise InvalidCursorError(argument, "it belongs to another list, ordering or tenant")
    return values


def list_signature(facts: Sequence[str]) -> str:
    """Return a short digest of what identifies a list."""
    # JSON, not a join: no fact can look like two.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


@lru_cache(maxsize=8)
def _derived_key(secret: bytes) -> bytes:
    return hashlib.sha256(b"dbopt.pagination.cursor.1:" + secret).digest()


def _mac(secret: str | bytes, body: bytes) -> bytes:
    return hmac.digest(_derived_key(force_bytes(secret)), body, "sha256")[:_MAC_BYTES]


def _to_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _from_text(cursor: object, argument: str) -> bytes:
    if not isinstance(cursor, str):
        raise InvalidCursorError(argument, f"it is not text but {type(cursor).__name__}")
    if len(cursor) > MAX_LENGTH:
        raise InvalidCursorError(argument, f"it is longer than {MAX_LENGTH} characters")
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidCursorError(argument, "it is not base64url") from error
    # The last character has bits that decoding ignores: only one spelling of a cursor is accepted.
    if _to_text(raw) != cursor:
        raise InvalidCursorError(argument, "it is not base64url")
    return raw


def _encode(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    for tag, kinds, write, _ in _TAGS:
        if isinstance(value, kinds):
            return [tag, write(value)]
    raise ConfigurationError(
        f"A cursor cannot hold a value of the type {type(value).__name__}. "
        "Order by numbers, text, dates, times, UUIDs or bytes."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        tag, encoded = value
        return _READERS[tag](encoded)
    return value
