"""What lies under a value's key: a fixed header, the tags the result depends on, and the encoded result.

::

    offset  bytes
    0       1      magic 0xDB
    1       1      format, 1
    2       1      codec, 1 = rows in msgpack
    3       1      flags: 8 removed
    4       8      hash of the token vector
    12      8      soft expiry, ms since 1970
    20      4      time the result took, microseconds
    24      4      length of the list of tags
    28             the list (msgpack), then the result

Whatever cannot be read is a miss, never an error: other versions, other programs, damaged bytes.
"""

from __future__ import annotations

import secrets
import struct
from functools import lru_cache
from typing import NamedTuple

from dbopt.cache.values.plain import pack, unpack

MAGIC = 0xDB
FORMAT = 1
ROWS = 1

REMOVED = 8

_HEADER = struct.Struct(">BBBB8sQI")
_LENGTH = struct.Struct(">I")
HEADER_BYTES = _HEADER.size

_READABLE = 0
_MAX_DURATION = 2**32 - 1


class Entry(NamedTuple):
    """A stored result, not yet decoded."""

    vector: bytes
    tags: tuple[str, ...]
    payload: bytes
    soft_expiry_ms: int
    seconds: float


def pack_entry(entry: Entry) -> bytes:
    """Return the bytes to store."""
    duration = min(int(entry.seconds * 1_000_000), _MAX_DURATION)
    header = _HEADER.pack(MAGIC, FORMAT, ROWS, 0, entry.vector, entry.soft_expiry_ms, duration)
    tags = pack(list(entry.tags))
    return b"".join((header, _LENGTH.pack(len(tags)), tags, entry.payload))


def unpack_entry(data: bytes) -> Entry | None:
    """Return the stored result, or None for anything this version did not write whole."""
    if len(data) < HEADER_BYTES + _LENGTH.size:
        return None
    magic, version, codec, flags, vector, soft_expiry_ms, duration = _HEADER.unpack_from(data)
    if (magic, version, codec, flags) != (MAGIC, FORMAT, ROWS, _READABLE):
        return None
    (length,) = _LENGTH.unpack_from(data, HEADER_BYTES)
    start = HEADER_BYTES + _LENGTH.size
    if start + length > len(data):
        return None
    tags = _read_tags(data[start : start + length])
    if tags is None:
        return None
    return Entry(vector, tags, data[start + length :], soft_expiry_ms, duration / 1_000_000)


def new_marker() -> bytes:
    """Return what replaces a removed entry: unlike an absent key, a fill that began earlier cannot overwrite it."""
    return _HEADER.pack(MAGIC, FORMAT, ROWS, REMOVED, secrets.token_bytes(8), 0, 0)


def is_marker(data: bytes | None) -> bool:
    """Tell whether the bytes stand for a removed entry."""
    return data is not None and len(data) == HEADER_BYTES and data[0] == MAGIC and bool(data[3] & REMOVED)


@lru_cache(maxsize=1024)
def _read_tags(data: bytes) -> tuple[str, ...] | None:
    try:
        tags = unpack(data)
    except Exception:  # noqa: BLE001 - foreign bytes raise whatever msgpack's parser stumbles over
        return None
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return None
    return tuple(tags)
