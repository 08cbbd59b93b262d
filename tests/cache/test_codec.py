"""What goes into the cache comes out the same, and never by pickle."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from django.db.models import Count, Prefetch
from django.db.models.signals import post_init
from hypothesis import given
from hypothesis import strategies as st

from dbopt.cache.values import codec
from dbopt.cache.values.codec import UndecodableError, decode, encode
from dbopt.cache.values.entries import Entry, is_marker, new_marker, pack_entry, unpack_entry
from dbopt.cache.values.instances import is_plain
from dbopt.cache.values.plain import UnencodableError
from dbopt.exceptions import CachedInstanceWarning
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


rows = st.tuples(
    st.none() | st.decimals(allow_nan=False),
    st.dates() | st.none(),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)) | st.none(),
    st.datetimes(),
    st.timedeltas() | st.none(),
    st.datetimes(timezones=st.just(ZoneInfo("Europe/Berlin")), allow_imaginary=False),
    st.integers() | st.text(),
    results,
)


@given(st.lists(rows, max_size=5))
def test_rows_come_back_the_same(value):
    names = [f"column{number}" for number in range(9)]
    records = [dict(zip(names, row, strict=True)) for row in value]

    assert same(decode(encode(value)), value)
    assert same(decode(encode(records)), records)
    assert same(decode(encode({"page": value, "pair": (records, 1)})), {"page": value, "pair": (records, 1)})


@given(st.lists(st.lists(st.integers(), max_size=2).map(tuple), max_size=4))
def test_rows_of_unequal_length_come_back_the_same(value):
    assert same(decode(encode(value)), value)


def test_moment_before_1970_keeps_its_microsecond():
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

    assert decode(encode([(moment,), (None,)])) == [(moment,), (None,)]


@pytest.mark.parametrize(
    "value",
    [
        NumericRange(1, 5, "[)"),
        NumericRange(None, Decimal("2.5"), "(]"),
        DateRange(date(2026, 1, 1), None),
        DateTimeTZRange(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), "[]"),
        NumericRange(empty=True),
    ],
)
def test_ranges_come_back_the_same(value):
    back = decode(encode([value, (value,)]))

    assert back == [value, (value,)]
    assert type(back[0]) is type(value)


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
    with pytest.warns(CachedInstanceWarning):
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
def test_instances_of_a_watched_model_are_made_by_the_model(book):
    payload, seen = encode([book]), []

    def watch(sender, instance, **_):
        seen.append(instance)

    post_init.connect(watch, sender=Book)
    try:
        back = decode(payload)
    finally:
        post_init.disconnect(watch, sender=Book)

    assert seen == back
    assert row(back[0]) == row(book)


class Parsing:
    """A descriptor that changes what is assigned, as fields of other packages have."""

    def __set__(self, instance, value):
        instance.__dict__["title"] = value.upper()


def test_model_is_plain_unless_something_of_it_watches(monkeypatch):
    for model in (Author, Book, Note, Profile, Publisher, Shop, Tag):
        assert is_plain.__wrapped__(model)
    with monkeypatch.context() as patch:
        patch.setattr(Book, "title", Parsing())
        assert not is_plain.__wrapped__(Book)
    with monkeypatch.context() as patch:
        patch.setattr(Book, "__init__", lambda self: None)
        assert not is_plain.__wrapped__(Book)
    with monkeypatch.context() as patch:
        patch.setattr(Book, "from_db", classmethod(lambda cls, *args: None))
        assert not is_plain.__wrapped__(Book)


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
