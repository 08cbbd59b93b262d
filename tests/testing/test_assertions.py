"""assert_uses_index against real plans of a real PostgreSQL."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Q

from dbopt.exceptions import ConfigurationError
from dbopt.testing import assert_uses_index
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db

SECRET = "nobody-may-see-this-title"
KINDS = {
    "btree": ("(pages, rating)", Book.objects.filter(pages=7).order_by("rating")),
    "hash": ("USING hash (title)", Book.objects.filter(title=SECRET)),
    "gin": ("USING gin (data jsonb_path_ops)", Book.objects.filter(data__contains={"a": SECRET})),
    "brin": ("USING brin (published_at)", Book.objects.filter(published_at__year=2020)),
    "gist": (
        "USING gist (int4range(pages, pages + 10))",
        ("SELECT id FROM testapp_book WHERE int4range(pages, pages + 10) @> %s", [7]),
    ),
    "partial": ("(rating) WHERE pages > 500", Book.objects.filter(pages__gt=500).order_by("rating")),
    "expression": ("(upper(title))", Book.objects.filter(title__iexact=SECRET)),
}


def create_index(definition, table="testapp_book"):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX idx_wanted ON {table} {definition}")


def message_of(queryset, name="idx_wanted", **options):
    with pytest.raises(AssertionError) as caught:
        assert_uses_index(queryset, name, **options)
    return str(caught.value)


def planner_setting(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_index_is_recognised_and_missed_when_dropped(kind):
    definition, queryset = KINDS[kind]
    create_index(definition)

    assert_uses_index(queryset, "idx_wanted")

    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX idx_wanted")
    assert message_of(queryset).startswith(
        "PostgreSQL does not use index 'idx_wanted'. No index of that name exists.\nPlan:\n"
    )


def test_message_shows_nodes_and_indexes_but_no_literal():
    create_index("(pages)")

    message = message_of(Book.objects.filter(title=SECRET).order_by("rating"))

    assert message == (
        "PostgreSQL does not use index 'idx_wanted'. It exists on table 'testapp_book'.\n"
        "Plan:\n  Sort\n    Seq Scan on testapp_book"
    )


def test_sort_above_the_right_index_fails_unless_allowed():
    create_index("(pages)")
    queryset = Book.objects.filter(pages=7).order_by("rating")

    assert_uses_index(queryset, "idx_wanted", allow_sort=True)
    assert message_of(queryset).startswith(
        "PostgreSQL uses index 'idx_wanted' and still sorts (allow_sort=True accepts that). "
        "It exists on table 'testapp_book'.\nPlan:\n  Sort\n"
    )


def test_incremental_sort_counts_as_sort():
    create_index("(pages)")
    queryset = Book.objects.order_by("pages", "rating")[:5]

    message = message_of(queryset, disable=("enable_seqscan", "enable_bitmapscan", "enable_sort"))

    assert "still sorts" in message
    assert "Limit\n    Incremental Sort\n      Index Scan using idx_wanted on testapp_book" in message


def test_index_only_refuses_a_plan_that_reads_the_table():
    create_index("(pages) INCLUDE (rating)")
    covered = Book.objects.filter(pages=7).values_list("pages", "rating")

    assert_uses_index(covered, "idx_wanted", index_only=True, disable=("enable_seqscan", "enable_bitmapscan"))
    message = message_of(Book.objects.filter(pages=7), index_only=True)

    assert message.startswith("PostgreSQL reads the table beside index 'idx_wanted': ")


def test_invalid_index_is_named_as_such():
    create_index("(pages)")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_wanted'::regclass")

    message = message_of(Book.objects.filter(pages=7))

    assert message.startswith(
        "PostgreSQL does not use index 'idx_wanted'. It exists on table 'testapp_book', but is INVALID.\n"
    )


def test_disable_nothing_plans_as_production_does():
    queryset = Book.objects.filter(Q(pages__gt=-1) | Q(pages__lt=10**6))
    with connection.cursor() as cursor:
        # A new file: rows that other tests rolled back leave pages behind, and then the index is the cheaper way.
        cursor.execute("TRUNCATE testapp_book CASCADE")
        cursor.execute("ANALYZE testapp_book")
    create_index("(pages)")

    message = message_of(queryset, disable=())

    assert message.endswith("Plan:\n  Seq Scan on testapp_book")


def test_planner_settings_and_transaction_survive():
    create_index("(pages)")

    assert_uses_index(Book.objects.filter(pages=7), "idx_wanted")

    assert planner_setting("enable_seqscan") == "on"
    assert planner_setting("enable_sort") == "on"
    assert Author.objects.create(name="b", email="b@example.org").pk


def test_query_is_explained_and_never_run():
    create_index("(pages)")
    sql = "UPDATE testapp_book SET title = %s WHERE pages = %s"

    assert_uses_index((sql, [SECRET, 7]), "idx_wanted")

    assert not Book.objects.filter(title=SECRET).exists()


def test_query_without_possible_result_is_refused():
    assert message_of(Book.objects.none()) == (
        "The query on Book can have no result, so Django sends nothing to the database."
    )


def test_other_databases_are_refused(settings, monkeypatch):
    monkeypatch.setattr(connection, "vendor", "sqlite", raising=False)

    with pytest.raises(ConfigurationError) as caught:
        assert_uses_index(Book.objects.all(), "idx_wanted")

    assert str(caught.value) == "assert_uses_index needs PostgreSQL, and database 'default' is sqlite."
