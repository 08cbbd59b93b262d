"""Sessions in the database: nothing that happens to Redis logs a user out, and nothing brings an ended session back."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client, override_settings
from django.utils import timezone

from dbopt.cache.sessions import SessionStore, revoke, sessions_of
from dbopt.cache.sessions import records as session_records
from dbopt.cache.sessions import rows as session_rows
from dbopt.exceptions import ConfigurationError, SessionUnavailableError
from tests.cache.conftest import wait_until
from tests.cache.valkeys import OwnValkey
from tests.cache.visits import SHORT, _sessions, again, cookie, dbopt_with, of_user, place, stored, user, visit  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _rows(settings):
    """Rows are kept; those that follow do so when a test says so."""
    settings.DBOPT = dbopt_with(SESSION_WRITE_BEHIND=60)
    yield
    session_rows.write_now()


def row_of(session):
    """What the session's row holds, read as Django's own backend does."""
    return dict(DatabaseStore(session.session_key).items())


# --- what is written when ---


def test_new_session_is_written_at_once_and_changes_follow():
    session = stored(a=1)
    assert row_of(session) == {"a": 1}

    session["a"] = 2
    session.save()
    assert row_of(session) == {"a": 1}

    session_rows.write_now()
    assert row_of(session) == {"a": 2}


def test_login_and_logout_are_written_at_once():
    session = stored(a=1)
    session.cycle_key()
    assert row_of(session) == {"a": 1}

    session["_auth_user_id"] = "7"
    session.save()
    assert row_of(session) == {"a": 1, "_auth_user_id": "7"}
    assert Session.objects.count() == 1

    session.flush()
    assert Session.objects.count() == 0


def test_row_ends_when_the_session_does():
    session = stored(a=1, _session_expiry=600)
    row = Session.objects.get()
    assert abs(row.expire_date - (timezone.now() + timedelta(seconds=600))) < timedelta(seconds=5)

    session["_session_expiry"] = 60
    session.save()
    session_rows.write_now()

    row.refresh_from_db()
    assert abs(row.expire_date - (timezone.now() + timedelta(seconds=60))) < timedelta(seconds=5)


def test_changes_of_several_requests_are_written_as_they_were_merged():
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()
    second["c"] = 3
    second.save()

    session_rows.write_now()

    assert row_of(first) == {"a": 1, "b": 2, "c": 3}


def test_many_changes_are_one_update(django_assert_num_queries):
    session = stored(a=1)

    with django_assert_num_queries(0):
        for turn in range(10):
            session["turn"] = turn
            session.save()

    with django_assert_num_queries(1):
        session_rows.write_now()


def test_request_that_changes_nothing_asks_no_database(django_assert_num_queries):
    session = stored(a=1)

    with django_assert_num_queries(0):
        visit(lambda request: request.session["a"], session.session_key)


# --- Redis has lost its data ---


def test_flush_of_redis_loses_no_login(valkey):
    session = of_user(7, a=1)

    valkey.flushdb()

    assert dict(again(session).items()) == {"_auth_user_id": "7", "a": 1}
    assert [found.session_key for found in sessions_of(user(7))] == [session.session_key]


def test_session_comes_back_with_its_time_and_is_then_read_from_redis(valkey, django_assert_num_queries):
    session = stored(a=1, _session_expiry=600)
    Session.objects.update(expire_date=timezone.now() + timedelta(seconds=300))
    valkey.flushdb()

    assert again(session)["a"] == 1

    assert 290_000 < valkey.pttl(place(session)) <= 300_000
    with django_assert_num_queries(0):
        assert again(session)["a"] == 1


def test_request_under_way_while_redis_is_flushed_is_saved(valkey):
    session = of_user(7, a=1)
    slow = again(session)
    valkey.flushdb()

    slow["b"] = 2
    slow.save()

    assert dict(again(session).items()) == {"_auth_user_id": "7", "a": 1, "b": 2}


def test_ended_session_does_not_come_back_from_the_database(valkey):
    session = stored(a=1)
    slow = again(session)
    session.delete()

    valkey.flushdb()
    slow["a"] = 2

    with pytest.raises(UpdateError):
        slow.save()
    assert SessionStore(session.session_key).load() == {}
    assert not SessionStore().exists(session.session_key)


def test_expired_row_is_no_session(valkey):
    session = stored(a=1)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    valkey.flushdb()

    assert SessionStore(session.session_key).load() == {}


def test_unreadable_row_holds_nothing(valkey):
    session = of_user(7)
    Session.objects.update(session_data="x:y:z")
    valkey.flushdb()

    assert SessionStore(session.session_key).get("_auth_user_id") is None


def test_sessions_of_djangos_own_backend_go_on():
    """Switching from Django's backend to this one logs nobody out."""
    before = DatabaseStore()
    before.update({"_auth_user_id": "7"})
    before.save()

    session = SessionStore(before.session_key)
    session["a"] = 1
    session.save()
    session_rows.write_now()

    assert row_of(before) == {"_auth_user_id": "7", "a": 1}


