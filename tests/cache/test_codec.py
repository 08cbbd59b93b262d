"""What goes into the cache comes out the same, and never by pickle."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Count, Prefetch
from hypothesis import given
from hypothesis import strategies as st

from dbopt.cache import codec
from dbopt.cache.codec import UndecodableError, UnencodableError, decode, encode
from dbopt.cache.entries import Entry, is_marker, new_marker, pack_entry, unpack_entry
from tests.cache.test_keys import same
from tests.testapp.models import Author, Book, Note, Profile, Publisher, Shop, Tag

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC) | st.timezones(), allow_imaginary=False)
    | st.times()
    | st.timedeltas()
    | st.uuids()
)
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6)
results = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(hashable, inner, max_size=3) | st.sets(hashable, max_size=3)
    ),
    max_leaves=10,
)


@given(results)
def test_plain_values_come_back_the_same(value):
    assert same(decode(encode(value)), value)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_undecodable_or_plain(data):
    with suppress(UndecodableError):
        decode(data)


@given(results, st.data())
def test_truncated_result_is_undecodable(value, data):
    payload = encode(value)
    cut = data.draw(st.integers(0, len(payload) - 1))

    with pytest.raises(UndecodableError):
        decode(payload[:cut])


@given(st.binary(max_size=300))
def test_foreign_bytes_are_no_entry(data):
    assert unpack_entry(data) is None or data[:2] == b"\xdb\x01"


@given(st.binary(min_size=8, max_size=8), st.lists(st.text(max_size=9), max_size=5), st.binary(max_size=99))
def test_entry_comes_back_the_same(vector, tags, payload):
    entry = Entry(vector, tuple(tags), payload, 1_800_000_000_123, 0.25)

    packed = pack_entry(entry)

    assert unpack_entry(packed) == entry
    assert packed[:4] == b"\xdb\x01\x01\x00"
    assert packed[4:12] == vector


def test_marker_is_no_entry():
    marker = new_marker()

    assert len(marker) == 24
    assert is_marker(marker)
    assert unpack_entry(marker) is None
    assert not is_marker(pack_entry(Entry(b"x" * 8, (), b"", 0, 0.0)))
    assert not is_marker(None)
    assert new_marker() != marker


def test_daylight_saving_is_kept():
    zone = ZoneInfo("Europe/Berlin")
    for fold in (0, 1):
        moment = datetime(2026, 10, 25, 2, 30, fold=fold, tzinfo=zone)
        back = decode(encode(moment))
        assert (back, back.fold, back.utcoffset()) == (moment, fold, moment.utcoffset())


class Anything:
    pass


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Anything(), "a value of type tests.cache.test_codec.Anything"),
        ([{"a": Anything()}], "a value of type tests.cache.test_codec.Anything"),
        (OrderedDict(a=1), "a value of type collections.OrderedDict"),
        (Author(name="x"), "an unsaved testapp.Author"),
        ((n for n in [1]), "a value of type builtins.generator"),
        ("\ud800", "a part that msgpack refuses (UnicodeEncodeError)"),
    ],
)
def test_what_cannot_be_stored_is_named(value, what):
    with pytest.raises(UnencodableError) as caught:
        encode(value)

    assert str(caught.value) == what


@pytest.fixture
def book(db):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    Profile.objects.create(author=ada, biography="first")
    book = Book.objects.create(
        title="Notes", author=ada, publisher=Publisher.objects.create(name="P"), price="12.50", data={"a": [1, None]}
    )
    book.tags.add(Tag.objects.create(slug="science"), Tag.objects.create(slug="history"))
    Shop.objects.create(code="s1", bestseller=book)
    Note.objects.create(subject=ada, text="hello")
    return Book.objects.get()


def there_and_back(value, queries):
    payload = encode(value)
    with queries() as ran:
        back = decode(payload)
    assert ran == []
    return back


def row(instance):
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


@pytest.mark.django_db
def test_instances_are_like_those_of_the_database(book, queries):
    (back,) = there_and_back([book], queries)

    assert type(back) is Book
    assert row(back) == row(book)
    assert (back._state.adding, back._state.db) == (False, "default")
    assert back == book
    assert back is not book


@pytest.mark.django_db
def test_decoded_instances_can_be_saved(book, queries):
    back = there_and_back(book, queries)
    back.title = "New"
    back.save()

    assert Book.objects.get().title == "New"


@pytest.mark.django_db
def test_deferred_columns_stay_deferred(book, queries):
    back = there_and_back(Book.objects.only("title").get(), queries)

    assert back.get_deferred_fields() == Book.objects.only("title").get().get_deferred_fields()
    with queries() as ran:
        assert back.price == book.price
    assert len(ran) == 1


@pytest.mark.django_db
def test_related_objects_and_annotations_come_along(book, queries):
    found = list(Book.objects.select_related("author__profile", "editor", "publisher").annotate(n=Count("tags")))

    (back,) = there_and_back(found, queries)

    with queries() as ran:
        assert (back.author.name, back.author.profile.biography, back.publisher.name) == ("Ada", "first", "P")
        assert back.editor is None
        assert back.n == 2
        assert back.author.profile.author is back.author
    assert ran == []


@pytest.mark.django_db
def test_prefetched_lists_come_along_and_stay_relations(book, queries):
    found = list(
        Author.objects.prefetch_related(
            "books__tags", "notes", "profile", Prefetch("edited", Book.objects.order_by("pk"), to_attr="edited_books")
        )
    )

    (back,) = there_and_back(found, queries)

    with queries() as ran:
        (read,) = back.books.all()
        assert sorted(tag.slug for tag in read.tags.all()) == ["history", "science"]
        assert [note.text for note in back.notes.all()] == ["hello"]
        assert back.edited_books == []
    assert ran == []
    assert back.books.filter(title="other").count() == 0
    assert back.books.filter(title="Notes").count() == 1


@pytest.mark.django_db
def test_prefetched_reverse_many_to_many(book, queries):
    found = list(Tag.objects.prefetch_related("books").order_by("slug"))

    back = there_and_back(found, queries)

    with queries() as ran:
        assert [[b.title for b in tag.books.all()] for tag in back] == [["Notes"], ["Notes"]]
    assert ran == []


@pytest.mark.django_db
def test_one_instance_in_two_places_is_one_afterwards(book, queries):
    back = there_and_back({"a": book, "b": [book]}, queries)

    assert back["a"] is back["b"][0]


@pytest.mark.django_db
def test_rows_of_a_model_that_changed_are_undecodable(book, monkeypatch):
    payload = encode([book])
    monkeypatch.setattr(codec, "model_fingerprint", lambda model: b"otherone")

    with pytest.raises(UndecodableError):
        decode(payload)


@pytest.mark.django_db
def test_values_and_tuples_come_back_the_same(book, queries):
    for result in (
        list(Book.objects.values()),
        list(Book.objects.values_list("title", "price", "key", "data", "published_at")),
        dict(Book.objects.values_list("pk", "price")),
        Book.objects.aggregate(n=Count("pk")),
    ):
        assert same(there_and_back(result, queries), result)


@pytest.mark.django_db
def test_every_decoding_builds_new_objects(book):
    payload = encode([book, {"list": [1]}])
    first, second = decode(payload), decode(payload)
    first[1]["list"].append(2)
    first[0].title = "changed"

    assert second[1] == {"list": [1]}
    assert second[0].title == "Notes"
