"""A read by primary key depends on its row, and a write by primary key touches no other."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import connection, models
from django.db.models import F
from django.db.transaction import atomic

from dbopt.cache import cached_query, invalidate
from dbopt.cache.names import primary_keys
from tests.cache import shop
from tests.testapp.models import Author, Book, Shop, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300)
def author_of(pk: object):
    return Author.objects.filter(pk=pk).first()


@cached_query(timeout=300)
def name_in_sql(pk: object):
    with connection.cursor() as cursor:
        cursor.execute('SELECT "testapp_author"."name" FROM "testapp_author" WHERE "testapp_author"."id" = %s', [pk])
        return cursor.fetchall()


@cached_query(timeout=300)
def shop_of(code: str):
    return list(Shop.objects.filter(code=code).values_list("code", "tenant"))


@cached_query(timeout=300)
def authors_in(pks: list[int]):
    return sorted(Author.objects.filter(pk__in=pks).values_list("name", flat=True))


@pytest.fixture
def two(shop_database):
    """Two authors; the cached one is the first."""
    return [Author.objects.create(name=name, email=f"{name}@example.org") for name in ("Ada", "Ben")]


def row(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def saved(author, **values):
    for name, value in values.items():
        setattr(author, name, value)
    author.save()


BY_KEY = {
    "save": lambda a: saved(a, name="New"),
    "save_update_fields": lambda a: (setattr(a, "name", "New"), a.save(update_fields=["name"])),
    "save_f": lambda a: saved(a, name=F("email")),
    "update": lambda a: Author.objects.filter(pk=a.pk).update(name="New"),
    "update_in": lambda a: Author.objects.filter(pk__in=[a.pk]).update(name="New"),
    "update_f": lambda a: Author.objects.filter(pk=a.pk).update(name=F("email")),
    "update_text_for_number": lambda a: row(
        'UPDATE "testapp_author" SET "name" = %s WHERE "testapp_author"."id" = %s', "New", str(a.pk)
    ),
    "bulk_update": lambda a: (setattr(a, "name", "New"), Author.objects.bulk_update([a], ["name"])),
    "delete": lambda a: a.delete(),
    "invalidate": lambda a: (row("SELECT 1"), invalidate(Author, pk=a.pk)),
}


@pytest.mark.parametrize("way", BY_KEY)
def test_write_by_key_makes_its_row_invalid_and_no_other(two, elsewhere, outcomes, way):
    ada, ben = two
    pk = ada.pk
    elsewhere(author_of, pk)

    BY_KEY[way](ben)
    assert elsewhere(author_of, pk).name == "Ada"
    assert outcomes(author_of)["hits"] == 1

    BY_KEY[way](ada)
    assert elsewhere(author_of, pk) == elsewhere(author_of.uncached, pk)
    assert outcomes(author_of)["stale"] == 1


@pytest.mark.parametrize("way", [way for way in BY_KEY if way != "invalidate"])
def test_write_by_key_makes_lists_invalid(two, elsewhere, way):
    elsewhere(shop.names)

    BY_KEY[way](two[0])

    assert elsewhere(shop.names) == elsewhere(shop.names.uncached) != ["Ada", "Ben"]


ALL_ROWS = {
    "update_all": lambda: Author.objects.update(name="New"),
    "update_by_other_column": lambda: Author.objects.filter(name="Ada").update(name="New"),
    "raw": lambda: row("UPDATE testapp_author SET name = 'New'"),
    "raw_or": lambda: row(
        'UPDATE "testapp_author" SET "name" = %s WHERE "testapp_author"."id" = %s OR true', "New", -1
    ),
    "executemany": lambda: connection.cursor().executemany(
        'UPDATE "testapp_author" SET "name" = %s WHERE "testapp_author"."id" = %s',
        [("New", author.pk) for author in Author.objects.all()],
    ),
    "upsert": lambda: Author.objects.bulk_create(
        [Author(name="New", email="Ada@example.org")],
        update_conflicts=True,
        unique_fields=["email"],
        update_fields=["name"],
    ),
    "delete_by_other_column": lambda: Author.objects.filter(name="Ada").delete(),
    "raw_delete": lambda: row("DELETE FROM testapp_author WHERE name = 'Ada'"),
    "many_keys": lambda: Author.objects.filter(pk__in=[*range(-101, 0), Author.objects.get(name="Ada").pk]).update(
        name="New"
    ),
}


@pytest.mark.parametrize("way", ALL_ROWS)
@pytest.mark.parametrize("inside", ["autocommit", "atomic"])
def test_write_that_does_not_name_its_rows_reaches_all(two, elsewhere, way, inside):
    ada = two[0]
    assert elsewhere(author_of, ada.pk).name == "Ada"

    if inside == "atomic":
        with atomic():
            ALL_ROWS[way]()
    else:
        ALL_ROWS[way]()

    found = elsewhere(author_of, ada.pk)
    assert found == elsewhere(author_of.uncached, ada.pk)
    assert found is None or found.name == "New"


def test_key_that_the_write_itself_changes_reaches_both_keys(two, elsewhere):
    ada = two[0]
    assert elsewhere(author_of, ada.pk).name == "Ada"
    assert elsewhere(author_of, 10**6) is None

    Author.objects.filter(pk=ada.pk).update(id=10**6)

    assert elsewhere(author_of, ada.pk) is None
    assert elsewhere(author_of, 10**6).name == "Ada"


@pytest.mark.parametrize("kind", [int, str, float, Decimal])
def test_one_row_under_keys_of_several_types(two, elsewhere, kind):
    """The database compares 5, '5' and 5.0 as equal."""
    ada = two[0]
    assert elsewhere(name_in_sql, kind(ada.pk)) == [("Ada",)]

    saved(ada, name="Grace")
    assert elsewhere(name_in_sql, kind(ada.pk)) == [("Grace",)]

    row('UPDATE "testapp_author" SET "name" = %s WHERE "testapp_author"."id" = %s', "Edith", kind(ada.pk))
    assert elsewhere(name_in_sql, kind(ada.pk)) == [("Edith",)]


def test_absence_ends_when_the_row_is_made(two, elsewhere, outcomes):
    missing = two[1].pk + 1
    assert elsewhere(author_of, missing) is None
    assert elsewhere(author_of, missing) is None

    created = Author.objects.create(name="Cyd", email="cyd@example.org")

    assert created.pk == missing
    assert elsewhere(author_of, missing).name == "Cyd"
    assert outcomes(author_of)["hits"] == 1


def test_new_row_leaves_the_others_valid(two, elsewhere, outcomes):
    elsewhere(author_of, two[0].pk)
    elsewhere(shop_of, "north")

    Author.objects.create(name="Cyd", email="cyd@example.org")
    Author.objects.bulk_create([Author(name="Dan", email="dan@example.org")])
    Shop.objects.create(code="south")
    elsewhere(author_of, two[0].pk)
    elsewhere(shop_of, "north")

    assert outcomes(author_of)["hits"] == 1
    assert outcomes(shop_of)["hits"] == 1


def test_new_row_with_a_key_of_its_own_ends_its_absence(two, elsewhere):
    assert elsewhere(shop_of, "north") == []
    Shop.objects.create(code="north")
    assert elsewhere(shop_of, "north") == [("north", 1)]

    assert elsewhere(shop_of, "south") == []
    Shop.objects.bulk_create([Shop(code="east"), Shop(code="south")])
    assert elsewhere(shop_of, "south") == [("south", 1)]

    row("INSERT INTO testapp_shop (code, tenant) SELECT 'west', 2")
    assert elsewhere(shop_of, "west") == [("west", 2)]


def test_caller_of_an_insert_gets_what_it_returned(two):
    created = Author.objects.bulk_create([Author(name=str(n), email=f"{n}@example.org") for n in range(5)])

    found = Author.objects.in_bulk([author.pk for author in created])
    assert [found[author.pk].name for author in created] == list("01234")


def test_several_keys_depend_on_each_row(two, elsewhere, outcomes):
    ada, ben = two
    cyd = Author.objects.create(name="Cyd", email="cyd@example.org")
    assert elsewhere(authors_in, [ada.pk, ben.pk]) == ["Ada", "Ben"]

    saved(cyd, name="New")
    elsewhere(authors_in, [ada.pk, ben.pk])
    assert outcomes(authors_in)["hits"] == 1

    saved(ben, name="Grace")
    assert elsewhere(authors_in, [ada.pk, ben.pk]) == ["Ada", "Grace"]


@cached_query(timeout=300)
def best_of(code: str):
    return Shop.objects.get(code=code).bestseller.title


def test_foreign_key_to_another_column_depends_on_its_table(two, elsewhere):
    book = Book.objects.create(title="Notes", author=two[0])
    Shop.objects.create(code="north", bestseller=book)
    assert elsewhere(best_of, "north") == "Notes"

    saved(book, title="New")

    assert elsewhere(best_of, "north") == "New"


def test_cascade_and_set_null_reach_the_rows_behind(two, elsewhere):
    ada, ben = two
    edited = Book.objects.create(title="Edited", author=ben, editor=ada)
    written = Book.objects.create(title="Written", author=ada)
    assert elsewhere(book_of, edited.pk) == [("Edited", ada.pk)]
    assert elsewhere(book_of, written.pk) == [("Written", None)]

    ada.delete()

    assert elsewhere(book_of, edited.pk) == [("Edited", None)]
    assert elsewhere(book_of, written.pk) == []


@cached_query(timeout=300)
def book_of(pk: int):
    return list(Book.objects.filter(pk=pk).values_list("title", "editor_id"))


def test_hit_by_key_is_one_round_trip_also_for_a_key_never_seen_here(two, commands, elsewhere):
    """What the argument has to do with the row is learned from one call."""
    ada, ben = two
    author_of(ada.pk)
    author_of(ben.pk)

    with commands() as sent:
        author_of(ben.pk)
        author_of(ada.pk)
    assert sent == [["MGET"], ["MGET"]]

    author_of._spec.forget()
    author_of(ada.pk)
    with commands() as sent:
        author_of(ben.pk)
    assert sent == [["MGET"]]


def test_tokens_of_rows_do_not_pile_up(two, valkey):
    for author in two:
        author_of(author.pk)
    known = author_of._spec.ahead
    before = valkey.dbsize()

    Author.objects.filter(pk__in=range(1000, 1050)).update(name="x")
    for number in range(50):
        Tag.objects.create(slug=str(number))

    assert valkey.dbsize() == before
    assert all(":R:" not in tag for tag in known)


def test_many_keys_read_at_once_depend_on_the_table(two, elsewhere, outcomes):
    pks = [*range(-20, 0), two[0].pk]
    elsewhere(authors_in, pks)

    saved(two[1], name="New")
    elsewhere(authors_in, pks)

    assert outcomes(authors_in)["stale"] == 1


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (models.BigAutoField(), 5, "5"),
        (models.IntegerField(), " 5 ", "5"),
        (models.IntegerField(), 5.0, None),
        (models.IntegerField(), True, None),
        (models.CharField(max_length=9), "Ab", "Ab"),
        (models.CharField(max_length=9), 5, None),
        # It may take texts of other letters for equal.
        (models.CharField(max_length=9, db_collation="und-x-icu"), "Ab", None),
        (models.UUIDField(), "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        (models.UUIDField(), "5", None),
        (models.DecimalField(max_digits=9, decimal_places=2), 5, None),
        (models.TextField(), "Ab", None),
    ],
)
def test_key_has_one_form_or_none(monkeypatch, field, value, expected):
    field.set_attributes_from_name("id")
    monkeypatch.setattr(primary_keys, "primary_key", lambda table: field)

    found = primary_keys.one_row("t", value, connection)

    assert (None if found is None else set(found.keys)) == (None if expected is None else {expected})