def test_old_row_that_comes_back_is_renewed(valkey, monkeypatch):
    session = stored(a=1)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 13 * 24 * 3600)
    Session.objects.update(session_data=session.encode({"a": 1}), expire_date=timezone.now() + timedelta(days=14))
    monkeypatch.undo()
    valkey.flushdb()

    response = visit(lambda request: request.session["a"], session.session_key)

    assert cookie(response)["max-age"] == 14 * 24 * 3600
    assert valkey.ttl(place(session)) > 13 * 24 * 3600


class Pause:
    """Stops whoever has just read a row, until it is told to go on."""

    def __init__(self, monkeypatch):
        self._plain = session_rows.find
        self.reached, self.go_on = threading.Event(), threading.Event()
        monkeypatch.setattr(session_rows, "find", self._find)

    def _find(self, key):
        row = self._plain(key)
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            assert self.go_on.wait(20)
        return row


@pytest.mark.django_db(transaction=True)
def test_row_that_was_read_before_the_session_ended_does_not_bring_it_back(valkey, monkeypatch, threads):
    session = stored(a=1)
    valkey.flushdb()
    pause = Pause(monkeypatch)
    reader = threads(SessionStore(session.session_key).load)
    assert pause.reached.wait(20)

    SessionStore(session.session_key).delete()
    pause.go_on.set()

    assert reader.result(20) == {}
    assert valkey.get(place(session)) == b""


# --- revocation ---


def test_revocation_deletes_rows_too(valkey):
    sessions = [of_user(7) for _ in range(3)]
    other = of_user(8)

    assert revoke(user(7), keep=sessions[0]) == 2
    valkey.flushdb()

    assert [SessionStore(each.session_key).get("_auth_user_id") for each in [*sessions, other]] == [
        "7",
        None,
        None,
        "8",
    ]


def test_revocation_holds_for_sessions_that_redis_does_not_know_any_more(valkey, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 60)
    lost, kept, other = of_user(7), of_user(7), of_user(8)
    monkeypatch.undo()
    valkey.flushdb()

    again(kept)
    revoke(user(7), keep=kept)
    later = of_user(7)
    valkey.flushdb()

    sessions = [lost, kept, later, other]
    assert [SessionStore(each.session_key).get("_auth_user_id") for each in sessions] == [None, "7", "7", "8"]
    valkey.flushdb()
    assert SessionStore(lost.session_key).get("_auth_user_id") is None


# --- the thread ---


@pytest.mark.django_db(transaction=True)
def test_thread_writes_after_the_delay_and_ends(settings):
    settings.DBOPT = dbopt_with(SESSION_WRITE_BEHIND=0.05)
    session = stored(a=1)

    session["a"] = 2
    session.save()

    wait_until(lambda: row_of(session) == {"a": 2}, what="a row that followed")
    wait_until(
        lambda: not any(thread.name == "dbopt-sessions" for thread in threading.enumerate()), what="a thread that ended"
    )
    session["a"] = 3
    session.save()
    wait_until(lambda: row_of(session) == {"a": 3}, what="a row that followed again")


@pytest.mark.django_db(transaction=True)
def test_rows_are_written_when_the_process_ends():
    session = stored(a=1)
    session["a"] = 2
    session.save()
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        try:
            # Only what the child registers: its parent's hooks stop servers.
            atexit._clear()
            mine = again(session)
            mine["b"] = 2
            mine.save()
            atexit._run_exitfuncs()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)

    assert row_of(session) == {"a": 2, "b": 2}


