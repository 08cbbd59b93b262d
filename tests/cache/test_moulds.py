"""What hits of a local copy return is the caller's own, however often it was copied."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init
from hypothesis import given, settings
from hypothesis import strategies as st

from dbopt.cache.values.codec import decode, encode
from dbopt.cache.values.copies import CopiedState
from dbopt.cache.values.moulds import mould_of
from tests.fuzzing import examples
from tests.testapp.models import Author, Book, Profile

FIXED = [
    "text", 5, 2.5, True, None, b"bytes", Decimal("1.50"), UUID(int=7), date(2026, 1, 2), time(3, 4),
    datetime(2026, 1, 2, 3, 4, tzinfo=UTC), timedelta(seconds=5),
]  # fmt: skip

fixed = st.recursive(st.sampled_from(FIXED), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
anything = st.recursive(
    fixed,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b"]), inner)
    ),
    max_leaves=8,
)


def loaded(model, **values):
    """An instance as a query returns it, without a query; columns without a value are deferred."""
    return model.from_db("default", list(values), list(values.values()))


def author(pk=1):
    return loaded(Author, id=pk, name="Ada", email="a@example.org", born=date(1815, 12, 10))


def changeable(value):
    """Everything in a value that a caller could change, by identity."""
    if isinstance(value, (list, tuple)):
        inner = [part for item in value for part in changeable(item)]
    elif isinstance(value, dict):
        inner = [part for item in value.values() for part in changeable(item)]
    elif isinstance(value, (Model, ModelState)):
        inner = [id(vars(value)), *(part for held in vars(value).values() for part in changeable(held))]
    else:
        return []
    return inner if type(value) is tuple else [id(value), *inner]


def test_copies_share_nothing_that_can_be_changed():
    """Results of the shapes that are copied; each copy is what decoding would have returned."""
    shapes = [
        [], FIXED, [tuple(FIXED)] * 3, [{"a": 1, "b": None}, {"a": Decimal(2), "b": "x"}], *FIXED, (1, ("a", None)),
        [author(1), author(2)], author(),
    ]  # fmt: skip
    for shape in shapes:
        stored = encode(shape)
        mould = mould_of(decode(stored))
        copies = [mould.cast(), mould.cast(), decode(stored)]
        held = [part for copy in copies for part in changeable(copy)]

        assert copies[0] == copies[1] == copies[2] == shape
        assert len(held) == len(set(held)), shape
        assert mould.size > 0


@settings(max_examples=examples(200))
@given(anything)
def test_whatever_is_copied_is_copied_whole(result):
    mould = mould_of(decode(encode(result)))
    if mould is not None:
        first, second = mould.cast(), mould.cast()
        assert first == second == result
        assert not set(changeable(first)) & set(changeable(second))


@pytest.mark.parametrize("result", [[[1]], [(1, [2])], [{"a": [1]}], {"a": 1}, [{"a": 1}, (1,)], [1, [2]]])
def test_what_holds_changeable_things_within_is_decoded_at_each_hit(result):
    assert mould_of(result) is None


def test_instances_are_copied_as_they_were_loaded():
    found = decode(encode([loaded(Author, id=5, name="Ada"), loaded(Author, id=6, name="Ben")]))
    copies = mould_of(found).cast()

    assert [type(copy) for copy in copies] == [Author, Author]
    assert [(copy.pk, copy.name) for copy in copies] == [(5, "Ada"), (6, "Ben")]
    assert copies[0].get_deferred_fields() == {"email", "born"}
    assert (copies[0]._state.db, copies[0]._state.adding) == ("default", False)


def test_copies_are_known_as_such():
    """Who saves one is warned."""
    for found in mould_of(decode(encode([author(1), author(2)]))).cast():
        assert type(found._state) is CopiedState
        assert found._state.is_copy


def test_change_of_a_copy_is_seen_by_nobody_else():
    mould = mould_of([author()])
    (changed,) = mould.cast()

    changed.name = "Mallory"
    changed.nick = "M"
    changed._state.db = "elsewhere"
    changed._state.fields_cache["author"] = changed

    (other,) = mould.cast()
    assert (other.name, other._state.db, other._state.fields_cache) == ("Ada", "default", {})
    assert not hasattr(other, "nick")


def related():
    found = loaded(Profile, id=1, author_id=1, biography="")
    found.author = author()
    return [found]


def twice():
    found = author()
    return [found, found]


def with_attribute(name, value):
    found = author()
    setattr(found, name, value)
    return [found]


@pytest.mark.parametrize(
    "result",
    [
        related,
        twice,
        lambda: with_attribute("_prefetched_objects_cache", {}),
        lambda: [author(1), loaded(Profile, id=1, author_id=1, biography="")],
        lambda: [author(1), "text"],
        lambda: [loaded(Book, id=1, data={"pages": [1]})],
        lambda: [author(), Author(name="unsaved")],
        lambda: with_attribute("scores", [1]),
    ],
    ids=["related", "twice", "prefetched", "two models", "mixed", "json", "unsaved", "annotated"],
)
def test_instances_with_more_than_plain_columns_are_decoded_at_each_hit(result):
    assert mould_of(result()) is None


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_instances_that_are_watched_are_not_copied(signal):
    mould = mould_of([author()])
    assert mould.is_usable()

    def watch(**_):
        """See each instance that is made."""

    signal.connect(watch, sender=Author)
    try:
        assert not mould.is_usable()
        assert mould_of([author()]) is None
    finally:
        signal.disconnect(watch, sender=Author)
