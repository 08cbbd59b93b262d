"""Equal arguments of equal types share a key; nothing else does."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import models
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from django.http import QueryDict
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from dbopt.cache.names.keys import digest, encode_argument, encode_arguments, tenant_slug, value_key
from dbopt.exceptions import UncacheableArgumentError
from tests.testapp.models import Author, Shop


def key(value):
    return digest(encode_argument("value", value, function="shop.read"))


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC) | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
)
hashable = st.recursive(plain, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
values = st.recursive(
    hashable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=3),
    max_leaves=10,
)


def same(left, right):
    """Equal and of the same type, all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (set, frozenset)):
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    if isinstance(left, dict):
        return len(left) == len(right) and all(
            any(same(k, other) and same(v, right[other]) for other in right) for k, v in left.items()
        )
    return bool(left == right)


@given(values, values)
def test_keys_are_equal_exactly_when_values_are(left, right):
    assert (key(left) == key(right)) == same(left, right)


@given(st.integers(-3, 3) | st.booleans() | st.sampled_from([0.0, -0.0, 1.0, Decimal("1.0"), Decimal(1), "1", b"1"]))
def test_look_alikes_differ(value):
    for other in (1, "1", 1.0, True, Decimal(1), b"1", 0, 0.0, False, None, "", (), [], "None", "True"):
        assert (key(value) == key(other)) == same(value, other)


class Colour(models.TextChoices):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


Pair = namedtuple("Pair", "left right")


@dataclass
class Period:
    start: date
    note: str = field(default="", compare=False)


@dataclass
class Quarter(Period):
    """Has the fields of a period and is another type."""


class Undecorated(Period):
    """Compared by its parent's method."""


@dataclass(eq=False)
class Identity:
    number: int


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (Decimal("1.5"), Decimal("1.50"), True),
        (Decimal("100"), Decimal("1E2"), True),
        (Decimal("0"), Decimal("-0.000"), True),
        (Decimal("1.0000000000000000000000000000000001"), Decimal("1"), False),
        (0.0, -0.0, True),
        (2**53 + 1, 2**53, False),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))), True),
        (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12), False),  # noqa: DTZ001
        (date(2026, 1, 1), "2026-01-01", False),
        (date(2026, 1, 1), datetime(2026, 1, 1), False),  # noqa: DTZ001
        (time(1, 2), time(1, 2, 0), True),
        (UUID(int=1), str(UUID(int=1)), False),
        (Colour.RED, "red", False),
        (Number.ONE, 1, False),
        (Number.ONE, Number(1), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({1, 2, 3}, {3, 2, 1}, True),
        ({1}, frozenset({1}), False),
        ([1, 2], (1, 2), False),
        ([[1], 2], [1, [2]], False),
        (["ab", "c"], ["a", "bc"], False),
        (Pair(1, 2), (1, 2), False),
        (SafeString("x"), "x", False),
        (Period(date(2026, 1, 1)), Period(date(2026, 1, 1), note="x"), True),
        (Period(date(2026, 1, 1)), Period(date(2026, 1, 2)), False),
        (Period(date(2026, 1, 1)), Quarter(date(2026, 1, 1)), False),
        (NumericRange(1, 5), NumericRange(1, 5, "[)"), True),
        (NumericRange(1, 5), NumericRange(1, 5, "[]"), False),
        (NumericRange(1, 5), NumericRange(1, Decimal(5)), False),
        (NumericRange(empty=True), NumericRange(1, 1, empty=True), True),
        (DateRange(None, date(2026, 1, 1)), DateTimeTZRange(None, None), False),
        (range(0), range(2, 1), True),
        (range(0, 10, 3), range(0, 12, 3), True),
        (range(3), [0, 1, 2], False),
        (Author(pk=1), Author(pk=1), True),
        (Author(pk=1), Author(pk=2), False),
        (Author(pk=1), 1, False),
        (Shop(pk="1"), Author(pk=1), False),
        (Author, Shop, False),
    ],
)
def test_what_is_the_same_argument(left, right, equal):
    assert (key(left) == key(right)) is equal


def test_not_a_number_has_one_key():
    assert key(float("nan")) == key(-float("nan"))


class Anything:
    pass


class Weak:
    def __cache_key__(self):
        return ("weak", 1)


def test_object_with_a_cache_key_is_an_argument():
    assert key(Weak()) == key(Weak())
    assert key(Weak()) != key(("weak", 1))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (Anything(), "is of type Anything"),
        ([{"a": Anything()}], "is of type Anything"),
        (Author.objects.all(), "is of type QuerySet"),
        (Author(), "is an unsaved testapp.Author"),
        (lambda: 1, "is of type function"),
        (Anything, "is the class Anything"),
        (QueryDict("a=1&a=2"), "is of type QueryDict"),
        (OrderedDict(a=1), "is of type OrderedDict"),
        (gettext_lazy("Home"), "is of type lazy.<locals>.__proxy__"),
        (bytearray(b"x"), "is of type bytearray"),
        (Identity(1), "is of type Identity, a dataclass that is not compared by its fields"),
        (Undecorated(date(2026, 1, 1)), "is of type Undecorated, a dataclass that is not compared by its fields"),
        (iter([1]), "is of type list_iterator"),
    ],
)
def test_argument_without_a_canonical_form_is_refused(value, fault):
    with pytest.raises(UncacheableArgumentError) as caught:
        encode_argument("kind", value, function="shop.read")

    assert str(caught.value) == (
        f"Argument `kind` of shop.read {fault}, so no cache key can be made of it. "
        "Pass a primary key or plain values, or define __cache_key__() on its class."
    )


def test_argument_that_holds_itself_is_refused():
    loop: list[object] = []
    loop.append(loop)

    with pytest.raises(UncacheableArgumentError, match="nested too deeply or holds itself"):
        key(loop)


@given(st.dictionaries(st.text(min_size=1), plain, max_size=4), st.dictionaries(st.text(min_size=1), plain, max_size=4))
def test_names_of_arguments_belong_to_the_key(left, right):
    left, right = dict(sorted(left.items())), dict(sorted(right.items()))
    encoded = [encode_arguments(each, function="shop.read") for each in (left, right)]

    assert (encoded[0] == encoded[1]) == same(left, right)


tenants = st.integers() | st.text() | st.uuids() | st.none() | st.decimals(allow_nan=False)


@given(tenants, tenants)
def test_tenants_never_share_a_slug(left, right):
    assert (tenant_slug(left) == tenant_slug(right)) == same(left, right)
    assert tenant_slug(left)
    assert not set("{}:*") & set(tenant_slug(left))


def test_value_key_has_its_tenant_in_braces():
    assert value_key("dbopt", tenant_slug("a{b}:*"), name="entity:recent", call="00ff") == (
        "dbopt:v:{s.a%7Bb%7D%3A%2A}:entity:recent:00ff"
    )
