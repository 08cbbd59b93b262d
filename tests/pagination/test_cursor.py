"""Cursors: exact values, one list, one spelling."""

from __future__ import annotations

import base64
import datetime
import math
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from dbopt.exceptions import ConfigurationError, InvalidCursorError
from dbopt.pagination import cursor as cursor_module
from dbopt.pagination.cursor import decode_cursor, encode_cursor, list_signature

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(st.characters(codec="utf-8"), max_size=50),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.just(datetime.UTC)),
    st.timedeltas(),
    st.binary(max_size=50),
)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_values_come_back_with_their_exact_type_and_value(values):
    read = decode_cursor(encode_cursor("list", values), "list", argument="after")

    assert read == values
    assert [type(value) for value in read] == [type(value) for value in values]


def test_zero_keeps_its_sign_and_nan_stays_nan():
    minus_zero, nan, decimal = decode_cursor(
        encode_cursor("list", [-0.0, math.nan, Decimal("1.50")]), "list", argument="after"
    )

    assert math.copysign(1, minus_zero) == -1
    assert math.isnan(nan)
    assert str(decimal) == "1.50"


def test_time_in_the_doubled_hour_of_autumn_is_the_same_instant():
    instant = datetime.datetime(2024, 10, 27, 2, 30, 0, 1, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)

    (read,) = decode_cursor(encode_cursor("list", [instant]), "list", argument="after")

    assert read.timestamp() == instant.timestamp()
    assert read.microsecond == 1


@pytest.mark.parametrize(
    "values", [[1, "Zoë"], [None, None], [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), 77], [b"x"]]
)
def test_every_change_of_one_character_is_refused(values):
    cursor = encode_cursor("list", values)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \x00é"

    for position, right in enumerate(cursor):
        for wrong in set(alphabet) - {right}:
            with pytest.raises(InvalidCursorError):
                decode_cursor(cursor[:position] + wrong + cursor[position + 1 :], "list", argument="after")


def test_every_cut_and_every_addition_is_refused():
    cursor = encode_cursor("list", [1, 2])

    for wrong in [*(cursor[:end] for end in range(len(cursor))), cursor + "A", cursor + "=", f" {cursor}", cursor * 2]:
        with pytest.raises(InvalidCursorError):
            decode_cursor(wrong, "list", argument="after")


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("YXJyYXljb25uZWN0aW9uOjk5", "its signature does not match"),  # an offset cursor of graphene-django
        ("", "its signature does not match"),
        ("a\x00b", "it is not base64url"),
        ("é", "it is not base64url"),
        ("A" * 5000, "it is longer than 4096 characters"),
        (7, "it is not text but int"),
        (b"abc", "it is not text but bytes"),
    ],
)
def test_what_is_no_cursor_is_refused_with_the_reason(cursor, reason):
    with pytest.raises(InvalidCursorError) as caught:
        decode_cursor(cursor, "list", argument="before")

    assert (caught.value.argument, caught.value.reason) == ("before", reason)
    assert str(caught.value) == f"Argument `before` is not a valid cursor for this list: {reason}."


def test_cursor_of_another_list_is_refused():
    with pytest.raises(InvalidCursorError) as caught:
        decode_cursor(encode_cursor("one", [1]), "other", argument="after")

    assert caught.value.reason == "it belongs to another list, ordering or tenant"


def test_signature_tells_lists_apart_that_read_alike():
    assert list_signature(["a", "b:c"]) != list_signature(["a:b", "c"])
    assert list_signature(["a", "int", "1"]) != list_signature(["a", "str", "1"])


def test_rotated_secret_key_reads_old_cursors_only_as_a_fallback():
    with override_settings(SECRET_KEY="old"):
        cursor = encode_cursor("list", [5])

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["older", "old"]):
        assert decode_cursor(cursor, "list", argument="after") == [5]
        renewed = encode_cursor("list", [5])
    with override_settings(SECRET_KEY="new"):
        assert decode_cursor(renewed, "list", argument="after") == [5]
        with pytest.raises(InvalidCursorError, match="its signature does not match"):
            decode_cursor(cursor, "list", argument="after")


def test_cursor_is_short_and_holds_its_signature_first():
    cursor = encode_cursor("0123456789ab", [uuid.UUID(int=1)])
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))

    assert raw[12:] == b'["0123456789ab",["u","00000000-0000-0000-0000-000000000001"]]'


def test_value_that_no_cursor_can_hold_is_named_by_type_only():
    with pytest.raises(ConfigurationError) as caught:
        encode_cursor("list", [{"secret": 1}])

    assert "type dict" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_cursor_longer_than_what_is_accepted_is_never_handed_out():
    with pytest.raises(ConfigurationError, match="at most 4096 are accepted"):
        encode_cursor("list", ["x" * 4000])


@pytest.mark.parametrize(
    "body", [b"", b"[", b"7", b'["list",["z","1"]]', b'["list",["d","never"]]', b'["list",["n","x"]]']
)
def test_signed_text_that_is_no_cursor_is_refused(body):
    """What a cursor of another version of this code would look like."""
    raw = cursor_module._mac(settings.SECRET_KEY, body) + body

    with pytest.raises(InvalidCursorError) as caught:
        decode_cursor(base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), "list", argument="after")

    assert caught.value.reason == "it cannot be read"
