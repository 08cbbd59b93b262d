"""The race table: what other caches get wrong when reads and writes overlap. One test a row."""

# ruff: noqa: PT012, PLR0913, PLR0917  races need several hands, and an error that comes out of a whole block

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.cache.server import servers
from tests.cache import shop
from tests.cache.conftest import DEADLINE, connect, wait_until, waiting
from tests.cache.valkeys import OwnValkey
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def ada():
    return Author.objects.create(name="Ada", email="ada@example.org")


def rename_saving(author):
    author.name = "Grace"
    author.save()


def rename_atomically(author):
    with atomic():
        rename_saving(author)


def rename_by_update(author):
    Author.objects.filter(pk=author.pk).update(name="Grace")


@pytest.mark.parametrize("write", [rename_saving, rename_atomically, rename_by_update], ids=["R1", "R1b", "R1-update"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_r1_slow_select_overlapped_by_a_commit_is_not_served_afterwards(ada, gate, threads, elsewhere, write, warm):
    if warm:
        elsewhere(shop.names)
        shop.names_slowly._spec.learn(shop.names._spec.ahead, {})
    reader = threads(shop.names_slowly)
    gate.wait_for_visitor()

    write(ada)
    gate.open()

    assert reader.result(DEADLINE) == ["Ada"]
    assert elsewhere(shop.names_slowly) == ["Grace"]
    assert elsewhere(shop.names) == ["Grace"]


def test_r1c_slow_count_overlapped_by_a_create_is_not_served_afterwards(ada, gate, threads, elsewhere):
    reader = threads(shop.count_slowly)
    gate.wait_for_visitor()

    Author.objects.create(name="Grace", email="grace@example.org")
    gate.open()

    assert reader.result(DEADLINE) == 1
    assert elsewhere(shop.count_slowly) == 2


def test_r1_write_between_two_statements_of_a_function(ada, gate, threads, elsewhere):
    reader = threads(shop.names_then_titles)
    gate.wait_for_visitor()

    rename_saving(ada)
    Book.objects.create(title="Compilers", author=ada)
    gate.open()

    assert reader.result(DEADLINE) == (["Ada"], ["Compilers"])
    assert elsewhere(shop.names_then_titles) == (["Grace"], ["Compilers"])


def test_r2_refresh_overlapped_by_a_commit_is_not_served_afterwards(ada, gate, threads, elsewhere):
    reader = threads(shop.names_slowly.refresh)
    gate.wait_for_visitor()

    rename_saving(ada)
    gate.open()

    assert reader.result(DEADLINE) == ["Ada"]
    assert elsewhere(shop.names_slowly) == ["Grace"]


def by_set_transaction(level):
    with connection.cursor() as cursor:
        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("how", ["set_transaction", "options", "session_default", "session_characteristics"])
def test_r3_rows_of_an_old_snapshot_are_never_shared(ada, elsewhere, outcomes, level, how, monkeypatch):
    isolate(how, level, monkeypatch)
    with atomic():
        if how == "set_transaction":
            by_set_transaction(level)
        assert Author.objects.count() == 1
        elsewhere(rename_saving, ada)

        assert shop.names() == ["Ada"]

    connection.close()
    assert elsewhere(shop.names) == ["Grace"]
    assert outcomes(shop.names)["bypass"] == {"isolation": 1}


def isolate(how, level, monkeypatch):
    connection.close()
    if how == "options":
        from psycopg import IsolationLevel

        value = IsolationLevel[level.replace(" ", "_")].value
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", value)
    elif how == "session_default":
        text = level.lower().replace(" ", r"\ ")
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", f"-c default_transaction_isolation={text}")
    elif how == "session_characteristics":
        set_session(level)


def set_session(level):
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}")


def test_r3_level_of_the_session_spares_the_open_transaction(ada, elsewhere, outcomes):
    with atomic():
        by_set_transaction("REPEATABLE READ")
        set_session("READ COMMITTED")
        assert Author.objects.count() == 1
        elsewhere(rename_saving, ada)
        assert shop.names() == ["Ada"]
    with atomic():
        assert shop.names() == ["Grace"]
    counted = outcomes(shop.names)
    assert (counted["bypass"], counted["sets"]) == ({"isolation": 1}, 1)


@pytest.mark.parametrize("undone", [False, True], ids=["kept", "undone"])
def test_r3_level_of_the_session_counts_for_later_transactions(ada, outcomes, undone):
    connection.close()
    with atomic():
        set_session("SERIALIZABLE")
        shop.names()
        transaction.set_rollback(undone)
    assert outcomes(shop.names)["bypass"] == {}

    with atomic():
        shop.names()
    connection.close()

    assert outcomes(shop.names)["bypass"] == ({} if undone else {"isolation": 1})


@pytest.mark.parametrize("write", [rename_by_update, rename_saving], ids=["R4-update", "R4b-save"])
def test_r4_read_while_a_write_waits_for_a_row_lock(ada, outside, threads, elsewhere, write):
    outside.execute("BEGIN")
    outside.execute("SELECT 1 FROM testapp_author WHERE id = %s FOR UPDATE", [ada.pk])
    writer = threads(write, ada)
    wait_for_row_lock(outside)

    assert elsewhere(shop.names) == ["Ada"]
    outside.execute("COMMIT")
    writer.result(DEADLINE)

    assert elsewhere(shop.names) == ["Grace"]


def wait_for_row_lock(outside):
    # On another connection: within its transaction, `outside` would see one old picture of the activity.
    with connect() as watcher:
        wait_until(lambda: waiting(watcher, "transactionid", "tuple"), what="a write waiting for a row")


@pytest.mark.parametrize("tokens", ["cold", "warm", "evicted"])
def test_r5_reading_request_in_atomic_does_not_undo_an_invalidation(ada, valkey, elsewhere, tokens):
    if tokens == "warm":
        elsewhere(shop.names)
    with atomic():
        assert shop.names() == ["Ada"]
        if tokens == "evicted":
            valkey.flushdb()
        elsewhere(rename_saving, ada)

        assert shop.names() == ["Grace"]

    assert elsewhere(shop.names) == ["Grace"]


def test_r6_failed_entry_into_atomic_leaves_nothing_behind(ada, outside, elsewhere, outcomes):
    from django.db import OperationalError

    assert shop.names() == ["Ada"]
    kill(outside, connection)
    with pytest.raises(OperationalError), atomic():
        Author.objects.count()
    connection.close()

    rename_saving(ada)

    assert elsewhere(shop.names) == ["Grace"]
    assert shop.names() == ["Grace"]
    assert outcomes(shop.names)["bypass"] == {}


def test_r6_backend_killed_in_the_middle_of_a_writing_transaction(ada, outside, elsewhere):
    from django.db import OperationalError

    assert shop.names() == ["Ada"]
    with pytest.raises(OperationalError), atomic():
        Author.objects.create(name="Lost", email="lost@example.org")
        kill(outside, connection)
        Author.objects.count()

    assert elsewhere(shop.names) == ["Ada"]
    rename_saving(ada)

    assert elsewhere(shop.names) == ["Grace"]


def test_r6_connection_that_breaks_during_commit_renews_tokens(ada, outside, elsewhere):
    from django.db import OperationalError

    assert shop.names() == ["Ada"]
    with pytest.raises(OperationalError), atomic():
        rename_saving(ada)
        # As if the answer to COMMIT were lost: another program makes the same change, ours is cut.
        kill(outside, connection)
        outside.execute("UPDATE testapp_author SET name = 'Grace' WHERE id = %s", [ada.pk])

    assert elsewhere(shop.names) == ["Grace"]


def test_r6_backend_killed_during_commit_renews_tokens(ada, commit_gate, outside, threads, elsewhere, outcomes):
    from django.db import OperationalError

    assert elsewhere(shop.names) == ["Ada"]
    writer = threads(rename_atomically, ada)
    commit_gate.wait_for_visitor()
    query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    end_backend(outside, outside.execute(query, [commit_gate.number]).fetchone()[0])

    with pytest.raises(OperationalError):
        writer.result(DEADLINE)

    # Whether it was committed is not for the cache to guess.
    assert elsewhere(shop.names) == ["Ada"]
    assert outcomes(shop.names)["stale"] == 1


def kill(outside, victim):
    end_backend(outside, victim.connection.info.backend_pid)


def end_backend(outside, pid):
    outside.execute("SELECT pg_terminate_backend(%s)", [pid])
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: outside.execute(query, [pid]).fetchone()[0] == 0, what="the end of a backend")


