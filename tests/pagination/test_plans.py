"""Plans of PostgreSQL: a page is one range of the index, as deep as one likes."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from dbopt.pagination import keyset_page
from dbopt.pagination.order import order_of
from dbopt.testing import assert_uses_index
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db

ROWS = 20_000


@pytest.fixture
def long_list():
    author = Author.objects.create(name="A", email="a@example.com")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO testapp_book (key, title, author_id, price, pages, data, rating)
            SELECT gen_random_uuid(), 'book ' || n, %s, n %% 11, n / 7, '{}', CASE WHEN n %% 5 > 0 THEN n %% 100 END
            FROM generate_series(1, %s) AS n
            """,
            [author.pk, ROWS],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("CREATE INDEX test_book_pages ON testapp_book (pages DESC, id DESC)")
        cursor.execute("CREATE INDEX test_book_mixed ON testapp_book (rating, price DESC, id DESC)")
        cursor.execute("CREATE INDEX test_book_nulls ON testapp_book (rating DESC NULLS LAST, id DESC)")
        cursor.execute("ANALYZE testapp_book")


def plan_of(statement):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        (found,) = cursor.fetchone()
    return (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]


def scan_of(plan):
    while "Plans" in plan:
        (plan,) = plan["Plans"]
    return plan


def nodes_of(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


def buffers(plan):
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


def cursor_at(depth):
    queryset = Book.objects.order_by("-pages")
    row = Book.objects.order_by("-pages", "-pk")[int(ROWS * depth)]
    return keyset_page(queryset).cursor(row)


def statements_of(ask):
    with CaptureQueriesContext(connection) as captured:
        ask()
    return [query["sql"] for query in captured]


@pytest.mark.parametrize("is_backward", [False, True])
def test_page_is_one_index_range_at_any_depth(long_list, is_backward):
    plans = []
    for depth in (0.1, 0.9):
        place = {"last": 100, "before": cursor_at(depth)} if is_backward else {"first": 100, "after": cursor_at(depth)}
        (statement,) = statements_of(lambda place=place: keyset_page(Book.objects.order_by("-pages"), **place).rows)
        plans.append(plan_of(statement))

    for plan in plans:
        scan = scan_of(plan)
        assert (plan["Node Type"], scan["Node Type"]) == ("Limit", "Index Scan")
        assert scan["Index Name"] == "test_book_pages"
        assert scan["Index Cond"].startswith("(ROW(pages, id) ")
        assert "Filter" not in scan
        assert plan["Actual Rows"] == 101
    shallow, deep = map(buffers, plans)
    assert deep <= shallow + 5


def test_offset_reads_more_the_deeper_it_goes(long_list):
    """What the row comparison is measured against."""
    queryset = Book.objects.order_by("-pages", "-pk")
    deep = int(ROWS * 0.9)
    (by_offset,) = statements_of(lambda: list(queryset[deep : deep + 101]))
    after = cursor_at(0.9)
    (by_cursor,) = statements_of(lambda: keyset_page(Book.objects.order_by("-pages"), first=100, after=after).rows)

    assert buffers(plan_of(by_offset)) > 10 * buffers(plan_of(by_cursor))


@pytest.mark.parametrize("depth", [0.0001, 0.9999])
def test_look_behind_is_one_index_range_of_one_row(long_list, depth):
    page = keyset_page(Book.objects.order_by("-pages"), first=1, after=cursor_at(depth))
    assert len(page.rows) == 1

    (statement,) = statements_of(lambda: page.has_previous)
    plan = plan_of(statement)

    assert scan_of(plan)["Index Name"] == "test_book_pages"
    assert scan_of(plan)["Index Cond"].startswith("(ROW(pages, id) > ")
    assert buffers(plan) <= 10


ORDERS = {
    "test_book_pages": ["-pages"],
    "test_book_mixed": ["rating", "-price"],
    "test_book_nulls": [F("rating").desc(nulls_last=True)],
}


# Every fifth book has no rating: places before, at and behind the first of them.
DEPTHS = (0, 100, 10_000, 15_900, 16_100, 19_000)


@pytest.mark.parametrize("index", ORDERS)
def test_page_of_any_order_reads_little_more_than_itself(long_list, index):
    for is_backward in (False, True):
        for depth in (None, *DEPTHS):
            after = None if depth is None else place_of(index, depth, is_backward=is_backward)
            place = {"last": 100, "before": after} if is_backward else {"first": 100, "after": after}
            page = keyset_page(Book.objects.all(), order_by=ORDERS[index], **place)
            (statement,) = statements_of(lambda page=page: page.rows)
            nodes = list(nodes_of(plan_of(statement)))

            assert_uses_index((statement, ()), index, allow_sort=True, disable=())
            assert {node["Index Name"] for node in nodes if "Index Name" in node} == {index}
            assert not [node for node in nodes if "Filter" in node or node["Node Type"] == "Seq Scan"]
            # The rows of one rating are found in the order of the other keys; a sort puts them among the other ranges.
            assert all(node["Actual Rows"] <= 101 * 3 for node in nodes)
            assert buffers(nodes[0]) <= 350


@pytest.mark.parametrize("index", ORDERS)
def test_look_behind_of_any_order_reads_a_row_a_range(long_list, index):
    for depth in DEPTHS[1:]:
        after = place_of(index, depth, is_backward=False)
        page = keyset_page(Book.objects.all(), order_by=ORDERS[index], first=1, after=after)
        assert len(page.rows) == 1

        (statement,) = statements_of(lambda page=page: page.has_previous)
        plan = plan_of(statement)

        assert {node["Index Name"] for node in nodes_of(plan) if "Index Name" in node} == {index}
        assert buffers(plan) <= 20


def place_of(index, depth, *, is_backward):
    order = order_of(Book.objects.all(), ORDERS[index])
    row = order.sort(Book.objects.all(), is_backward=is_backward)[depth]
    return keyset_page(Book.objects.all(), order_by=ORDERS[index]).cursor(row)
