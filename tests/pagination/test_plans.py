"""Plans of PostgreSQL: a page is one range of the index, as deep as one likes."""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dbopt.pagination import keyset_page
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db

ROWS = 20_000


@pytest.fixture
def long_list():
    author = Author.objects.create(name="A", email="a@example.com")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO testapp_book (key, title, author_id, price, pages, data)
            SELECT gen_random_uuid(), 'book ' || n, %s, 0, n / 7, '{}' FROM generate_series(1, %s) AS n
            """,
            [author.pk, ROWS],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("CREATE INDEX test_book_pages ON testapp_book (pages DESC, id DESC)")
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
