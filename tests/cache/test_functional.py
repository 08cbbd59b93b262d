"""The functional table: what other caches keep after a write, or take for the same question. One test a row."""

# ruff: noqa: PLW0108  objects that a test makes are not there when the table is read

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connection
from django.db.models import Case, Exists, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Coalesce, Now
from django.db.transaction import atomic, savepoint, savepoint_rollback, set_rollback
from django.test import override_settings
from psycopg import sql

from dbopt.cache import cached_query, invalidate, writes
from dbopt.tenancy import tenant_context
from tests.cache.databases import second_database
from tests.testapp.models import Author, Book, Cafe, Note, Place, Profile, Publisher, Stock, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

FUNCTION = """
    CREATE OR REPLACE FUNCTION touch_book() RETURNS integer LANGUAGE sql
    AS $$ UPDATE testapp_book SET title = 'New'; SELECT 1 $$
"""
MOMENT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ada():
    return Author.objects.get(email="ada@example.org")


def book():
    return Book.objects.get(title="Notes")


def run(statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def saved(instance, **values):
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save()


def copied_in():
    with connection.cursor() as cursor, cursor.copy("COPY testapp_author (name, email) FROM STDIN") as copy:
        copy.write_row(("Grace", "grace@example.org"))


def rolled_back(write):
    with atomic():
        write()
        set_rollback(True)


def to_savepoint(write):
    with atomic():
        mark = savepoint()
        write()
        savepoint_rollback(mark)


def names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def titles():
    return list(Book.objects.order_by("title").values_list("title", "pages", "author__name"))


def tags():
    return sorted(book().tags.values_list("slug", flat=True))


def has_long_books():
    return Exists(Book.objects.filter(author=OuterRef("pk"), pages__gt=100))


def first_title():
    return Subquery(Book.objects.filter(author=OuterRef("pk")).values("title")[:1])


def grace():
    return Author.objects.get_or_create(name="Grace", email="grace@example.org")[0]


def science():
    return Tag.objects.get(slug="science")


async def made_async():
    await Author.objects.acreate(name="B", email="b@example.org")


# Row -> a question, and a write that changes its answer, or must not.
TABLE = {
    "F01-create": (names, grace),
    "F01-save": (names, lambda: saved(ada(), name="Countess")),
    "F02-rollback": (names, lambda: rolled_back(grace)),
    "F03-savepoint-rollback": (names, lambda: to_savepoint(grace)),
    "F04-update": (titles, lambda: Book.objects.update(title="New")),
    "F04-update-of-a-join": (titles, lambda: Book.objects.filter(author__name="Ada").update(title="New")),
    "F05-bulk-update": (titles, lambda: Book.objects.bulk_update([Book(pk=book().pk, title="New")], ["title"])),
    "F06-bulk-create": (names, lambda: Author.objects.bulk_create([Author(name="B", email="b@example.org")])),
    "F06b-upsert": (
        names,
        lambda: Author.objects.bulk_create(
            [Author(name="Countess", email="ada@example.org")],
            update_conflicts=True,
            unique_fields=["email"],
            update_fields=["name"],
        ),
    ),
    "F06c-upsert-moves-foreign-key": (
        titles,
        lambda: Book.objects.bulk_create(
            [Book(key=book().key, title="Notes", author=grace())],
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["author"],
        ),
    ),
    "F07-delete": (titles, lambda: book().delete()),
    "F07b-raw-delete": (
        Note.objects.count,
        lambda: Note.objects.all()._raw_delete("default"),
    ),
    "F08-cascade": (titles, lambda: ada().delete()),
    "F09-m2m-add": (tags, lambda: book().tags.add(Tag.objects.get(slug="history"))),
    "F09b-m2m-remove": (tags, lambda: book().tags.remove(science())),
    "F09c-m2m-clear": (tags, lambda: book().tags.clear()),
    "F09d-m2m-set": (tags, lambda: book().tags.set([Tag.objects.get(slug="history")])),
    "F09e-m2m-through": (tags, lambda: Book.tags.through.objects.all().delete()),
    "F09f-m2m-reverse": (tags, lambda: science().books.clear()),
    "F10-raw-update": (titles, lambda: run("UPDATE testapp_book SET title = 'New'")),
    "F10b-truncate": (Note.objects.count, lambda: run("TRUNCATE testapp_note")),
    "F10b-truncate-cascade": (titles, lambda: run("TRUNCATE testapp_publisher CASCADE")),
    "F10c-merge": (
        titles,
        lambda: run(
            "MERGE INTO testapp_book b USING (SELECT 'New' AS t) n ON true WHEN MATCHED THEN UPDATE SET title = n.t"
        ),
    ),
    "F10d-function": (titles, lambda: run("SELECT touch_book()")),
    "F10d-function-in-capitals": (titles, lambda: run('SELECT public."touch_book"() AS x')),
    "F10d-callproc": (titles, lambda: connection.cursor().callproc("touch_book")),
    "F10e-copy": (names, copied_in),
    "F10f-composed": (
        titles,
        lambda: run(sql.SQL("UPDATE {} SET title = {}").format(sql.Identifier("testapp_book"), sql.Literal("New"))),
    ),
    "F10i-cte": (
        Note.objects.count,
        lambda: run("WITH gone AS (DELETE FROM testapp_note RETURNING id) SELECT count(*) FROM gone"),
    ),
    "F10j-bytes": (titles, lambda: run(b"UPDATE testapp_book SET title = 'New'")),
    "F10k-comment": (titles, lambda: run("/* x */ -- y\nUPDATE testapp_book SET title = 'New'")),
    "F10l-two-statements": (titles, lambda: run("SELECT 1; UPDATE testapp_book SET title = 'New'")),
    "F10m-definition": (
        Publisher.objects.count,
        lambda: run("ALTER TABLE testapp_publisher ADD COLUMN x int; ALTER TABLE testapp_publisher DROP COLUMN x"),
    ),
    "F11-save-f": (titles, lambda: saved(book(), pages=F("pages") + 1)),
    "F11b-filter-on-it": (
        lambda: Book.objects.filter(pages=10).count(),
        lambda: saved(book(), pages=F("pages") + 1),
    ),
    "F11c-update-f": (titles, lambda: Book.objects.update(pages=F("pages") + 1)),
    "F12-select-related": (
        lambda: [each.author.name for each in Book.objects.select_related("author")],
        lambda: saved(ada(), name="Countess"),
    ),
    "F12b-prefetch-related": (
        lambda: [[tag.slug for tag in each.tags.all()] for each in Book.objects.prefetch_related("tags")],
        lambda: saved(science(), slug="arts"),
    ),
    "F13-in-subquery": (
        lambda: Author.objects.filter(pk__in=Book.objects.filter(pages__gt=100).values("author")).count(),
        lambda: Book.objects.update(pages=200),
    ),
    "F13b-exists": (lambda: Author.objects.filter(has_long_books()).count(), lambda: Book.objects.update(pages=200)),
    "F13c-not-exists": (
        lambda: Author.objects.filter(~has_long_books()).count(),
        lambda: Book.objects.update(pages=200),
    ),
    "F13d-case-exists": (
        lambda: list(Author.objects.values_list(Case(When(has_long_books(), then=Value(1)), default=Value(0)))),
        lambda: Book.objects.update(pages=200),
    ),
    "F13e-coalesce-subquery": (
        lambda: list(Author.objects.values_list(Coalesce(first_title(), Value("-")))),
        lambda: Book.objects.update(title="New"),
    ),
    "F15-decimal-scale": (
        lambda: Book.objects.filter(price=Decimal("1.5")).count(),
        lambda: Book.objects.update(price=Decimal("1.50")),
    ),
    "F15b-decimal-saved": (
        lambda: Book.objects.filter(price=Decimal("1.50")).count(),
        lambda: saved(book(), price=Decimal("1.5")),
    ),
    "F16-time-zone": (
        lambda: Book.objects.filter(published_at=MOMENT).count(),
        lambda: saved(book(), published_at=MOMENT.astimezone(timezone(timedelta(hours=5)))),
    ),
    "F17-now": (
        lambda: Book.objects.filter(published_at__lte=Now()).count(),
        lambda: saved(book(), published_at=MOMENT),
    ),
    "F21-parent-of-a-child": (
        lambda: list(Place.objects.values_list("name", flat=True)),
        lambda: saved(Cafe.objects.get(), name="New"),
    ),
    "F21b-child-of-a-parent": (
        lambda: list(Cafe.objects.values_list("name", "seats")),
        lambda: Place.objects.update(name="New"),
    ),
    "F21c-parent-by-key": (
        lambda: Place.objects.get(pk=Cafe.objects.get().pk).name,
        lambda: saved(Cafe.objects.get(), name="New"),
    ),
    "F21d-child-by-key": (
        lambda: Cafe.objects.get(pk=Cafe.objects.get().pk).seats,
        lambda: saved(Cafe.objects.get(), seats=3),
    ),
    "F21e-key-of-two-columns": (
        lambda: Stock.objects.get(pk=("north", "Notes")).copies,
        lambda: Stock.objects.filter(pk=("north", "Notes")).update(copies=3),
    ),
    "F24-async": (names, lambda: async_to_sync(made_async)()),
    "F25-generic-relation": (lambda: [note.text for note in ada().notes.all()], lambda: Note.objects.update(text="x")),
    "F26-one-to-one": (lambda: ada().profile.biography, lambda: Profile.objects.update(biography="x")),
}
UNCHANGED = {"F02-rollback", "F03-savepoint-rollback", "F10m-definition"}


@cached_query(timeout=300)
def answer(question: str):
    return TABLE[question][0]()


@pytest.fixture
def shelf(shop_database):
    run(FUNCTION)
    author = Author.objects.create(name="Ada", email="ada@example.org")
    Profile.objects.create(author=author, biography="first")
    made = Book.objects.create(title="Notes", author=author, pages=10)
    made.tags.add(Tag.objects.create(slug="science"))
    Tag.objects.create(slug="history")
    Note.objects.create(subject=author, text="hello")
    Cafe.objects.create(name="Corner")
    Stock.objects.create(shop_code="north", title="Notes")
    functions = {"FUNCTION_WRITES": {"touch_book": ["testapp.Book"]}}
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": functions}):
        yield
    run("DROP FUNCTION touch_book")


@pytest.mark.parametrize("row", TABLE)
def test_row(shelf, elsewhere, row):
    before = elsewhere(answer, row)
    assert elsewhere(answer, row) == before

    TABLE[row][1]()

    after = elsewhere(answer, row)
    assert after == elsewhere(TABLE[row][0])
    assert (after == before) is (row in UNCHANGED)


@cached_query(timeout=300)
def titles_then_touched():
    found = titles()
    run("SELECT touch_book()")
    return found


def test_f10d_function_that_writes_is_never_answered_from_the_cache(shelf, outcomes):
    titles_then_touched()

    assert outcomes(titles_then_touched)["refused"] == {"writes": 1}


@cached_query(timeout=300)
def names_by_copy():
    with connection.cursor() as cursor, cursor.copy("COPY testapp_author (name) TO STDOUT") as copy:
        return list(copy.rows())


@cached_query(timeout=300)
def names_by_stream():
    with connection.cursor() as cursor:
        return list(cursor.stream("SELECT name FROM testapp_author"))


@pytest.mark.parametrize("function", [names_by_copy, names_by_stream])
def test_f10e_what_the_driver_reads_itself_is_not_stored(shelf, outcomes, function):
    assert function() == [("Ada",)]

    assert outcomes(function)["refused"] == {"unobserved": 1}


def test_f10e_copy_in_a_transaction_is_seen_after_its_commit(shelf, elsewhere):
    assert elsewhere(answer, "F10e-copy") == ["Ada"]
    with atomic():
        copied_in()
        assert elsewhere(answer, "F10e-copy") == ["Ada"]
        assert answer("F10e-copy") == ["Ada", "Grace"]

    assert elsewhere(answer, "F10e-copy") == ["Ada", "Grace"]


def test_f10e_copy_through_a_pooled_connection(shelf, elsewhere, monkeypatch):
    """Connections of a pool are opened once, and lent to many threads."""
    connection.close()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1, "max_size": 2, "timeout": 10})
        try:
            assert elsewhere(answer, "F10e-copy") == ["Ada"]
            elsewhere(copied_in)
            assert elsewhere(answer, "F10e-copy") == ["Ada", "Grace"]
        finally:
            connection.close_pool()


