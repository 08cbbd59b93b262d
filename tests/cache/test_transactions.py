"""Savepoints, rollbacks, hooks and Django's test cases."""

# ruff: noqa: PT012  an error that comes out of a whole block

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.transaction import atomic

from tests.cache import shop
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


def rename(name="Grace"):
    Author.objects.update(name=name)


class UndoError(Exception):
    pass


def undone(*actions):
    with pytest.raises(UndoError), atomic():
        for action in actions:
            action()
        raise UndoError


def test_rolled_back_write_keeps_the_cached_value(ada, elsewhere, outcomes):
    elsewhere(shop.names)

    undone(rename)

    assert elsewhere(shop.names) == ["Ada"]
    assert outcomes(shop.names)["hits"] == 1


def test_uncommitted_rows_stay_in_their_transaction(ada, elsewhere):
    elsewhere(shop.names)
    with atomic():
        rename()
        assert shop.names() == ["Grace"]
        assert elsewhere(shop.names) == ["Ada"]

    assert elsewhere(shop.names) == ["Grace"]


def test_write_in_a_rolled_back_savepoint_then_another_write(ada, elsewhere):
    """A hook that was registered inside the savepoint would be gone."""
    elsewhere(shop.names)
    with atomic():
        undone(rename)
        rename("Edith")

    assert elsewhere(shop.names) == ["Edith"]


def test_write_then_savepoint_that_is_rolled_back(ada, elsewhere):
    elsewhere(shop.names)
    with atomic():
        rename("Edith")
        undone(rename)

    assert elsewhere(shop.names) == ["Edith"]


def test_write_in_a_released_savepoint(ada, elsewhere):
    elsewhere(shop.names)
    with atomic(), atomic():
        rename()

    assert elsewhere(shop.names) == ["Grace"]


def test_database_error_swallowed_inside_a_savepoint(ada, elsewhere):
    elsewhere(shop.names)
    with atomic():
        with pytest.raises(IntegrityError), atomic():
            Author.objects.create(name="Twin", email="ada@example.org")
        rename()

    assert elsewhere(shop.names) == ["Grace"]


def test_set_rollback_undoes_everything(ada, elsewhere, outcomes):
    elsewhere(shop.names)
    with atomic():
        rename()
        transaction.set_rollback(True)

    assert elsewhere(shop.names) == ["Ada"]
    assert shop.names() == ["Ada"]
    assert outcomes(shop.names)["hits"] == 2


def test_rolled_back_transaction_does_not_spoil_the_next_one(ada, outcomes):
    """The same Atomic object is used for both, as a decorated function does."""
    block = atomic()
    shop.names()
    with pytest.raises(UndoError), block:
        rename()
        raise UndoError

    with block:
        assert shop.names() == ["Ada"]

    assert outcomes(shop.names)["hits"] == 1


def test_durable_block(ada, elsewhere):
    elsewhere(shop.names)
    with atomic(durable=True):
        rename()

    assert elsewhere(shop.names) == ["Grace"]


def test_deferred_constraint_that_fails_at_commit(ada, elsewhere):
    elsewhere(shop.names)

    with pytest.raises(IntegrityError), atomic():
        rename()
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_book_tags (book_id, tag_id) VALUES (-1, -1)")

    assert elsewhere(shop.names) == ["Ada"]
    assert shop.names() == ["Ada"]


def test_hook_sees_the_new_value_and_may_write(ada, elsewhere):
    seen = []
    elsewhere(shop.names)

    def hook():
        seen.append(elsewhere(shop.names))
        rename("Edith")

    with atomic():
        rename()
        transaction.on_commit(hook)

    assert seen == [["Grace"]]
    assert elsewhere(shop.names) == ["Edith"]


def test_reading_in_a_clean_transaction_stores_for_others(ada, elsewhere, outcomes):
    with atomic():
        shop.names()

    elsewhere(shop.names)
    assert outcomes(shop.names)["hits"] == 1


def test_reading_in_a_clean_transaction_asks_the_isolation_level_once(ada, queries):
    with queries() as ran:
        for _ in range(3):
            with atomic():
                shop.names.refresh()

    assert [text for text in ran if "isolation" in text.lower()] == []


def test_set_transaction_is_still_possible_after_a_look_at_the_cache(ada):
    shop.names()
    connection.close()
    with atomic():
        shop.names()
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)


def test_function_that_opens_its_own_snapshot_is_not_stored(ada, outcomes):
    shop.names_of_snapshot()

    assert outcomes(shop.names_of_snapshot)["refused"] == {"isolation": 1}


def test_manual_atomic_block(ada, elsewhere):
    elsewhere(shop.names)
    transaction.set_autocommit(False)
    try:
        with atomic():
            rename()
        assert elsewhere(shop.names) == ["Ada"]
        connection.commit()
    finally:
        connection.rollback()
        transaction.set_autocommit(True)

    assert elsewhere(shop.names) == ["Grace"]


def test_one_commit_renews_all_its_tokens_in_one_round_trip(ada, commands):
    with commands() as sent, atomic():
        for number in range(20):
            Author.objects.create(name=str(number), email=f"{number}@example.org")
        rename()

    # The table, its rows at large, and those twenty.
    assert sent == [["SET"] * 22]


def test_many_rows_written_one_by_one_become_all_rows_of_the_table(ada, commands):
    with commands() as sent, atomic():
        for number in range(101):
            Author.objects.create(name=str(number), email=f"{number}@example.org")

    assert sent == [["SET"] * 2]


@pytest.mark.parametrize("end", ["COMMIT AND CHAIN", "COMMIT; BEGIN", "SELECT 1; END; BEGIN"])
def test_commit_that_begins_another_transaction(ada, elsewhere, end):
    assert elsewhere(shop.names) == ["Ada"]
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        Author.objects.update(name="Grace")
        assert elsewhere(shop.names) == ["Ada"]
        cursor.execute(end)
        assert elsewhere(shop.names) == ["Grace"]
        cursor.execute("ROLLBACK")

    assert elsewhere(shop.names) == ["Grace"]
