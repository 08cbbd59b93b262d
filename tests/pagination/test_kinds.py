"""Every kind of key, with ties and NULLs, in any mix of directions: every row exactly once, in the database's order."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.db.models.functions import Collate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbopt.pagination import keyset_page
from tests.fuzzing import examples
from tests.pagination.specimens import EDGES, NEVER_NULL, NOT_ON_SQLITE, Specimen

PLACEMENTS = (None, "nulls_first", "nulls_last")
ONE_BY_ONE = [
    (kind, is_descending, placement)
    for kind in EDGES
    for is_descending in (False, True)
    for placement in ((None,) if kind in NEVER_NULL else ("nulls_first", "nulls_last"))
]


def item(kind, is_descending, placement):
    placed = {} if placement is None else {placement: True}
    return F(kind).desc(**placed) if is_descending else F(kind).asc(**placed)


def walk(rows, order, *, size, is_backward):
    """Read all pages, as a client does."""
    pages, cursor = [], None
    while True:
        place = {"last": size, "before": cursor} if is_backward else {"first": size, "after": cursor}
        page = keyset_page(rows, order_by=[item(*key) for key in order], **place)
        found = [row.pk for row in page.rows]
        assert len(found) <= size
        pages.insert(0, found) if is_backward else pages.append(found)
        if cursor is not None:
            assert (page.has_next if is_backward else page.has_previous) is True
        if not (page.has_previous if is_backward else page.has_next):
            return [pk for found in pages for pk in found]
        cursor = page.start_cursor if is_backward else page.end_cursor


def expected(rows, order):
    """What the database says, asked at once; NULLs are larger than anything where nothing was said."""
    items = []
    for kind, is_descending, placement in order:
        placed = placement or ("nulls_first" if is_descending else "nulls_last")
        items.append(item(kind, is_descending, placed))
    return list(rows.order_by(*items, "-pk" if order[-1][1] else "pk").values_list("pk", flat=True))


def values_of(kind, alias):
    found = EDGES[kind]
    if alias == "sqlite":
        # Told apart by text: NaN equals nothing.
        found = [value for value in found if str(value) not in map(str, NOT_ON_SQLITE.get(kind, ()))]
    return found if kind in NEVER_NULL else [*found, None]


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@pytest.mark.parametrize("key", ONE_BY_ONE, ids=str)
def test_each_kind_in_each_direction(specimens, alias, key):
    rows = specimens(alias)
    values = values_of(key[0], alias)
    # Ties of each value, not beside each other.
    rows.bulk_create([Specimen(**{key[0]: value}) for value in [*values, *values[::-1]]])

    right = expected(rows.all(), [key])

    for size in (1, 2, 3, len(right), len(right) + 1):
        for is_backward in (False, True):
            assert walk(rows.all(), [key], size=size, is_backward=is_backward) == right


@st.composite
def orders_and_rows(draw, alias):
    kinds = draw(st.lists(st.sampled_from(list(EDGES)), min_size=1, max_size=4, unique=True))
    order = [
        (kind, draw(st.booleans()), None if kind in NEVER_NULL else draw(st.sampled_from(PLACEMENTS))) for kind in kinds
    ]
    # Few values a column, so that there are ties on all keys and columns of nothing but NULL.
    pools = {kind: draw(st.lists(st.sampled_from(values_of(kind, alias)), min_size=1, max_size=3)) for kind in kinds}
    row = st.fixed_dictionaries({kind: st.sampled_from(pool) for kind, pool in pools.items()})
    return order, draw(st.lists(row, max_size=14))


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_mix_of_keys(specimens, alias, data):
    rows = specimens(alias)
    order, made = data.draw(orders_and_rows(alias))
    rows.all().delete()
    rows.bulk_create([Specimen(**values) for values in made])
    right = expected(rows.all(), order)

    size, is_backward = data.draw(st.integers(1, 15)), data.draw(st.booleans())

    assert walk(rows.all(), order, size=size, is_backward=is_backward) == right


@pytest.mark.parametrize("alias", ["default", "sqlite"])
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_two_cursors_bound_a_page(specimens, alias, data):
    rows = specimens(alias)
    order, made = data.draw(orders_and_rows(alias))
    rows.all().delete()
    rows.bulk_create([Specimen(**values) for values in [*made, {}, {}]])
    right = expected(rows.all(), order)
    whole = keyset_page(rows.all(), order_by=[item(*key) for key in order], first=len(right))
    low, high, size = (data.draw(st.integers(0, len(right) - 1)) for _ in range(3))
    after, before = whole.cursor(whole.rows[low]), whole.cursor(whole.rows[high])
    inside = right[low + 1 : high]

    for place, found in (({"first": size}, inside[:size]), ({"last": size}, inside[-size:] if size else [])):
        page = keyset_page(rows.all(), order_by=[item(*key) for key in order], after=after, before=before, **place)
        assert [row.pk for row in page.rows] == found


COLLATIONS = {
    "bytes": "FROM pg_catalog.pg_c_utf8",
    "German": "(provider = icu, locale = 'de-DE')",
    # Where "a" and "A" are equal, they are ties.
    "any case": "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
}


@pytest.fixture(params=COLLATIONS)
def texts(request, specimens):
    """Rows of text under a collation that is called `tested`."""
    rows = specimens("default")
    rows.bulk_create([Specimen(text=value) for value in [*EDGES["text"], None, *EDGES["text"]]])
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"CREATE COLLATION tested {COLLATIONS[request.param]}")
    except DatabaseError as error:
        pytest.skip(f"This PostgreSQL has no such collation: {error}")
    return rows


@pytest.mark.parametrize("is_backward", [False, True])
def test_text_sorts_by_the_collation_of_its_column(texts, is_backward):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE pagination_tests_specimen ALTER text TYPE varchar(50) COLLATE tested")
    order = [("text", True, "nulls_last")]

    assert walk(texts.all(), order, size=2, is_backward=is_backward) == expected(texts.all(), order)


def test_text_sorts_by_the_collation_of_an_annotation(texts):
    queryset = texts.annotate(sorted_text=Collate("text", "tested"))
    order = [("sorted_text", False, "nulls_first")]

    assert walk(queryset, order, size=2, is_backward=False) == expected(queryset, order)


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_different_texts_that_a_collation_calls_equal_are_ties(specimens, collation):
    rows = specimens("sqlite")
    rows.bulk_create([Specimen(text=value) for value in ["a", "A", "a ", "A  ", "b", "", " ", None] * 2])
    queryset = rows.annotate(sorted_text=Collate("text", collation))
    order = [("sorted_text", True, "nulls_first")]

    for size in (1, 2, 3):
        assert walk(queryset, order, size=size, is_backward=False) == expected(queryset, order)


def test_text_with_a_nul_byte_where_the_database_keeps_it(specimens):
    rows = specimens("sqlite")
    rows.bulk_create([Specimen(text=value) for value in ["a\x00b", "a", "a\x00", "\x00"]])
    order = [("text", False, "nulls_last")]

    assert walk(rows.all(), order, size=1, is_backward=False) == expected(rows.all(), order)