@pytest.mark.parametrize("declare", ["invalidate", "writes"])
def test_f10h_write_of_another_program_needs_a_word(shelf, outside, elsewhere, declare):
    assert elsewhere(answer, "F01-save") == ["Ada"]
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    assert elsewhere(answer, "F01-save") == ["Ada"]

    if declare == "invalidate":
        invalidate(Author)
    else:
        with writes(Author):
            pass

    assert elsewhere(answer, "F01-save") == ["Grace"]


def test_f17_answer_that_depends_on_the_time_is_not_stored(shelf, outcomes):
    answer("F17-now")

    assert outcomes(answer)["refused"] == {"volatile": 1}


@cached_query(timeout=300)
def names_in(alias: str):
    return list(Author.objects.using(alias).order_by("name").values_list("name", flat=True))


def test_f22_two_databases_share_nothing(shelf, outside, elsewhere, outcomes):
    with second_database(outside, "archive"):
        assert elsewhere(names_in, "default") == ["Ada"]
        assert elsewhere(names_in, "archive") == []

        Author.objects.using("archive").create(name="Old", email="old@example.org")

        assert elsewhere(names_in, "archive") == ["Old"]
        assert elsewhere(names_in, "default") == ["Ada"]
        assert outcomes(names_in)["hits"] == 1


