"""Pages: every row once and in order, whatever happens between two pages."""

from __future__ import annotations

import datetime

import pytest
from django.db import connection
from django.db.models import Count, F, Value
from django.db.models.functions import Coalesce, Length, Lower, NullIf
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbopt.exceptions import InvalidCursorError
from dbopt.pagination import Page, keyset_page
from dbopt.tenancy import tenant_context
from tests.fuzzing import examples
from tests.pagination.specimens import DatedFind, Find, ProxyFind
from tests.testapp.models import Author, Book, Shop, Tag

pytestmark = pytest.mark.django_db

EPOCH = Value(datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))
ORDERS = {
    "primary key": ("pk",),
    "primary key descending": ("-pk",),
    "few values": ("pages",),
    "two with ties, descending": ("-pages", "-title"),
    "decimal and text": ("price", "title"),
    "unique": ("key",),
    "unique descending": ("-key",),
    "foreign key": ("author",),
    "path": ("author__name", "title"),
    "path to a key": ("-author__pk", "-price"),
    "floats with NaN, infinity and signed zero": ("score",),
    "times with microseconds": ("-moment",),
    "function": ("lower", "length"),
    "expressions of Django": (F("pages").desc(), F("title").desc()),
    "both directions": ("pages", "-title"),
    "back and forth": ("-pages", "price", "-title"),
    "NULLs": ("published_at",),
    "NULLs last, and both directions": (F("rating").desc(nulls_last=True), "pages"),
    "path with NULLs": (F("editor__name").asc(nulls_first=True), "-title"),
    "foreign key with NULLs": ("-editor", "pages"),
    "annotation with NULLs": ("nothing", "-lower"),
}


def books():
    return Book.objects.annotate(
        score=Coalesce("rating", Value(0.0)),
        moment=Coalesce("published_at", EPOCH),
        lower=Lower("title"),
        length=Length("author__name"),
        nothing=NullIf("title", Value("")),
    )


RELATIONS = ("author", "-editor")


def expected(order):
    tie = "-pk" if str(order[-1]).startswith("-") or "descending=True" in repr(order[-1]) else "pk"
    # Django sorts a relation by its model's own order; a page sorts it by the key column.
    names = [
        name.replace("author", "author_id").replace("editor", "editor_id") if name in RELATIONS else name
        for name in order
    ]
    return list(books().order_by(*names, tie).values_list("pk", flat=True))


