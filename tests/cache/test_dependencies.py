"""What a result depends on is read from the SQL that ran."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.db.models import Case, Count, Exists, OuterRef, Prefetch, Subquery, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Now
from django.test.utils import isolate_apps
from psycopg import sql

from dbopt.cache import cached_query
from tests.testapp.models import Author, Book, Note, Profile, Publisher, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def book(shop_database):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    Profile.objects.create(author=ada, biography="first")
    book = Book.objects.create(title="Notes", author=ada, publisher=Publisher.objects.create(name="Penguin"))
    book.tags.add(Tag.objects.create(slug="science"))
    Note.objects.create(subject=ada, text="hello")
    return book


def has_books():
    return Exists(Book.objects.filter(author=OuterRef("pk")))


@isolate_apps("tests.testapp")
def declare_proxy():
    class Proxy(Author):
        class Meta:
            app_label = "testapp"
            proxy = True

    return Proxy


Writer = declare_proxy()

QUERIES = {
    "select_related": (lambda: [b.author.name for b in Book.objects.select_related("author")], Author),
    "prefetch": (lambda: [[t.slug for t in b.tags.all()] for b in Book.objects.prefetch_related("tags")], Tag),
    "prefetch_through": (
        lambda: [[t.slug for t in b.tags.all()] for b in Book.objects.prefetch_related("tags")],
        Book.tags.through,
    ),
    "prefetch_object": (
        lambda: [
            len(p.found)
            for p in Publisher.objects.prefetch_related(
                Prefetch("book_set", Book.objects.filter(author__name="Ada"), to_attr="found")
            )
        ],
        Author,
    ),
    "in_subquery": (lambda: Publisher.objects.filter(book__in=Book.objects.filter(author__name="Ada")).count(), Author),
    "exists": (lambda: Author.objects.filter(has_books()).count(), Book),
    "not_exists": (lambda: Author.objects.filter(~has_books()).count(), Book),
    "case_exists": (
        lambda: list(
            Author.objects.annotate(a=Case(When(has_books(), then=Value(1)), default=Value(0))).values_list("a")
        ),
        Book,
    ),
    "coalesce_subquery": (
        lambda: list(
            Author.objects.annotate(
                t=Coalesce(Subquery(Book.objects.filter(author=OuterRef("pk")).values("title")[:1]), Value("-"))
            ).values_list("t")
        ),
        Book,
    ),
    "union": (lambda: list(Author.objects.values_list("name").union(Tag.objects.values_list("slug"))), Tag),
    "order_by_subquery": (
        lambda: list(
            Author.objects.order_by(
                Subquery(Book.objects.filter(author=OuterRef("pk")).values("title")[:1])
            ).values_list("name")
        ),
        Book,
    ),
    "aggregate_over_join": (lambda: Author.objects.aggregate(n=Count("books"))["n"], Book),
    "values_over_join": (lambda: list(Book.objects.values_list("publisher__name")), Publisher),
    "reverse_one_to_one": (lambda: [a.profile.biography for a in Author.objects.all()], Profile),
    "generic_relation": (lambda: [n.text for n in Author.objects.get().notes.all()], Note),
    "generic_foreign_key": (lambda: [str(n.subject) for n in Note.objects.all()], Author),
    "raw_queryset": (lambda: [a.name for a in Author.objects.raw("SELECT * FROM testapp_author")], Author),
    "raw_comma_join": (lambda: raw("SELECT count(*) FROM testapp_author a, testapp_tag t"), Tag),
    "raw_with_schema": (lambda: raw('SELECT count(*) FROM public."testapp_tag"'), Tag),
    "raw_composed": (lambda: raw(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("testapp_tag"))), Tag),
    "raw_bytes": (lambda: raw(b"SELECT count(*) FROM testapp_tag"), Tag),
    "raw_expression": (
        lambda: list(
            Author.objects.annotate(n=RawSQL("(SELECT count(*) FROM testapp_tag)", [])).values_list("n", flat=True)
        ),
        Tag,
    ),
    "extra_table": (lambda: Author.objects.extra(tables=["testapp_tag"]).count(), Tag),
    "proxy": (lambda: list(Writer.objects.values_list("name", flat=True)), Author),
    "raw_cte": (lambda: raw("WITH x AS (SELECT * FROM testapp_tag) SELECT count(*) FROM x"), Tag),
}


def raw(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


@cached_query(timeout=300)
def asked(name: str):
    return QUERIES[name][0]()


@pytest.mark.parametrize("name", QUERIES)
def test_write_to_a_table_behind_a_query_is_seen(book, outcomes, name):
    model = QUERIES[name][1]
    first = asked(name)
    assert asked(name) == first
    assert outcomes(asked)["hits"] == 1

    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE false")
    asked(name)

    assert outcomes(asked)["stale"] == 1, f"{model._meta.db_table} was not among the dependencies"


@cached_query(timeout=300)
def answered(statement: str):
    return raw(statement)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT count(*) FROM testapp_author WHERE now() IS NOT NULL", "volatile"),
        ("SELECT name, CURRENT_TIMESTAMP IS NULL FROM testapp_author", "volatile"),
        ("SELECT random() < 2 FROM testapp_author", "volatile"),
        ("SELECT 1 FROM testapp_author FOR UPDATE", "locks"),
        ("SELECT 1 FROM testapp_author FOR NO KEY UPDATE SKIP LOCKED", "locks"),
        ("SELECT count(*) FROM django_migrations", "unknown_table"),
        ("SELECT count(*) FROM testapp_author, django_migrations", "unknown_table"),
        ("SELECT count(*) FROM testapp_author JOIN pg_class ON true", "unknown_table"),
        ("SELECT pg_relation_size('testapp_author')", "volatile"),
        ("SELECT to_regclass('testapp_author')", "unknown_table"),
        ("UPDATE testapp_author SET name = name RETURNING id", "writes"),
        ("SELECT 1", "no_dependencies"),
        ("SHOW server_version", "volatile"),
    ],
)
def test_result_that_may_change_without_a_visible_write_is_not_stored(book, outcomes, statement, reason):
    from django.db.transaction import atomic

    with atomic():
        answered(statement)

    counted = outcomes(answered)
    assert (counted["refused"], counted["sets"]) == ({reason: 1}, 0)


def test_table_named_behind_the_cut_of_a_long_text_is_not_overlooked(book, outcomes):
    answered(
        "SELECT count(*) FROM testapp_author WHERE " + "name <> name || 'x' AND " * 600 + "EXISTS (TABLE pg_class)"
    )

    counted = outcomes(answered)
    assert (counted["refused"], counted["sets"]) == ({"unknown_table": 1}, 0)


def test_write_in_a_long_text_makes_everything_invalid(book, outcomes):
    answered("SELECT count(*) FROM testapp_tag")
    raw("UPDATE testapp_author SET name = name WHERE " + "name <> name || 'x' AND " * 600 + "false RETURNING 1")
    answered("SELECT count(*) FROM testapp_tag")

    assert outcomes(answered)["stale"] == 1


@cached_query(timeout=300)
def published_by_now():
    return Book.objects.filter(published_at__lte=Now()).count()


def test_query_over_the_current_time_is_not_stored(book, outcomes):
    published_by_now()

    assert outcomes(published_by_now)["refused"] == {"volatile": 1}


@cached_query(timeout=300)
def names_in_portions():
    return [author.name for author in Author.objects.order_by("name").iterator(chunk_size=1)]


def test_server_side_cursor_is_not_stored(book, outcomes):
    assert names_in_portions() == ["Ada"]

    assert outcomes(names_in_portions)["refused"] == {"server_cursor": 1}


@cached_query(timeout=300)
def view_rows(model_name: str):
    return list(VIEWS[model_name].objects.values_list("name", flat=True))


VIEWS: dict[str, type[models.Model]] = {}


@isolate_apps("tests.testapp")
def declare_view(table):
    class View(models.Model):  # noqa: DJ008
        name = models.CharField(max_length=100)

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = table

    return View


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_view_depends_on_the_tables_behind_it(book, outcomes, monkeypatch, kind):
    from dbopt.cache.observation import observer

    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW testapp_inner AS SELECT id, name FROM testapp_author")
        cursor.execute(f"CREATE {kind} testapp_seen AS SELECT * FROM testapp_inner")
    VIEWS["seen"] = declare_view("testapp_seen")
    known = observer.known_among
    monkeypatch.setattr(observer, "known_among", lambda names: known(names) | ({"testapp_seen"} & set(names)))
    monkeypatch.setattr(observer, "unmanaged_tables", lambda: {"testapp_seen": "testapp_seen"})
    try:
        assert view_rows("seen") == ["Ada"]
        assert view_rows("seen") == ["Ada"]
        Author.objects.update(name="Grace")
        if kind == "MATERIALIZED VIEW":
            assert view_rows("seen") == ["Ada"]
            raw_refresh()
        assert view_rows("seen") == ["Grace"]
        assert outcomes(view_rows)["hits"] == (2 if kind == "MATERIALIZED VIEW" else 1)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW testapp_inner CASCADE")


def test_write_to_a_view_reaches_the_tables_behind_it(book, outcomes, monkeypatch):
    from dbopt.cache.observation import written

    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW testapp_seen AS SELECT id, name FROM testapp_author")
    known = written.known_among
    monkeypatch.setattr(written, "known_among", lambda names: known(names) | ({"testapp_seen"} & set(names)))
    monkeypatch.setattr(written, "unmanaged_tables", lambda: {"testapp_seen": "testapp_seen"})
    try:
        answered("SELECT name FROM testapp_author")
        answered("SELECT count(*) FROM testapp_tag")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE testapp_seen SET name = 'Grace'")

        assert answered("SELECT name FROM testapp_author") == [("Grace",)]
        answered("SELECT count(*) FROM testapp_tag")
        assert outcomes(answered)["hits"] == 1
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP VIEW testapp_seen")


def raw_refresh():
    with connection.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW testapp_seen")
