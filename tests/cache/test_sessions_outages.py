"""Without their server, sessions raise soon: nobody is logged out, nothing is overwritten, and no end is lost in silence."""

from __future__ import annotations

import logging
import time

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.test import override_settings

from dbopt.cache.sessions import SessionStore, revoke, sessions_of
from dbopt.cache.sessions import records as session_records
from dbopt.exceptions import SessionUnavailableError
from tests.cache.conftest import wait_until
from tests.cache.valkeys import OwnValkey
from tests.cache.visits import (
    SHORT,
    _sessions,  # noqa: F401 - a fixture
    again,
    cookie,
    dbopt_with,
    of_user,
    place,
    stored,
    user,
    visit,
)

# So long may one call take: two time limits of a socket, and slack for a busy machine.
PATIENCE = 4.0


@pytest.fixture
def own_valkey(tmp_path):
    server = OwnValkey(tmp_path)
    server.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    with override_settings(CACHES=caches, DBOPT=dbopt_with(**SHORT, BREAKER_FAILURES=2, BREAKER_SECONDS=0.3)):
        yield server
        session_records.forget()
    server.close()


@pytest.fixture(params=["killed", "frozen"])
def outage(request, own_valkey):
    yield {"killed": own_valkey.kill, "frozen": own_valkey.freeze}[request.param]
    own_valkey.kill()


def refused(function, *args):
    started = time.monotonic()
    with pytest.raises(SessionUnavailableError):
        function(*args)
    assert time.monotonic() - started < PATIENCE


def change(request):
    request.session["b"] = 2


def test_everything_raises_soon(outage):
    session = of_user(7)
    loaded = again(session)
    loaded["b"] = 2

    outage()

    refused(SessionStore(session.session_key).get, "a")
    refused(SessionStore().exists, session.session_key)
    refused(SessionStore().save)
    refused(loaded.save)
    refused(loaded.cycle_key)
    refused(loaded.flush)
    refused(sessions_of, user(7))
    refused(revoke, user(7))


def test_request_fails_and_the_visitor_keeps_the_cookie(outage):
    session = stored(a=1)
    outage()
    seen = []

    def view(request):
        refused(request.session.get, "a")
        seen.append(request.session.session_key)

    response = visit(view, session.session_key)

    assert (seen, cookie(response)) == ([session.session_key], None)


def test_session_is_there_again_after_the_outage(own_valkey):
    session = stored(a=1)
    slow = again(session)
    own_valkey.freeze()
    for _ in range(3):
        refused(SessionStore(session.session_key).get, "a")

    own_valkey.thaw()

    def answers():
        try:
            return SessionStore(session.session_key).get("a") == 1
        except SessionUnavailableError:
            return False

    wait_until(answers, what="a session that can be read again")
    slow["b"] = 2
    slow.save()
    assert dict(again(session).items()) == {"a": 1, "b": 2}


def test_breaker_leaves_the_server_alone(own_valkey, commands):
    session = stored(a=1)
    own_valkey.kill()
    refused(SessionStore(session.session_key).load)
    refused(SessionStore(session.session_key).load)

    with commands() as sent:
        started = time.monotonic()
        while time.monotonic() - started < 0.2:
            refused(SessionStore(session.session_key).load)

    assert sent == []


def test_outage_is_logged_once(own_valkey, caplog):
    session = stored(a=1)
    own_valkey.kill()

    with caplog.at_level(logging.WARNING, logger="dbopt.cache"):
        for _ in range(5):
            refused(SessionStore(session.session_key).load)

    (message,) = [record.getMessage() for record in caplog.records]
    assert message == (
        "Cache 'default' failed (ConnectionError); "
        "sessions that are kept there raise SessionUnavailableError until it is back."
    )


def test_error_names_the_fault_and_where_to_look_but_no_key(own_valkey):
    session = stored(a=1)
    own_valkey.kill()

    with pytest.raises(SessionUnavailableError) as caught:
        SessionStore(session.session_key).load()

    assert str(caught.value) == "The server of the sessions failed (ConnectionError). Look after CACHES['default']."


def test_restarted_server_is_used_at_once_and_knows_no_session(own_valkey):
    session = stored(a=1)
    own_valkey.kill()
    own_valkey.start()

    assert SessionStore(session.session_key).load() == {}
    with pytest.raises(UpdateError):
        session.save()


def test_save_whose_answer_was_lost_can_be_repeated(own_valkey):
    session = stored(a=1)
    session["b"] = 2
    own_valkey.freeze()
    refused(session.save)
    own_valkey.thaw()

    def saved():
        try:
            session.save()
        except SessionUnavailableError:
            return False
        return True

    wait_until(saved, what="a save after the outage")
    assert dict(again(session).items()) == {"a": 1, "b": 2}


def test_full_server_refuses_to_store_but_still_ends_sessions(own_valkey):
    session = of_user(7)
    own_valkey.client.config_set("maxmemory", 1)

    session["a"] = 1
    for _ in range(5):
        refused(session.save)
    refused(SessionStore().save)
    refused(again(session).cycle_key)
    assert again(session)["_auth_user_id"] == "7"
    session.delete()

    assert own_valkey.client.get(place(session)) == b""
    assert SessionStore(session.session_key).load() == {}


def test_server_that_became_a_replica_is_left(own_valkey):
    session = stored(a=1)
    before = {client["id"] for client in own_valkey.client.client_list()}
    own_valkey.client.replicaof("127.0.0.1", 1)

    refused(session.save)
    assert again(session)["a"] == 1

    now = {client["id"] for client in own_valkey.client.client_list()}
    assert now - before
    own_valkey.client.replicaof("NO", "ONE")
    session.save()
