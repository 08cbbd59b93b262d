"""Signed pickles: nothing is unpickled that this project did not sign."""

from __future__ import annotations

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbopt.cache import cached_query
from dbopt.cache.values.codec import UndecodableError
from dbopt.cache.values.compression import compress
from dbopt.cache.values.pickles import seal, unseal
from dbopt.cache.values.plain import UnencodableError
from dbopt.exceptions import ConfigurationError
from tests.testapp.models import Author, Publisher

RUNS: list[int] = []


class Basket:
    """Something that rows cannot hold."""

    def __init__(self, *items):
        self.items = items

    def __eq__(self, other):
        return self.items == other.items

    __hash__ = None


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("size", [1, 5000])
def test_comes_back_the_same(size):
    basket = Basket("x" * size, {1: [2]})

    assert unseal(seal(basket)) == basket


def test_forged_pickle_runs_nothing(tmp_path):
    target = tmp_path / "made"
    data = compress(pickle.dumps(Trap(str(target))))

    for forged in (data, bytes(32) + data, seal(Basket())[:32] + data):
        with pytest.raises(UndecodableError):
            unseal(forged)
    assert not target.exists()


def test_signature_guards_every_byte():
    sealed = seal(Basket(1))

    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UndecodableError):
            unseal(bytes(changed))


@given(st.binary(max_size=100))
def test_foreign_bytes_are_undecodable(data):
    with pytest.raises(UndecodableError):
        unseal(data)


def test_rotated_key_still_reads_and_a_dropped_one_does_not(settings):
    settings.SECRET_KEY = "old"
    sealed = seal(Basket(1))
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["old"]
    assert unseal(sealed) == Basket(1)

    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(UndecodableError):
        unseal(sealed)


def test_class_that_is_gone_is_a_miss(monkeypatch):
    sealed = seal(Basket(1))
    monkeypatch.delitem(globals(), "Basket")

    with pytest.raises(UndecodableError):
        unseal(sealed)


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(UnencodableError, match=r"^a part that pickle refuses \(\w+\)$"):
        seal(lambda: 1)


@cached_query(timeout=300, name="pickles:basket", tags=["pickles"], codec="pickle")
def basket(number: int):
    RUNS.append(number)
    return Basket(number)


def test_function_may_choose_pickle(redis_server, valkey):
    RUNS.clear()
    assert basket(1) == basket(1) == Basket(1)
    assert RUNS == [1]

    (key,) = valkey.scan_iter(match="*:v:*basket*")
    whole = valkey.get(key)
    valkey.set(key, whole[:-1] + bytes([whole[-1] ^ 1]))

    assert basket(1) == Basket(1)
    assert RUNS == [1, 1]


@cached_query(timeout=300, codec="pickle")
def counted_and_lazy():
    return Author.objects.count(), Publisher.objects.all()


@pytest.mark.django_db(transaction=True)
def test_rows_that_pickling_reads_are_followed_too(shop_database):
    publisher = Publisher.objects.create(name="Old")
    assert [each.name for each in counted_and_lazy()[1]] == ["Old"]

    Publisher.objects.filter(pk=publisher.pk).update(name="New")

    assert [each.name for each in counted_and_lazy()[1]] == ["New"]


def test_unknown_codec_is_refused():
    with pytest.raises(ConfigurationError, match=r"codec='json'.*choose one of 'rows', 'pickle'"):
        cached_query(codec="json")(basket.uncached)
