"""Every way to write that a client can see renews the tokens of what was written."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.db.models import F
from psycopg import sql

from dbopt.cache import cached_query
from tests.cache import shop
from tests.testapp.models import Author, Book, Note, Profile, Publisher, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300)
def everything():
    """Read all tables that the writes below touch."""
    return {
        "authors": list(Author.objects.order_by("pk").values_list("name", "email")),
        "books": list(Book.objects.order_by("pk").values_list("title", "pages", "author__name", "editor__name")),
        "profiles": list(Profile.objects.order_by("pk").values_list("biography", flat=True)),
        "tags": list(Book.tags.through.objects.order_by("pk").values_list("book__title", "tag__slug")),
        "friends": list(Author.friends.through.objects.order_by("pk").values_list("from_author__name", flat=True)),
        "notes": list(Note.objects.order_by("pk").values_list("text", flat=True)),
    }


@pytest.fixture
def shelf(shop_database):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    Profile.objects.create(author=ada, biography="first")
    book = Book.objects.create(title="Notes", author=ada, editor=ada, pages=10)
    book.tags.add(Tag.objects.create(slug="science"))
    Tag.objects.create(slug="history")
    Note.objects.create(subject=ada, text="hello")
    return book


def run(statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def author():
    return Author.objects.get(name="Ada")


def saved(instance, **values):
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save()


WRITES = {
    "save": lambda book: saved(book, title="New"),
    "save_update_fields": lambda book: (setattr(book, "title", "New"), book.save(update_fields=["title"])),
    "create": lambda book: Author.objects.create(name="Grace", email="grace@example.org"),
    "delete_instance": lambda book: book.delete(),
    "delete_queryset": lambda book: Book.objects.all().delete(),
    "raw_delete": lambda book: Note.objects.all()._raw_delete("default"),
    "cascade": lambda book: author().delete(),
    "set_null": lambda book: (
        saved(book, author=Author.objects.create(name="Grace", email="g@example.org")),
        author().delete(),
    ),
    "generic_relation": lambda book: author().notes.all().delete(),
    "update": lambda book: Book.objects.update(title="New"),
    "update_f": lambda book: Book.objects.update(pages=F("pages") + 1),
    "save_f": lambda book: saved(book, pages=F("pages") + 1),
    "bulk_create": lambda book: Author.objects.bulk_create([Author(name="Grace", email="grace@example.org")]),
    "bulk_update": lambda book: (setattr(book, "title", "New"), Book.objects.bulk_update([book], ["title"])),
    "upsert": lambda book: Author.objects.bulk_create(
        [Author(name="Countess", email="ada@example.org")],
        update_conflicts=True,
        unique_fields=["email"],
        update_fields=["name"],
    ),
    "upsert_moving_foreign_key": lambda book: Book.objects.bulk_create(
        [Book(key=book.key, title="Notes", author=Author.objects.create(name="Grace", email="g@example.org"))],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["author"],
    ),
    "get_or_create": lambda book: Author.objects.get_or_create(email="new@example.org", defaults={"name": "New"}),
    "update_or_create": lambda book: Author.objects.update_or_create(
        email="ada@example.org", defaults={"name": "Countess"}
    ),
    "m2m_add": lambda book: book.tags.add(Tag.objects.get(slug="history")),
    "m2m_remove": lambda book: book.tags.remove(Tag.objects.get(slug="science")),
    "m2m_set": lambda book: book.tags.set([Tag.objects.get(slug="history")]),
    "m2m_clear": lambda book: book.tags.clear(),
    "m2m_reverse": lambda book: Tag.objects.get(slug="history").books.set([book]),
    "m2m_symmetrical": lambda book: author().friends.add(Author.objects.create(name="B", email="b@example.org")),
    "m2m_through": lambda book: Book.tags.through.objects.all().delete(),
    "raw_update": lambda book: run("UPDATE testapp_book SET title = 'New'"),
    "raw_upper_case_quoted": lambda book: run('UPDATE "testapp_book" SET "title" = %s', ["New"]),
    "raw_schema_qualified": lambda book: run("UPDATE public.testapp_book SET title = 'New'"),
    "raw_bytes": lambda book: run(b"UPDATE testapp_book SET title = 'New'"),
    "raw_composed": lambda book: run(
        sql.SQL("UPDATE {} SET title = {}").format(sql.Identifier("testapp_book"), sql.Literal("New"))
    ),
    "raw_comment_in_front": lambda book: run(
        "/* a /* nested */ note */ -- more\nUPDATE testapp_book SET title = 'New'"
    ),
    "raw_spaces_in_front": lambda book: run("\n\t update testapp_book set title = 'New'"),
    "raw_two_statements": lambda book: run("SELECT 1; UPDATE testapp_book SET title = 'New'"),
    "raw_transaction_in_one_text": lambda book: run("BEGIN; UPDATE testapp_book SET title = 'New'; COMMIT"),
    "raw_executemany": lambda book: connection.cursor().executemany(
        "UPDATE testapp_book SET title = %s WHERE id = %s", [("New", book.pk), ("Newer", book.pk)]
    ),
    "raw_cte": lambda book: run(
        "WITH gone AS (DELETE FROM testapp_note RETURNING id) SELECT count(*) FROM gone",
    ),
    "raw_merge": lambda book: run(
        "MERGE INTO testapp_book b USING (SELECT 'New' AS title) n ON true WHEN MATCHED THEN UPDATE SET title = n.title"
    ),
    "raw_truncate": lambda book: run("TRUNCATE testapp_note"),
    "raw_truncate_cascade": lambda book: run("TRUNCATE testapp_publisher CASCADE"),
    "raw_do": lambda book: run("DO $$ BEGIN UPDATE testapp_book SET title = 'New'; END $$"),
    "raw_insert_select": lambda book: run(
        "INSERT INTO testapp_note (text, content_type_id, object_id) SELECT 'again', content_type_id, 1 FROM testapp_note"
    ),
    "raw_update_from": lambda book: run("UPDATE testapp_book b SET title = a.name FROM testapp_author a"),
    "raw_explain_analyze": lambda book: run("EXPLAIN ANALYZE UPDATE testapp_book SET title = 'New'"),
    "raw_prepared": lambda book: (
        run("PREPARE renaming AS UPDATE testapp_book SET title = 'New'"),
        run("EXECUTE renaming"),
        run("DEALLOCATE renaming"),
    ),
}


WAYS = [(way, inside) for way in WRITES for inside in ("autocommit", "atomic")]
# Django forbids a COMMIT of one's own inside an atomic block.
WAYS.remove(("raw_transaction_in_one_text", "atomic"))


@pytest.mark.parametrize(("way", "inside"), WAYS)
def test_write_is_seen_by_the_next_read(shelf, elsewhere, way, inside):
    from django.db.transaction import atomic

    before = elsewhere(everything)
    assert elsewhere(everything) == before

    if inside == "atomic":
        with atomic():
            WRITES[way](shelf)
    else:
        WRITES[way](shelf)

    after = elsewhere(everything)
    assert after == elsewhere(everything.uncached)
    assert after != before


def test_write_of_another_table_keeps_the_value(shelf, elsewhere, outcomes):
    elsewhere(shop.names)

    Publisher.objects.create(name="Penguin")
    elsewhere(shop.names)

    assert outcomes(shop.names)["hits"] == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'update testapp_author' AS note",
        'SELECT name AS "delete" FROM testapp_author',
        "COPY testapp_author TO STDOUT",
        "EXPLAIN UPDATE testapp_author SET name = 'x'",
        "SHOW server_version",
    ],
)
def test_statement_that_only_reads_keeps_the_value(shelf, elsewhere, outcomes, statement):
    elsewhere(shop.names)

    if statement.startswith("COPY"):
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            list(copy)
    else:
        run(statement)
    elsewhere(shop.names)

    assert outcomes(shop.names)["hits"] == 1


def test_failing_write_renews_tokens_because_its_outcome_may_be_unknown(shelf, elsewhere, outcomes):
    from django.db import IntegrityError

    elsewhere(shop.names)

    with pytest.raises(IntegrityError):
        Author.objects.create(name="Twin", email="ada@example.org")
    elsewhere(shop.names)

    assert outcomes(shop.names)["stale"] == 1


def test_declared_writes_are_seen_after_the_block(shelf, elsewhere):
    from dbopt.cache import writes

    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION touch_book() RETURNS void LANGUAGE sql "
            "AS $$ UPDATE testapp_book SET title = 'New' $$"
        )
    assert elsewhere(shop.titles_of, "Ada") == ["Notes"]

    with writes(Book):
        run("SELECT touch_book()")

    assert elsewhere(shop.titles_of, "Ada") == ["New"]
    run("DROP FUNCTION touch_book()")


def test_declared_writes_in_a_transaction_are_seen_after_its_commit(shelf, elsewhere):
    from django.db.transaction import atomic

    from dbopt.cache import writes

    assert elsewhere(shop.titles_of, "Ada") == ["Notes"]
    with atomic():
        with writes(Book), connection.cursor() as cursor:
            cursor.cursor.execute("UPDATE testapp_book SET title = 'New'")
            assert shop.titles_of("Ada") == ["New"]
        assert shop.titles_of("Ada") == ["New"]
        assert elsewhere(shop.titles_of, "Ada") == ["Notes"]

    assert elsewhere(shop.titles_of, "Ada") == ["New"]


def test_invalidating_by_hand_covers_writes_of_other_programs(shelf, outside, elsewhere):
    from dbopt.cache import invalidate

    assert elsewhere(shop.names) == ["Ada"]
    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    assert elsewhere(shop.names) == ["Ada"]

    assert invalidate(Author) is True

    assert elsewhere(shop.names) == ["Grace"]


def test_new_key_is_not_confused_with_an_old_one(shelf, elsewhere):
    assert elsewhere(shop.titles_of, "Ada") == ["Notes"]
    assert elsewhere(shop.titles_of, str(uuid.uuid4())) == []