def test_r7_hook_registered_before_the_first_write_sees_the_new_value_everywhere(ada, elsewhere):
    seen = []
    assert elsewhere(shop.names) == ["Ada"]

    with atomic():
        transaction.on_commit(lambda: seen.append(elsewhere(shop.names)))
        rename_saving(ada)

    assert seen == [["Grace"]]


def test_r7_raising_hook_loses_no_renewal(ada, elsewhere):
    def fail():
        raise RuntimeError("hook")

    assert elsewhere(shop.names) == ["Ada"]
    with pytest.raises(RuntimeError, match="hook"), atomic():
        transaction.on_commit(fail)
        rename_saving(ada)

    assert elsewhere(shop.names) == ["Grace"]


def test_r8_renewal_that_does_not_arrive_is_made_up_for(ada, tmp_path, elsewhere):
    valkey = OwnValkey(tmp_path)
    valkey.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey.url}}
    with override_settings(CACHES=caches):
        assert elsewhere(shop.names) == ["Ada"]
        valkey.freeze()
        rename_saving(ada)
        valkey.thaw()

        assert elsewhere(shop.names) == ["Grace"]
        servers.forget()
    valkey.close()


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_r9_manual_transaction_shares_nothing_of_its_own(ada, elsewhere, outcomes, commits):
    assert shop.names() == ["Ada"]
    transaction.set_autocommit(False)
    try:
        rename_saving(ada)
        assert shop.names() == ["Grace"]
        assert elsewhere(shop.names) == ["Ada"]
        (transaction.commit if commits else transaction.rollback)()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    expected = ["Grace"] if commits else ["Ada"]
    assert elsewhere(shop.names) == expected
    assert shop.names() == expected
    assert outcomes(shop.names)["bypass"] == {"manual": 1}


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "rollback"])
def test_r9_transaction_in_sql_shares_nothing_of_its_own(ada, elsewhere, commits):
    assert shop.names() == ["Ada"]
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        rename_saving(ada)
        assert shop.names() == ["Grace"]
        assert elsewhere(shop.names) == ["Ada"]
        cursor.execute("COMMIT" if commits else "ROLLBACK")

    assert elsewhere(shop.names) == (["Grace"] if commits else ["Ada"])
    assert shop.names() == (["Grace"] if commits else ["Ada"])


def test_r11_manual_savepoint_rollback_is_seen_inside_the_transaction(ada, elsewhere):
    assert shop.names() == ["Ada"]
    with atomic():
        savepoint = transaction.savepoint()
        rename_saving(ada)
        assert shop.names() == ["Grace"]
        transaction.savepoint_rollback(savepoint)
        assert shop.names() == ["Ada"]

    assert elsewhere(shop.names) == ["Ada"]


def test_r12_exception_inside_bypass_leaves_caching_on(ada, outcomes):
    from dbopt.cache import bypass

    with pytest.raises(RuntimeError), bypass():
        assert shop.names() == ["Ada"]
        raise RuntimeError

    shop.names()
    shop.names()

    counted = outcomes(shop.names)
    assert (counted["bypass"], counted["misses"], counted["hits"]) == ({"bypass": 1}, 1, 1)