@cached_query(timeout=300)
def names_of_schema():
    return names()


def test_f23_tenants_with_a_schema_each_share_nothing(shelf, outside):
    tenancy = {"TENANCY": {"RESOLVER": "x.y", "REQUIRED": True}}
    with override_settings(DBOPT={**settings.DBOPT, **tenancy}):
        for tenant in (1, 2):
            outside.execute(f"CREATE SCHEMA t{tenant}")
            outside.execute(f"CREATE TABLE t{tenant}.testapp_author (LIKE public.testapp_author INCLUDING ALL)")
            outside.execute(f"INSERT INTO t{tenant}.testapp_author (id, name, email) VALUES (1, 't{tenant}', 'e')")
        try:
            for tenant in (1, 2, 1):
                run(f"SET search_path TO t{tenant}")
                with tenant_context(tenant):
                    assert names_of_schema() == [f"t{tenant}"]
        finally:
            connection.close()
            outside.execute("DROP SCHEMA t1, t2 CASCADE")


@cached_query(timeout=300)
async def names_async():
    return [author.name async for author in Author.objects.order_by("name")]


def test_f24_async_function_sees_async_writes(shelf):
    async def script():
        assert await names_async() == await names_async() == ["Ada"]
        author = await Author.objects.aget()
        author.name = "Grace"
        await author.asave()
        return await names_async()

    assert async_to_sync(script)() == ["Grace"]
