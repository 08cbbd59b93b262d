"""A server that forgets, at any step, costs misses and never a wrong answer."""

# ruff: noqa: PLR0913, PLR0917  races need several hands

from __future__ import annotations

import time

import pytest

from dbopt.cache.functions import calls
from dbopt.cache.server import exchange
from dbopt.cache.values.entries import HEADER_BYTES
from tests.cache import shop
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


def value_keys(valkey):
    return [key for key in valkey.scan_iter() if b":v:" in key]


def token_keys(valkey):
    return sorted(key for key in valkey.scan_iter() if b":g:" in key)


def test_each_key_alone_may_vanish(ada, valkey, elsewhere):
    for key in [None, *range(8)]:
        valkey.flushdb()
        assert elsewhere(shop.names) == elsewhere(shop.names)
        found = sorted(valkey.keys())
        if key is not None and key < len(found):
            valkey.delete(found[key])

        Author.objects.create(name=f"B{key}", email=f"{key}@example.org")

        assert elsewhere(shop.names) == elsewhere(shop.names.uncached)


@pytest.mark.parametrize("step", ["look", "create", "tokens", "store"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_everything_may_vanish_at_every_step(ada, valkey, elsewhere, monkeypatch, step, when):
    """Flush around one step of a fill while a write commits there too."""
    original = getattr(exchange.CacheServer, step)
    busy = []

    def interrupted(self, *args, **kwargs):
        if busy:
            return original(self, *args, **kwargs)
        busy.append(True)
        if when == "before":
            disturb()
        result = original(self, *args, **kwargs)
        if when == "after":
            disturb()
        return result

    def disturb():
        valkey.flushdb()
        elsewhere(Author.objects.filter(pk=ada.pk).update, name="Grace")

    monkeypatch.setattr(exchange.CacheServer, step, interrupted)
    shop.names()
    assert busy, "the step was not reached"

    assert elsewhere(shop.names) == ["Grace"]


def test_evicted_token_does_not_revive_an_older_value(ada, valkey, elsewhere):
    """A counter would start at its first value again and make the old entry valid."""
    assert elsewhere(shop.names) == ["Ada"]
    (value,) = value_keys(valkey)
    old = valkey.get(value)

    for _ in range(3):
        Author.objects.update(name="Grace")
        for key in token_keys(valkey):
            valkey.delete(key)
        assert elsewhere(shop.names) == ["Grace"]
        valkey.set(value, old)

        assert elsewhere(shop.names) == ["Grace"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:1],
        lambda data: data[:HEADER_BYTES],
        lambda data: data[: HEADER_BYTES + 6],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"\x80\x04" + data,
        lambda data: b"\xdb\x02" + data[2:],
        lambda data: data[:2] + b"\x09" + data[3:],
        lambda data: data[:3] + b"\x01" + data[4:],
        lambda data: data[:24] + b"\xff\xff\xff\xff" + data[28:],
        lambda data: data[:28] + b"\xc1" * (len(data) - 28),
        lambda data: data[:-8] + b"\xc1" * 8,
        lambda data: b"not ours at all, written by another program",
    ],
)
def test_bytes_that_are_not_ours_are_a_miss(ada, valkey, outcomes, damage):
    shop.names()
    (key,) = value_keys(valkey)
    valkey.set(key, damage(valkey.get(key)))

    assert shop.names() == ["Ada"]
    assert shop.names() == ["Ada"]

    counted = outcomes(shop.names)
    assert (counted["misses"], counted["hits"]) == (2, 1)


def test_key_of_another_type_is_a_miss(ada, valkey):
    shop.names()
    (key,) = value_keys(valkey)
    valkey.delete(key)
    valkey.lpush(key, "x")

    assert shop.names() == ["Ada"]


def test_late_store_does_not_replace_a_newer_value(ada, gate, threads, elsewhere, outcomes, valkey):
    reader = threads(shop.names_slowly)
    gate.wait_for_visitor()
    Author.objects.update(name="Grace")
    gate.open()
    reader.result(20)

    assert outcomes(shop.names_slowly)["refused"] == {"moved": 1}
    assert value_keys(valkey) == []


def test_removed_entry_is_not_brought_back_by_an_earlier_fill(ada, gate, threads, elsewhere, outside, valkey):
    reader = threads(shop.names_slowly)
    gate.wait_for_visitor()
    with outside.transaction():
        outside.execute("UPDATE testapp_author SET name = 'Grace'")

    assert shop.names_slowly.invalidate() is True
    gate.open()

    assert reader.result(20) == ["Ada"]
    assert elsewhere(shop.names_slowly) == ["Grace"]
    assert elsewhere(shop.names_slowly) == ["Grace"]


def test_clock_that_jumps_changes_no_answer(ada, elsewhere, monkeypatch, outcomes):
    import types

    real = time.time
    assert elsewhere(shop.names) == ["Ada"]
    for shift in (3600, -3600):
        fake = types.SimpleNamespace(**{**vars(time), "time": lambda shift=shift: real() + shift})
        monkeypatch.setattr(calls, "time", fake)
        monkeypatch.setattr("dbopt.cache.functions.fills.time", fake)
        monkeypatch.setattr("dbopt.cache.names.tokens.time", fake)
        Author.objects.update(name=f"Grace{shift}")

        assert elsewhere(shop.names) == [f"Grace{shift}"]
        assert elsewhere(shop.names) == [f"Grace{shift}"]

    assert outcomes(shop.names)["hits"] == 2
