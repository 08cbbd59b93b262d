"""Which rows a statement names: what Django sends, and what must not be taken for it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import F

from dbopt.statements import Rows, rows_of
from dbopt.statements.memory import LONGEST_REMEMBERED
from tests.testapp.models import Author, Book, Publisher

BOOK = "testapp_book"


@pytest.fixture
def sent():
    """(SQL, parameters) of what Django sends to the database."""
    statements = []

    def remember(execute, sql, params, many, context):
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(remember):
        yield statements


@pytest.fixture
def book(db):
    author = Author.objects.create(name="a", email="a@example.org")
    return Book.objects.create(title="b", author=author, publisher=Publisher.objects.create(name="p"))


def get(book):
    Book.objects.get(pk=book.pk)


def get_of_tenant(book):
    Book.objects.filter(author=book.author_id).get(pk=book.pk)


def first(book):
    Book.objects.order_by("pk").filter(pk=book.pk).first()


def exists(book):
    assert Book.objects.filter(pk=book.pk).exists()


def count(book):
    assert Book.objects.filter(pk__in=[book.pk]).count() == 1


def in_bulk(book):
    assert len(Book.objects.in_bulk([book.pk])) == 1


def values(book):
    assert list(Book.objects.filter(pk=book.pk).values_list("title", "pages")) == [("b", 0)]


def save(book):
    book.save()


def save_one_field(book):
    book.pages = F("pages") + 1
    book.save(update_fields=["pages"])


def update_of_tenant(book):
    assert Book.objects.filter(author=book.author_id, pk=book.pk).update(title="c", pages=F("pages") - 1) == 1


def delete(book):
    Book.objects.filter(pk=book.pk)._raw_delete("default")


@pytest.mark.parametrize(
    "ask",
    [get, get_of_tenant, first, exists, count, in_bulk, values, save, save_one_field, update_of_tenant, delete],
)
def test_key_is_found_among_the_parameters(ask, book, sent):
    sent.clear()

    ask(book)

    ((sql, params),) = sent
    (rows,) = (rows for rows in rows_of(sql) if rows.column == "id")
    assert rows.table == BOOK
    assert list(params[rows.first : rows.first + rows.count]) == [book.pk]


def test_deleting_a_model_names_the_rows_of_its_last_statement(book, sent):
    sent.clear()
    pk = book.pk

    book.delete()

    sql, params = sent[-1]
    assert sql.startswith("DELETE FROM")
    assert [(rows.table, rows.column, params[rows.first : rows.first + rows.count]) for rows in rows_of(sql)] == [
        (BOOK, "id", (pk,))
    ]


def test_every_entry_of_conditions_that_all_hold_is_given():
    sql = 'SELECT "t"."a" FROM "t" WHERE ("t"."b" = %s AND "t"."c" > %s AND "t"."d" IS NULL AND "t"."e" IN (%s, %s)) LIMIT 5'

    assert rows_of(sql) == (Rows("t", "b", 0, 1), Rows("t", "e", 2, 2))


def test_a_column_that_gets_a_new_value_bounds_nothing():
    sql = 'UPDATE "t" SET "a" = %s, "b" = %s WHERE ("t"."a" = %s AND "t"."id" = %s)'

    assert rows_of(sql) == (Rows("t", "id", 3, 1),)


@pytest.mark.parametrize(
    "sql",
    [
        # More rows than the named ones.
        'SELECT "t"."a" FROM "t"',
        'SELECT "t"."a" FROM "t" WHERE ("t"."id" = %s OR "t"."a" = %s)',
        'SELECT "t"."a" FROM "t" WHERE NOT ("t"."id" = %s)',
        'SELECT "t"."a" FROM "t" WHERE "t"."id" > %s',
        'SELECT "t"."a" FROM "t" WHERE "t"."id" = "t"."a"',
        'DELETE FROM "t"',
        'UPDATE "t" SET "a" = %s',
        # More tables.
        'SELECT "t"."a" FROM "t", "u" WHERE "t"."id" = %s',
        'SELECT "t"."a" FROM "t" INNER JOIN "u" ON ("t"."u_id" = "u"."id") WHERE "t"."id" = %s',
        'SELECT (SELECT "u"."a" FROM "u") FROM "t" WHERE "t"."id" = %s',
        'SELECT "t"."a" FROM "t" WHERE ("t"."id" = %s AND EXISTS(SELECT 1 FROM "u"))',
        'SELECT "u"."a" FROM "u" UNION SELECT "t"."a" FROM "t" WHERE "t"."id" = %s',
        'SELECT "t"."a" FROM "t" WHERE "t"."id" = %s UNION SELECT "u"."a" FROM "u"',
        'SELECT "t"."a" FROM "t" WHERE "u"."id" = %s',
        'WITH "x" AS (DELETE FROM "u") DELETE FROM "t" WHERE "t"."id" = %s',
        'DELETE FROM "t" USING "u" WHERE "t"."id" = %s',
        'INSERT INTO "t" SELECT "u"."a" FROM "u" WHERE "u"."id" = %s',
        'UPDATE "t" SET "a" = (SELECT "u"."a" FROM "u" WHERE "u"."id" = %s) WHERE "t"."id" = %s',
        'DELETE FROM "u"; DELETE FROM "t" WHERE "t"."id" = %s',
        'DELETE FROM "t" WHERE "t"."id" = %s; DELETE FROM "u"',
        # Comments and literals hide where a statement ends.
        'SELECT a FROM u -- FROM "t" WHERE "t"."id" = %s',
        'UPDATE "t" SET "a" = %s -- WHERE "t"."id" = %s',
        'UPDATE "t" SET "a" = %s /* WHERE "t"."id" = %s',
        'UPDATE "t" SET "a" = \' WHERE "t"."id" = %s',
        # The key itself changes.
        'UPDATE "t" SET "id" = %s WHERE "t"."id" = %s',
        'UPDATE "t" SET id=%s WHERE "t"."id" = %s',
        'UPDATE "t" SET ("a", "id") = (%s, %s) WHERE "t"."id" = %s',
        # Parameters that are not counted by their position.
        'SELECT "t"."a" FROM "t" WHERE "t"."id" = %(id)s',
        'UPDATE "t" SET "a" = "a" %% %s WHERE "t"."id" = %s',
        'SELECT "t"."a%s" FROM "t" WHERE "t"."id" = %s',
        'SELECT "t"."a" FROM "t" WHERE "t"."id" = 5',
        "",
    ],
)
def test_other_shapes_name_no_rows(sql):
    assert rows_of(sql) == ()


@pytest.mark.parametrize("sql", [b'DELETE FROM "t" WHERE "t"."id" = %s', None, 5])
def test_of_what_is_no_text_nothing_is_known(sql):
    assert rows_of(sql) == ()


def test_long_lists_are_read_too():
    size = LONGEST_REMEMBERED
    sql = f'DELETE FROM "t" WHERE "t"."id" IN ({", ".join(["%s"] * size)})'

    assert rows_of(sql) == (Rows("t", "id", 0, size),)


def test_column_of_a_key_that_is_only_read_is_not_taken_for_changed():
    sql = 'UPDATE "t" SET "a" = (CASE WHEN ("t"."id" = %s) THEN %s ELSE NULL END) WHERE "t"."id" IN (%s, %s)'

    assert rows_of(sql) == (Rows("t", "id", 2, 2),)
    assert rows_of('UPDATE "t" SET "id" = "t"."a" WHERE "t"."id" = %s') == ()
