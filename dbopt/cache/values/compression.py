"""Payloads made smaller: by lz4 where it is installed, else by zlib; one byte in front tells by which, or that it is not.

A process without lz4 cannot read what another one wrote with it: a miss, until both have it.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

from dbopt.conf import dbopt_settings

_PLAIN, _ZLIB, _LZ4 = b"\x00", b"\x01", b"\x02"

# What a damaged or forged length may make this process allocate.
_MAX_BYTES = 64 * 1024 * 1024


def compress(data: bytes) -> bytes:
    """Return the bytes to store; those of ``COMPRESS_ABOVE`` or fewer stay as they are, 0 turns compression off."""
    above = dbopt_settings.cache.compress_above
    if not above or len(data) <= above:
        return _PLAIN + data
    lz4 = _lz4()
    small = _LZ4 + lz4.compress(data) if lz4 is not None else _ZLIB + zlib.compress(data, 1)
    return small if len(small) <= len(data) else _PLAIN + data


def decompress(stored: bytes) -> bytes:
    """Return what :func:`compress` got.

    Raises:
        ValueError, zlib.error, RuntimeError: the bytes are foreign, damaged, or need lz4 which is not installed.
    """
    kind, data = stored[:1], stored[1:]
    if kind == _PLAIN:
        return data
    if kind == _LZ4:
        lz4 = _lz4()
        # The length comes first, in four bytes.
        if lz4 is None or int.from_bytes(data[:4], "little") > _MAX_BYTES:
            raise ValueError("lz4 is not installed, or the length is beyond reason")
        unpacked: bytes = lz4.decompress(data)
        return unpacked
    if kind == _ZLIB:
        inflater = zlib.decompressobj()
        unpacked = inflater.decompress(data, _MAX_BYTES)
        if inflater.eof:
            return unpacked
    raise ValueError("not a payload")


@cache
def _lz4() -> Any:
    try:
        from lz4 import block
    except ImportError:
        return None
    return block
