"""Payloads come back the same, whichever way they were made smaller; foreign bytes are refused within bounds."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbopt.cache.values import compression
from dbopt.cache.values.codec import UndecodableError, decode, encode
from dbopt.cache.values.compression import compress, decompress

LONG = b"the same words again, " * 200


@pytest.fixture(params=["lz4", "zlib"])
def installed(request, monkeypatch):
    """With lz4, and as in a project without it."""
    if request.param == "zlib":
        monkeypatch.setattr(compression, "_lz4", lambda: None)
    return request.param


@given(st.binary(max_size=3000))
def test_comes_back_the_same(data):
    assert decompress(compress(data)) == data


def test_long_payload_becomes_smaller(installed):
    small = compress(LONG)

    assert len(small) < len(LONG) / 10
    assert small[:1] == {"lz4": b"\x02", "zlib": b"\x01"}[installed]
    assert decompress(small) == LONG


def test_short_payload_and_noise_stay_as_they_are(installed):
    noise = b"".join(zlib.crc32(b"%d" % number).to_bytes(4, "big") for number in range(400))

    assert compress(b"x" * 1024) == b"\x00" + b"x" * 1024
    assert compress(noise) == b"\x00" + noise


def test_zero_turns_it_off(settings):
    settings.DBOPT = {"CACHE": {"COMPRESS_ABOVE": 0}}

    assert compress(LONG) == b"\x00" + LONG


def test_what_lz4_wrote_is_a_miss_without_it(monkeypatch):
    stored = encode(["x" * 5000])
    monkeypatch.setattr(compression, "_lz4", lambda: None)

    with pytest.raises(UndecodableError):
        decode(stored)


@pytest.mark.parametrize("stored", [b"", b"\x09abc", b"\x01" + zlib.compress(LONG)[:-5], b"\x02\xff\xff\xff\xffabc"])
def test_foreign_and_truncated_bytes_are_refused(stored):
    with pytest.raises((ValueError, zlib.error, RuntimeError)):
        decompress(stored)


def test_forged_length_allocates_nothing():
    bomb = zlib.compress(b"0" * (65 * 1024 * 1024), 9)

    with pytest.raises(ValueError, match="not a payload"):
        decompress(b"\x01" + bomb)
    with pytest.raises(ValueError, match="beyond reason"):
        decompress(b"\x02" + (64 * 1024 * 1024 + 1).to_bytes(4, "little") + b"x")