def walk(queryset, *, size, is_backward=False, **options):
    """Read all pages, as a client does."""
    pages, cursor = [], None
    while True:
        place = {"last": size, "before": cursor} if is_backward else {"first": size, "after": cursor}
        page = keyset_page(queryset, **place, **options)
        rows = [row.pk for row in page.rows]
        pages.insert(0, rows) if is_backward else pages.append(rows)
        if not (page.has_previous if is_backward else page.has_next):
            return [row for rows in pages for row in rows]
        cursor = page.start_cursor if is_backward else page.end_cursor


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.sampled_from(list(ORDERS)), size=st.integers(1, 26), is_backward=st.booleans())
def test_every_row_comes_exactly_once_and_in_order(shelf, order, size, is_backward):
    if not Book.objects.exists():
        shelf(25)

    assert walk(books(), size=size, is_backward=is_backward, order_by=ORDERS[order]) == expected(ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("is_backward", [False, True])
def test_one_row_a_page(shelf, order, is_backward):
    shelf(16)

    assert walk(books(), size=1, is_backward=is_backward, order_by=ORDERS[order]) == expected(ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
def test_page_in_the_middle_has_rows_on_both_sides(shelf, order):
    shelf(9)
    start = keyset_page(books(), order_by=ORDERS[order], first=3)
    end = keyset_page(books(), order_by=ORDERS[order], last=3)

    for place in ({"first": 2, "after": start.end_cursor}, {"last": 2, "before": end.start_cursor}):
        page = keyset_page(books(), order_by=ORDERS[order], **place)
        assert (page.has_previous, page.has_next) == (True, True)
    first = keyset_page(books(), order_by=ORDERS[order], last=2, before=start.cursor(start.rows[2]))
    last = keyset_page(books(), order_by=ORDERS[order], first=2, after=end.cursor(end.rows[0]))
    assert (first.has_previous, first.has_next) == (False, True)
    assert (last.has_previous, last.has_next) == (True, False)


@pytest.mark.parametrize("count", [0, 1])
def test_list_of_hardly_any_rows(shelf, count):
    made = [book.pk for book in shelf(count)]

    page = keyset_page(books(), order_by="pages", first=1)

    assert isinstance(page, Page)
    assert [row.pk for row in page.rows] == made
    assert (page.has_next, page.has_previous, page.total()) == (False, False, count)
    assert (page.start_cursor is None) == (count == 0)


def test_order_of_the_queryset_and_of_reverse_is_taken(shelf):
    shelf(9)
    queryset = Book.objects.order_by("pages", "title")

    assert walk(queryset, size=2) == list(queryset.order_by("pages", "title", "pk").values_list("pk", flat=True))
    assert walk(queryset.reverse(), size=2) == walk(queryset, size=2)[::-1]
    assert walk(queryset.reverse(), size=2, order_by="pk") == sorted(walk(queryset, size=2))
    assert walk(Book.objects.all(), size=4) == sorted(walk(queryset, size=2))


def test_page_exactly_full_knows_that_nothing_follows(shelf):
    shelf(6)
    page = keyset_page(Book.objects.all(), first=3)
    following = keyset_page(Book.objects.all(), first=3, after=page.end_cursor)

    assert (len(page.rows), page.has_next) == (3, True)
    assert (len(following.rows), following.has_next, following.has_previous) == (3, False, True)


def test_no_rows_asked_for_is_answered_honestly(shelf):
    pks = [book.pk for book in shelf(3)]
    cursors = [keyset_page(Book.objects.all()).cursor(book) for book in Book.objects.order_by("pk")]

    def around(**place):
        page = keyset_page(Book.objects.all(), **place)
        return page.rows, page.has_previous, page.has_next

    assert len(pks) == 3
    assert around(first=0) == ([], False, True)
    assert around(first=0, after=cursors[0]) == ([], True, True)
    assert around(first=0, after=cursors[2]) == ([], True, False)
    assert around(last=0) == ([], True, False)
    assert around(last=0, before=cursors[0]) == ([], False, True)
    assert around(last=0, before=cursors[2]) == ([], True, True)


def test_first_of_nothing_has_no_next(authors):
    assert keyset_page(Book.objects.all(), first=0).has_next is False


def test_after_and_before_bound_a_page_together(shelf):
    pks = sorted(book.pk for book in shelf(10))
    page = keyset_page(Book.objects.all(), first=10)
    after, before = page.cursor(page.rows[2]), page.cursor(page.rows[7])

    def between(**place):
        found = keyset_page(Book.objects.all(), after=after, before=before, **place)
        return [row.pk for row in found.rows], found.has_previous, found.has_next

    assert between(first=2) == (pks[3:5], True, True)
    assert between(first=9) == (pks[3:7], True, True)
    assert between(last=2) == (pks[5:7], True, True)
    assert between(last=9) == (pks[3:7], True, True)


def test_crossed_cursors_give_an_empty_page(shelf):
    shelf(5)
    rows = keyset_page(Book.objects.all(), first=5)
    page = keyset_page(Book.objects.all(), first=5, after=rows.cursor(rows.rows[3]), before=rows.cursor(rows.rows[1]))

    assert (page.rows, page.has_next, page.has_previous) == ([], True, True)


def test_rows_inserted_and_deleted_between_pages_move_nothing(shelf, authors):
    shelf(9)
    queryset = Book.objects.order_by("pages")
    page = keyset_page(queryset, first=4)
    read = [row.pk for row in page.rows]
    left = list(queryset.order_by("pages", "pk").values_list("pk", flat=True)[4:])

    Book.objects.create(title="before", author=authors[0], pages=-5)
    last = Book.objects.create(title="behind", author=authors[0], pages=99)
    Book.objects.filter(pk__in=[read[0], left[0]]).delete()

    page = keyset_page(queryset, first=50, after=page.end_cursor)
    assert [row.pk for row in page.rows] == [*left[1:], last.pk]


def test_cursor_outlives_its_row(shelf):
    shelf(6)
    page = keyset_page(Book.objects.order_by("-price"), first=3)
    cursor = page.end_cursor
    following = [row.pk for row in keyset_page(Book.objects.order_by("-price"), first=3, after=cursor).rows]

    page.rows[-1].delete()

    assert [row.pk for row in keyset_page(Book.objects.order_by("-price"), first=3, after=cursor).rows] == following


@pytest.mark.parametrize(
    "other",
    [
        lambda cursor: keyset_page(Book.objects.order_by("-pages"), after=cursor),
        lambda cursor: keyset_page(Book.objects.order_by("title"), after=cursor),
        lambda cursor: keyset_page(Book.objects.order_by("pages", "-title"), after=cursor),
        lambda cursor: keyset_page(Book.objects.order_by(F("rating").asc(nulls_first=True)), after=cursor),
        lambda cursor: keyset_page(Author.objects.order_by("pk"), after=cursor),
    ],
    ids=["other direction", "other order", "more keys", "nulls elsewhere", "other model"],
)
def test_cursor_of_another_list_is_refused(shelf, other):
    shelf(3)
    for order in ("pages", "rating"):
        cursor = keyset_page(Book.objects.order_by(order), first=1).end_cursor

        with pytest.raises(InvalidCursorError) as caught:
            other(cursor)

        assert str(caught.value) == (
            "Argument `after` is not a valid cursor for this list: it belongs to another list, ordering or tenant."
        )


def test_cursor_of_another_tenant_is_refused(shelf):
    shelf(3)
    with tenant_context(1):
        cursor = keyset_page(Book.objects.all(), first=1).end_cursor
        assert len(keyset_page(Book.objects.all(), after=cursor).rows) == 2

    for tenant in (2, "1", None):
        with tenant_context(tenant), pytest.raises(InvalidCursorError, match="another list, ordering or tenant"):
            keyset_page(Book.objects.all(), before=cursor)


def test_foreign_key_to_another_column_and_text_primary_key(shelf):
    made = shelf(4)
    Shop.objects.bulk_create(Shop(code=f"s{number}", bestseller=made[number % 4]) for number in range(7))

    assert walk(Shop.objects.all(), size=2, order_by="-code") == [f"s{number}" for number in range(6, -1, -1)]


def test_count_of_related_rows_is_a_key(shelf):
    made = shelf(6)
    tags = [Tag.objects.create(slug=slug) for slug in "abc"]
    for number, book in enumerate(made):
        book.tags.set(tags[: number % 3])
    queryset = Book.objects.annotate(popularity=Count("tags"))

    right = sorted(made, key=lambda book: (-(made.index(book) % 3), -book.pk))

    assert walk(queryset, size=2, order_by="-popularity") == [book.pk for book in right]
    assert keyset_page(queryset, order_by="-popularity").total() == 6


def test_distinct_rows_of_a_join_come_once(shelf):
    made = shelf(6)
    tags = [Tag.objects.create(slug=slug) for slug in "abc"]
    for book in made:
        book.tags.set(tags)
    queryset = Book.objects.filter(tags__slug__in="abc").distinct()

    assert walk(queryset, size=2, order_by="author__name") == walk(Book.objects.all(), size=9, order_by="author__name")


def test_annotation_by_alias_is_a_key(shelf):
    shelf(5)
    queryset = Book.objects.alias(size=Length("title"))

    assert walk(queryset, size=2, order_by="size") == list(queryset.order_by("size", "pk").values_list("pk", flat=True))


def related(queryset):
    return queryset.select_related("author", "editor").prefetch_related("tags")


@pytest.mark.parametrize(
    "narrow",
    [
        related,
        lambda queryset: queryset.only("title").defer("data"),
        lambda queryset: queryset.defer("rating", "pages"),
        lambda queryset: queryset.filter(author__name__gte="").distinct(),
        lambda queryset: queryset.annotate(popularity=Count("tags")),
        lambda queryset: queryset.select_for_update(of=("self",)),
        lambda queryset: queryset.filter(pk__in=Book.objects.filter(pages__gte=0)),
        lambda queryset: queryset.exclude(tags__slug="absent"),
        lambda queryset: queryset.extra(where=["pages >= %s"], params=[0]),
        lambda queryset: queryset.alias(size=Length("title")),
    ],
)
@pytest.mark.parametrize("is_backward", [False, True])
def test_ranges_of_any_queryset_come_together(shelf, narrow, is_backward):
    made = shelf(18)
    made[3].tags.add(Tag.objects.create(slug="a"), Tag.objects.create(slug="b"))
    Book.objects.filter(pages=1).update(editor=F("author"))
    order = ("editor__name", "-pages", F("rating").desc(nulls_last=True))

    rows = walk(narrow(Book.objects.all()), size=2, is_backward=is_backward, order_by=order)

    assert rows == list(Book.objects.order_by(*order, "-pk").values_list("pk", flat=True))


@pytest.mark.parametrize("empty", [lambda rows: rows.none(), lambda rows: rows.filter(pk__in=[])])
def test_ranges_of_nothing_are_empty(shelf, empty):
    shelf(3)
    after = keyset_page(Book.objects.all(), order_by=("pages", "-title"), first=1).end_cursor

    page = keyset_page(empty(Book.objects.all()), order_by=("pages", "-title"), first=1, after=after)

    assert (page.rows, page.has_next, page.has_previous) == ([], False, False)


# Statements.


@pytest.mark.parametrize("is_backward", [False, True])
def test_page_of_several_ranges_is_one_statement(shelf, is_backward):
    shelf(20)
    order = ("pages", "-rating", "title")
    middle = keyset_page(related(Book.objects.all()), order_by=order, first=10)
    place = {"last": 3, "before": middle.end_cursor} if is_backward else {"first": 3, "after": middle.end_cursor}
    page = keyset_page(Book.objects.select_related("author"), order_by=order, **place)

    with CaptureQueriesContext(connection) as statements:
        assert len(page.rows) == 3
        assert [page.cursor(row) for row in page.rows][2] == page.end_cursor
        assert page.rows[0].author.name is not None
    assert len(statements) == 1
    assert statements[0]["sql"].count(" UNION ALL ") > 0

    with CaptureQueriesContext(connection) as statements:
        assert (page.has_previous, page.has_next) == (True, True)
    assert len(statements) == 1


def test_prefetch_of_several_ranges_is_one_statement_for_all(shelf, django_assert_num_queries):
    made = shelf(20)
    made[0].tags.add(Tag.objects.create(slug="a"))
    after = keyset_page(Book.objects.order_by("pages", "-title"), first=5).end_cursor

    with django_assert_num_queries(2):
        rows = keyset_page(related(Book.objects.order_by("pages", "-title")), first=9, after=after).rows
        assert sum(len(row.tags.all()) for row in rows) <= 1


def test_page_is_one_statement_and_its_cursors_none(shelf):
    shelf(8)

    with CaptureQueriesContext(connection) as statements:
        page = keyset_page(books(), order_by=("author__name", "score"), first=3)
        assert len(statements) == 0
        cursors = [page.cursor(row) for row in page.rows]
        assert (page.start_cursor, page.end_cursor) == (cursors[0], cursors[2])
        assert page.has_next is True
        assert page.has_previous is False

    assert len(statements) == 1


@pytest.mark.parametrize("is_backward", [False, True])
def test_other_direction_and_total_are_one_statement_each(shelf, is_backward):
    shelf(8)
    start = keyset_page(Book.objects.all(), first=4)
    place = {"last": 2, "before": start.end_cursor} if is_backward else {"first": 2, "after": start.end_cursor}
    page = keyset_page(Book.objects.all(), **place)

    with CaptureQueriesContext(connection) as statements:
        assert (page.has_previous, page.has_next) == (True, True)
    assert len(statements) == 2

    with CaptureQueriesContext(connection) as statements:
        assert (page.total(), page.total()) == (8, 8)
        assert (page.has_previous, page.has_next, len(page.rows)) == (True, True, 2)
    assert len(statements) == 1


@pytest.mark.parametrize(
    "narrow",
    [
        lambda queryset: queryset.only("title"),
        lambda queryset: queryset.defer("pages", "author"),
        lambda queryset: queryset.defer("pages", "data"),
        lambda queryset: queryset.defer("data"),
        lambda queryset: queryset.select_related("author").only("author__name"),
    ],
)
def test_deferred_keys_are_read_with_their_rows(shelf, narrow):
    shelf(5)
    queryset = narrow(Book.objects.all())

    with CaptureQueriesContext(connection) as statements:
        page = keyset_page(queryset, order_by=("pages", "author", "price"), first=3)
        cursor = page.end_cursor
    assert len(statements) == 1
    assert page.rows[0].get_deferred_fields() <= queryset.first().get_deferred_fields()

    whole = keyset_page(Book.objects.all(), order_by=("pages", "author", "price"), first=3)
    assert whole.end_cursor == cursor


@pytest.mark.parametrize("is_backward", [False, True])
def test_keys_of_a_parent_model_and_of_a_proxy_are_found_in_their_table(is_backward):
    with connection.schema_editor() as editor:
        editor.create_model(Find)
        editor.create_model(DatedFind)
    for number in range(13):
        DatedFind.objects.create(rank=number % 3, year=None if number % 4 == 0 else number % 2)

    for model in (DatedFind, ProxyFind):
        rows = list(model.objects.order_by("rank", "-year", "-pk").values_list("pk", flat=True))
        assert walk(model.objects.all(), order_by=("rank", "-year"), size=4, is_backward=is_backward) == rows
