"""Triggers note what no client sees; the worker renews the tokens, and loses no note."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from dbopt.cache import cached_query
from dbopt.cache.server import servers
from dbopt.cache.triggers.definitions import NOTES, TRIGGER, install, remove, status, watched_models
from dbopt.cache.triggers.listening import backlog, require_notes, take_notes
from dbopt.exceptions import CacheUnreachableError, ConfigurationError
from tests.cache import shop
from tests.testapp.models import Author, Book, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

MODELS = [Author, Book, Book.tags.through]


@pytest.fixture
def triggers(shop_database):
    install(connection, MODELS)
    yield
    remove(connection, MODELS)


def noted(outside):
    return [name for (name,) in outside.execute(f"SELECT table_name FROM {NOTES} ORDER BY id").fetchall()]


INVISIBLE = {
    "function": "SELECT shop_add_author()",
    "copy": "COPY testapp_author (name, email) FROM PROGRAM 'printf \"Bea\\tbea@example.org\\n\"'",
    "other_program": "INSERT INTO testapp_author (name, email) VALUES ('Bea', 'bea@example.org')",
}


@pytest.fixture
def function(outside):
    outside.execute(
        "CREATE OR REPLACE FUNCTION shop_add_author() RETURNS void LANGUAGE sql AS "
        "$$INSERT INTO testapp_author (name, email) VALUES ('Bea', 'bea@example.org')$$"
    )
    yield
    outside.execute("DROP FUNCTION shop_add_author()")


@pytest.mark.parametrize("case", INVISIBLE)
def test_write_that_no_client_sees_is_seen(case, triggers, function, outside, elsewhere):
    Author.objects.create(name="Ada", email="ada@example.org")
    take_notes(connection)
    assert shop.names() == ["Ada"]

    outside.execute(INVISIBLE[case])
    assert shop.names() == ["Ada"]
    assert take_notes(connection) == 1

    assert elsewhere(shop.names) == ["Ada", "Bea"]
    assert noted(outside) == []


@cached_query(timeout=300)
def name_of(pk):
    return Author.objects.get(pk=pk).name


def test_results_of_single_rows_are_renewed_too(triggers, outside, elsewhere):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    take_notes(connection)
    assert elsewhere(name_of, ada.pk) == "Ada"

    outside.execute("UPDATE testapp_author SET name = 'Grace'")
    take_notes(connection)

    assert elsewhere(name_of, ada.pk) == "Grace"


def test_note_is_made_once_a_table_and_transaction(triggers, outside):
    with outside.transaction():
        for number in range(3):
            outside.execute("INSERT INTO testapp_author (name, email) VALUES ('x', %s)", [f"{number}@example.org"])
        outside.execute("UPDATE testapp_author SET name = 'y'")
        outside.execute("DELETE FROM testapp_book")
    outside.execute("TRUNCATE testapp_book CASCADE")

    assert noted(outside) == ["testapp_author", "testapp_book", "testapp_book", "testapp_book_tags"]


def test_note_goes_with_what_is_rolled_back(triggers, outside):
    with outside.transaction():
        with outside.transaction() as inner:
            outside.execute("INSERT INTO testapp_author (name, email) VALUES ('x', 'x@example.org')")
            import psycopg

            raise psycopg.Rollback(inner)
        assert noted(outside) == []
        outside.execute("INSERT INTO testapp_author (name, email) VALUES ('x', 'x@example.org')")

    assert noted(outside) == ["testapp_author"]


def test_note_is_not_seen_before_its_commit(triggers, outside):
    with transaction.atomic():
        Author.objects.create(name="Ada", email="ada@example.org")
        assert noted(outside) == []

    assert noted(outside) == ["testapp_author"]


def test_note_stays_while_the_cache_is_away(triggers, outside, settings):
    outside.execute(INVISIBLE["other_program"])
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}

    with pytest.raises(CacheUnreachableError):
        take_notes(connection)

    assert noted(outside) == ["testapp_author"]
    assert backlog(connection)[0] == 1
    servers.forget()


def test_two_workers_share_the_notes(triggers, outside, elsewhere):
    outside.execute(INVISIBLE["other_program"])
    with transaction.atomic():
        # The first worker holds the note and has not committed yet.
        assert take_notes(connection) == 1
        assert elsewhere(lambda: take_notes(connection)) == 0

    assert noted(outside) == []


def test_taking_notes_renews_nothing_else(triggers, outside):
    @cached_query(timeout=300)
    def shops():
        return list(Shop.objects.values_list("code", flat=True))

    assert (shops(), shops()) == ([], [])
    outside.execute(INVISIBLE["other_program"])
    outside.execute("INSERT INTO testapp_shop (code, tenant) VALUES ('s', 1)")
    take_notes(connection)

    assert shops() == []


def test_installing_twice_changes_nothing_and_removing_leaves_nothing(outside):
    assert install(connection, MODELS) == []
    assert install(connection, MODELS) == []
    assert [state.state for state in status(connection, [*MODELS, Shop])] == ["installed"] * 3 + ["missing"]
    outside.execute(f"ALTER TABLE testapp_book DISABLE TRIGGER {TRIGGER}")
    assert status(connection, [Book])[0].state == "disabled"

    assert remove(connection, [Book]) == []
    require_notes(connection)
    assert remove(connection, MODELS) == []

    assert outside.execute("SELECT to_regclass(%s), to_regproc(%s)", [NOTES, TRIGGER]).fetchone() == (None, None)
    assert backlog(connection) == (0, None)
    with pytest.raises(ConfigurationError, match="dbopt_cache triggers install"):
        require_notes(connection)


def test_busy_table_is_named_and_not_waited_for(outside):
    with outside.transaction():
        outside.execute("LOCK TABLE testapp_book IN ROW EXCLUSIVE MODE")
        assert install(connection, MODELS, lock_timeout=0.05) == ["testapp_book"]

    assert install(connection, MODELS) == []
    remove(connection, MODELS)


def test_models_that_are_watched():
    found = {model._meta.label for model in watched_models([], using="default")}

    assert {"testapp.Book", "testapp.Book_tags"} <= found
    assert "sessions.Session" not in found
    assert watched_models(["testapp.Book"], using="default") == [Book]
    with pytest.raises(ConfigurationError, match=r"There is no model 'testapp\.Bok'"):
        watched_models(["testapp.Bok"], using="default")