def test_forked_child_writes_only_its_own_changes():
    session = stored(a=1)
    session["a"] = 2
    session.save()
    pid = os.fork()
    if pid == 0:
        session_rows.write_now()
        session_rows._behind.close()
        os._exit(0 if session_rows._behind._keys == {session.session_key} else 1)

    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    session_rows.write_now()
    assert row_of(session) == {"a": 2}


def test_row_that_another_process_may_have_set_back_is_written_again(monkeypatch):
    session = stored(a=1)
    session["a"] = 2
    session.save()
    plain = session_rows.update

    def overtaken(key, **values):
        monkeypatch.setattr(session_rows, "update", plain)
        other = again(session)
        other["b"] = 3
        session_records.records().replace(key, other._record(key), seen=b"")
        plain(key, **values)

    monkeypatch.setattr(session_rows, "update", overtaken)
    session_rows.write_now()
    assert row_of(session) == {"a": 2}

    session_rows.write_now()
    assert row_of(session) == {"a": 2, "b": 3}


@pytest.mark.django_db(transaction=True)
def test_what_the_database_refuses_is_tried_again_and_logged_once(caplog):
    session = stored(a=1)
    session["a"] = 2
    session.save()

    with caplog.at_level(logging.WARNING, logger="dbopt.cache"), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_session RENAME TO away")
        try:
            session_rows.write_now()
            session_rows.write_now()
        finally:
            cursor.execute("ALTER TABLE away RENAME TO django_session")
    session_rows.write_now()

    assert row_of(session) == {"a": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "Changed sessions could not be written to the database (ProgrammingError)."
    ]


# --- Redis does not answer ---


@pytest.fixture
def own_valkey(tmp_path):
    server = OwnValkey(tmp_path)
    server.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    with override_settings(CACHES=caches, DBOPT=dbopt_with(**SHORT, SESSION_WRITE_BEHIND=60, BREAKER_SECONDS=0.1)):
        yield server
        session_records.forget()
    server.close()


def is_saved(session):
    try:
        session.save()
    except SessionUnavailableError:
        return False
    return True


def test_users_stay_logged_in_while_redis_is_away_but_nothing_is_stored(own_valkey):
    session = of_user(7)
    own_valkey.freeze()

    reader = again(session)
    assert reader["_auth_user_id"] == "7"
    reader["a"] = 1
    for change in (reader.save, reader.cycle_key, SessionStore().save, lambda: revoke(user(7))):
        with pytest.raises(SessionUnavailableError):
            change()

    own_valkey.thaw()
    wait_until(lambda: is_saved(reader), what="a save after the outage")
    assert dict(again(session).items()) == {"_auth_user_id": "7", "a": 1}


def test_logout_during_an_outage_tells_that_it_failed(own_valkey):
    session = of_user(7)
    loaded = again(session)
    own_valkey.kill()

    with pytest.raises(SessionUnavailableError):
        loaded.flush()

    assert Session.objects.count() == 0


# --- the rest ---


def test_expired_rows_are_cleared_by_djangos_command(settings):
    ended, alive = stored(a=1), stored(a=1)
    Session.objects.filter(session_key=ended.session_key).update(expire_date=timezone.now() - timedelta(seconds=1))

    call_command("clearsessions")

    assert list(Session.objects.values_list("session_key", flat=True)) == [alive.session_key]
    settings.DBOPT = dbopt_with()
    call_command("clearsessions")


def test_table_is_needed(settings):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django.contrib.sessions"]

    with pytest.raises(ConfigurationError) as caught:
        stored()

    assert str(caught.value) == (
        'DBOPT["CACHE"]["SESSION_WRITE_BEHIND"] needs "django.contrib.sessions" in INSTALLED_APPS.'
    )


@pytest.mark.parametrize("write_behind", [None, 60])
def test_login_request_logout_of_a_real_user(write_behind, settings, valkey):
    settings.DBOPT = dbopt_with(SESSION_WRITE_BEHIND=write_behind)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    person = get_user_model().objects.create_user("ada", password="analytical")
    client = Client()
    assert client.login(username="ada", password="analytical")
    (mine,) = sessions_of(person)
    assert mine.session_key == client.session.session_key

    elsewhere = Client()
    elsewhere.force_login(person)
    assert len(sessions_of(person)) == 2
    assert revoke(person, keep=mine.session_key) == 1
    assert elsewhere.session.get("_auth_user_id") is None

    client.logout()
    assert sessions_of(person) == []
    assert {valkey.get(key) for key in valkey.keys("*:session:*")} == {b""}
