"""Sessions: what a save keeps of others' changes, what is signed, when they end, and what a request costs."""

from __future__ import annotations

import pickle
import time
from datetime import timedelta

import pytest
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.test import override_settings
from django.utils import timezone

from dbopt.cache.sessions import SessionStore, revoke, sessions_of
from dbopt.cache.sessions import records as session_records
from dbopt.cache.sessions.records import MARK_SECONDS, records
from dbopt.cache.sessions.store import merged
from dbopt.exceptions import ConfigurationError
from tests.cache.valkeys import OwnValkey
from tests.cache.visits import (
    DBOPT_ENGINE,
    DJANGO_ENGINE,
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


@pytest.fixture
def own_valkey(tmp_path):
    """A server that counts this test's commands and no others."""
    server = OwnValkey(tmp_path)
    server.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    with override_settings(CACHES=caches):
        yield server
        session_records.forget()
    server.close()


# --- what requests do to each other ---


def test_requests_that_change_different_keys_both_survive():
    first = stored(a=1)
    second = again(first)

    first["b"] = 2
    first.save()
    second["c"] = 3
    second.save()

    assert again(first).items() == {"a": 1, "b": 2, "c": 3}.items()
    assert second.items() == {"a": 1, "b": 2, "c": 3}.items()


def test_request_that_changed_a_key_last_wins():
    first = stored(a=1)
    second = again(first)

    first["a"] = "first"
    first.save()
    second["a"] = "second"
    second.save()

    assert again(first)["a"] == "second"


def test_untouched_keys_are_not_set_back():
    first = stored(a=1, b=1)
    slow = again(first)

    first["a"] = 2
    del first["b"]
    first.save()
    slow["c"] = 3
    slow.save()

    assert dict(again(first).items()) == {"a": 2, "c": 3}


def test_value_changed_in_place_counts_as_changed():
    first = stored(cart=["tea"], a=1)
    second = again(first)

    second["cart"].append("milk")
    second.modified = True
    first["a"] = 2
    first.save()
    second.save()

    assert dict(again(first).items()) == {"cart": ["tea", "milk"], "a": 2}


def test_second_save_of_a_request_builds_on_its_first():
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()
    second["c"] = 3
    second.save()

    del second["b"]
    second.save()

    assert dict(again(first).items()) == {"a": 1, "c": 3}


def test_look_at_what_is_stored_does_not_make_others_changes_ones_own():
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()

    assert second.load() == {"a": 1, "b": 2}
    second["c"] = 3
    second.save()

    assert dict(again(first).items()) == {"a": 1, "b": 2, "c": 3}


def test_cleared_session_keeps_nothing_of_others():
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()

    second.clear()
    second["c"] = 3
    second.save()

    assert dict(again(first).items()) == {"c": 3}


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "expected"),
    [
        ({}, {}, {"x": 1}, {"x": 1}),
        ({"a": 1}, {}, {"a": 2}, {}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}, {"a": 2}, {"a": 1.0}),
        ({}, {"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": {"b": [1]}}, {"a": {"b": [1]}}, {"a": {"b": [2]}}, {"a": {"b": [2]}}),
    ],
)
def test_merged(base, mine, theirs, expected):
    result = merged(theirs, base=base, mine=mine, dumps=repr)

    assert repr(result) == repr(expected)


# --- the end of a session ---


def ended_by_delete(session):
    SessionStore(session.session_key).delete()


def ended_by_flush(session):
    again(session).flush()


def ended_by_revocation(session):
    assert revoke(user(7)) == 1


def ended_by_a_new_key(session):
    again(session).cycle_key()


ENDS = [ended_by_delete, ended_by_flush, ended_by_revocation, ended_by_a_new_key]


@pytest.mark.parametrize("end", ENDS)
def test_slower_request_does_not_bring_a_session_back(end, valkey):
    session = of_user(7)
    slow = again(session)

    end(session)
    slow["a"] = 1
    with pytest.raises(UpdateError):
        slow.save()

    assert valkey.get(place(session)) == b""
    assert 0 < valkey.ttl(place(session)) <= MARK_SECONDS
    assert not SessionStore().exists(session.session_key)
    assert SessionStore(session.session_key).get("_auth_user_id") is None


def test_slower_request_that_clears_a_session_does_not_bring_it_back(valkey):
    session = stored(a=1)
    slow = again(session)

    session.delete()
    slow.clear()
    slow["b"] = 2
    with pytest.raises(UpdateError):
        slow.save()

    assert valkey.get(place(session)) == b""


@pytest.mark.parametrize("end", ENDS)
def test_slower_request_does_not_carry_a_login_to_a_new_key(end, valkey):
    session = of_user(7)
    slow = again(session)

    end(session)
    alive = len(sessions_of(user(7)))
    with pytest.raises(SessionInterrupted):
        slow.cycle_key()

    assert len(sessions_of(user(7))) == alive
    with pytest.raises(UpdateError):
        slow.save()


@pytest.mark.parametrize("end", [ended_by_delete, ended_by_flush, ended_by_a_new_key])
def test_second_of_two_logins_at_once_keeps_the_visitors_data(end):
    """As when somebody clicks twice: the first response is lost, the second one must work."""
    session = stored(cart=["tea"])
    slow = again(session)

    end(session)
    slow.cycle_key()
    slow["_auth_user_id"] = "7"
    slow.save()

    assert dict(again(slow).items()) == {"cart": ["tea"], "_auth_user_id": "7"}


def test_middleware_tells_that_the_session_ended():
    session = stored(a=1)

    def view(request):
        request.session["b"] = 2
        ended_by_delete(session)

    with pytest.raises(SessionInterrupted):
        visit(view, session.session_key)


def test_create_is_refused_for_a_key_that_is_taken():
    session = stored(a=1)

    with pytest.raises(CreateError):
        SessionStore(session.session_key).save(must_create=True)

    assert again(session)["a"] == 1


def test_new_session_gets_another_key_where_one_is_taken(monkeypatch):
    taken = stored(a=1)
    keys = iter([taken.session_key, "n" * 32])
    monkeypatch.setattr(SessionStore, "_get_new_session_key", lambda self: next(keys))

    assert stored(b=2).session_key == "n" * 32
    assert dict(again(taken).items()) == {"a": 1}


def test_unknown_key_is_not_saved():
    unknown = SessionStore("a" * 32)

    with pytest.raises(UpdateError):
        unknown.save()

    assert unknown.session_key is None
    assert not SessionStore().exists("a" * 32)


# --- a new key ---


def test_new_key_keeps_the_data_and_what_others_stored_meanwhile(valkey):
    session = stored(a=1, b=1)
    other = again(session)
    old = place(session)
    other["b"] = 2
    other["c"] = 3
    other.save()

    session["d"] = 4
    session.cycle_key()

    assert dict(again(session).items()) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert dict(session.items()) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert valkey.get(old) == b""


def test_new_key_of_a_user_is_in_the_index_and_the_old_one_is_not_alive():
    session = of_user(7)
    old = session.session_key

    session.cycle_key()

    assert [found.session_key for found in sessions_of(user(7))] == [session.session_key]
    assert session.session_key != old


def test_new_session_can_be_given_a_key_again():
    session = SessionStore()
    session["a"] = 1

    session.cycle_key()

    assert again(session)["a"] == 1


# --- what is stored ---


def test_value_is_signed_json_and_never_a_pickle(valkey):
    session = stored(a="\N{SNOWMAN}")

    text = valkey.get(place(session)).decode()

    assert text.count(":") == 2
    assert again(session)["a"] == "\N{SNOWMAN}"


def test_session_copied_to_another_key_is_none(valkey, caplog):
    session, mine = of_user(1), stored()
    valkey.set(place(mine), valkey.get(place(session)))

    assert SessionStore(mine.session_key).get("_auth_user_id") is None
    assert [record.getMessage() for record in caplog.records] == ["Session data corrupted"]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a session ran code",))


@pytest.mark.parametrize("forged", [b"x", b"\xff\xfe", b"::", b"a:b:c", pickle.dumps(Bomb()), b'{"a": 1}'])
def test_forged_bytes_are_no_session_and_are_not_replaced_by_a_slow_save(forged, valkey):
    session = stored(a=1)
    slow = again(session)
    valkey.set(place(session), forged)

    assert SessionStore(session.session_key).load() == {}
    slow["b"] = 2
    with pytest.raises(UpdateError):
        slow.save()


def test_serializer_is_that_of_the_settings(settings, valkey):
    settings.SESSION_SERIALIZER = "tests.cache.visits.MsgpackSerializer"
    session = stored(raw=b"\x00\xff")
    other = again(session)
    other["b"] = b"\x01"
    other.save()

    session["c"] = b"\x02"
    session.save()

    assert dict(again(session).items()) == {"raw": b"\x00\xff", "b": b"\x01", "c": b"\x02"}


def test_session_of_another_serializer_is_none(settings):
    session = stored(a=1)
    settings.SESSION_SERIALIZER = "tests.cache.visits.MsgpackSerializer"

    assert SessionStore(session.session_key).load() == {}


def test_secret_key_may_be_rotated(settings):
    session = stored(a=1)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret-key-of-more-than-fifty-characters-0123456789"

    assert again(session)["a"] == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert SessionStore(session.session_key).load() == {}


@pytest.mark.parametrize(
    "key", ["", "short", "A" * 32, "a" * 41, "a" * 31 + "*", "a" * 31 + ":", "ä" * 32, "a b" * 10, 7]
)
def test_key_that_no_session_has_is_not_asked_for(key, commands):
    with commands() as sent:
        session = SessionStore(key)
        assert session.load() == {}
        assert not session.exists(key)
        session.delete(key)

    assert (session.session_key, sent) == (None, [])


def test_alias_is_that_of_djangos_setting(settings):
    settings.CACHES = {
        **settings.CACHES,
        "logins": {**settings.CACHES["default"], "KEY_PREFIX": "logins"},
        "memory": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    settings.SESSION_CACHE_ALIAS = "logins"
    session = stored(a=1)
    assert again(session)["a"] == 1

    settings.SESSION_CACHE_ALIAS = "default"
    assert SessionStore(session.session_key).load() == {}

    settings.SESSION_CACHE_ALIAS = "memory"
    with pytest.raises(ConfigurationError) as caught:
        SessionStore(session.session_key).load()
    assert str(caught.value) == (
        "SESSION_CACHE_ALIAS is 'memory', which is not a cache on Redis. Name an entry of CACHES that is."
    )


# --- when it ends by itself ---


def milliseconds(valkey, session):
    return valkey.pttl(place(session))


@pytest.mark.parametrize(
    ("expiry", "seconds"),
    [(None, 1_209_600), (0, 1_209_600), (60, 60), (timedelta(hours=1), 3600)],
    ids=["default", "browser", "seconds", "until"],
)
def test_server_ends_the_session(expiry, seconds, valkey):
    session = SessionStore()
    session.set_expiry(expiry)
    session.save()

    assert (seconds - 5) * 1000 < milliseconds(valkey, session) <= seconds * 1000


def test_session_that_ends_in_the_past_is_gone_at_once(valkey):
    session = stored(a=1)

    session.set_expiry(timedelta(seconds=-1))
    session.save()

    assert SessionStore(session.session_key).load() == {}


def test_expired_session_is_not_saved_again(valkey):
    session = stored(a=1)
    valkey.pexpire(place(session), 1)

    while valkey.exists(place(session)):
        pass
    session["a"] = 2
    with pytest.raises(UpdateError):
        session.save()


class Clock:
    def __init__(self, monkeypatch):
        self._patch = monkeypatch
        self._real = time.time

    def is_back_by(self, seconds):
        self._patch.setattr(time, "time", lambda: self._real() - seconds)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def aged(clock, valkey, session, seconds):
    """Save a session as if that had been some time ago."""
    clock.is_back_by(seconds)
    session.save()
    clock.is_back_by(0)
    valkey.pexpire(place(session), 1_209_600_000 - 1000 * seconds)
    return session


def read(request):
    assert request.session["a"] == 1


DAY = 24 * 3600


def test_reading_renews_a_session_after_a_share_of_its_age(clock, valkey, commands):
    session = aged(clock, valkey, stored(a=1), 2 * DAY)

    with commands() as sent:
        response = visit(read, session.session_key)

    assert len(sent) == 2
    assert cookie(response)["max-age"] == 14 * DAY
    assert milliseconds(valkey, session) > (14 * DAY - 5) * 1000


def test_reading_before_that_writes_nothing(clock, valkey, commands):
    session = aged(clock, valkey, stored(a=1), DAY)

    with commands() as sent:
        response = visit(read, session.session_key)

    assert (sent, cookie(response)) == ([["GET"]], None)
    assert milliseconds(valkey, session) <= 13 * DAY * 1000


def test_session_with_a_fixed_end_is_not_renewed(clock, valkey, commands):
    session = stored(a=1)
    session.set_expiry(timezone.now() + timedelta(days=3))
    aged(clock, valkey, session, 2 * DAY)

    with commands() as sent:
        visit(read, session.session_key)

    assert sent == [["GET"]]


@pytest.mark.parametrize(("share", "trips"), [(0.0, 2), (0.3, 1), (1.0, 1)])
def test_share_is_that_of_the_settings(share, trips, clock, valkey, commands):
    with override_settings(DBOPT=dbopt_with(SESSION_RENEW_AFTER=share)):
        session = aged(clock, valkey, stored(a=1), 2 * DAY)

        with commands() as sent:
            visit(read, session.session_key)

    assert len(sent) == trips


def test_renewed_session_stays_in_its_users_index(clock, valkey):
    session = aged(clock, valkey, of_user(7, a=1), 2 * DAY)
    before = sessions_of(user(7))[0].ends
    (index,) = valkey.keys("*:sessions:*")
    valkey.zincrby(index, -2 * DAY, session.session_key)

    visit(read, session.session_key)

    assert abs(sessions_of(user(7))[0].ends - before) < timedelta(seconds=5)


# --- a user's sessions ---


def test_sessions_of_a_user(commands):
    long = of_user(7, agent="Firefox")
    short = SessionStore()
    short.update({"_auth_user_id": "7", "_session_expiry": 600})
    short.save()
    of_user(8)
    stored(a=1)

    with commands() as sent:
        found = sessions_of(user(7))

    assert [each.session_key for each in found] == [short.session_key, long.session_key]
    assert found[1].data["agent"] == "Firefox"
    assert abs(found[0].ends - (timezone.now() + timedelta(seconds=600))) < timedelta(seconds=5)
    assert len(sent) == 2
    assert long.session_key not in repr(found)
    assert found[0].id != found[1].id != long.session_key
    assert again(long).session_key == long.session_key
    assert sessions_of(user(9)) == []


def test_revocation_ends_them_all_or_all_but_one(commands):
    sessions = [of_user(7) for _ in range(5)]
    other = of_user(8)

    with commands() as sent:
        assert revoke(user(7), keep=sessions[0]) == 4
    assert len(sent) == 3

    assert [each.session_key for each in sessions_of(user(7))] == [sessions[0].session_key]
    assert again(sessions[0])["_auth_user_id"] == "7"
    assert revoke(user(7), keep=sessions[0].session_key) == 0
    assert revoke(user(7)) == 1
    assert revoke(user(7)) == 0
    assert again(other)["_auth_user_id"] == "8"


def test_revocation_costs_what_the_user_has_not_what_there_is(own_valkey):
    of_user(7)
    for _ in range(50):
        of_user(8)
    before = own_valkey.client.info("commandstats")

    revoke(user(7))

    after = own_valkey.client.info("commandstats")
    assert {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"] for name in ("cmdstat_get", "cmdstat_del")
    } == {
        "cmdstat_get": 2,
        "cmdstat_del": 1,
    }


def test_session_that_another_user_took_over_is_not_the_first_ones():
    session = of_user(7)
    session["_auth_user_id"] = "8"
    session.save()

    assert sessions_of(user(7)) == []
    assert revoke(user(7)) == 0
    assert again(session)["_auth_user_id"] == "8"
    assert revoke(user(8)) == 1


def test_login_that_a_revocation_overtakes_is_refused(valkey):
    """It is in the index already and not stored yet."""
    session = of_user(7)
    valkey.delete(place(session))

    assert revoke(user(7)) == 0

    with pytest.raises(CreateError):
        SessionStore(session.session_key).save(must_create=True)


def test_new_key_that_a_revocation_overtakes_is_refused(monkeypatch):
    """It is in the index already and not stored yet."""
    session, new = of_user(7), "n" * 32
    monkeypatch.setattr(SessionStore, "_get_new_session_key", lambda self: new)
    records().remove([new])

    with pytest.raises(SessionInterrupted):
        session.cycle_key()

    assert SessionStore(new).load() == {}


def test_index_forgets_what_ended(valkey):
    first, second = of_user(7), of_user(7)
    (index,) = valkey.keys("*:sessions:*")
    assert valkey.zcard(index) == 2
    # As if time had passed.
    valkey.zadd(index, {first.session_key: time.time() - 1})

    second.save()

    assert valkey.zrange(index, 0, -1) == [second.session_key.encode()]


def test_index_forgets_what_was_deleted(valkey):
    first, second = of_user(7), of_user(7)
    (index,) = valkey.keys("*:sessions:*")

    first.flush()

    assert valkey.zrange(index, 0, -1) == [second.session_key.encode()]


def test_index_lives_as_long_as_its_longest_session(valkey):
    of_user(7)
    short = SessionStore()
    short.update({"_auth_user_id": "7", "_session_expiry": 60})
    short.save()

    (index,) = valkey.keys("*:sessions:*")

    assert 14 * DAY < valkey.ttl(index) <= 14 * DAY + 60


# --- what it costs ---


def nothing(request):
    request.session.get("a")


def change(request):
    request.session["b"] = 2


def login(request):
    assert "_auth_user_id" not in request.session
    request.session.cycle_key()
    request.session["_auth_user_id"] = "7"


def logout(request):
    request.session.flush()


VISITS = {
    # What a request does: the session is there before, round trips of dbopt, and of Django's cache backend.
    "stranger reads": (nothing, False, [0, 0]),
    "stranger gets a session": (change, False, [1, 2]),
    "read": (nothing, True, [1, 1]),
    "change": (change, True, [2, 3]),
    "login": (login, True, [3, 6]),
    "logout": (logout, True, [1, 1]),
}


@pytest.mark.parametrize(("view", "is_known", "trips"), VISITS.values(), ids=VISITS)
def test_round_trips_of_a_request(view, is_known, trips, settings, commands):
    counted = []
    for engine in (DBOPT_ENGINE, DJANGO_ENGINE):
        settings.SESSION_ENGINE = engine
        key = cookie(visit(change)).value if is_known else None
        with commands() as sent:
            visit(view, key)
        counted.append(len(sent))

    assert counted == trips


def test_logout_of_a_user_takes_one_more_for_the_index(commands):
    session = of_user(7)

    with commands() as sent:
        visit(logout, session.session_key)

    assert sent == [["EVAL"], ["ZREM"]]


def test_request_that_does_not_touch_the_session_asks_nothing(commands):
    session = stored(a=1)

    with commands() as sent:
        response = visit(lambda request: None, session.session_key)

    assert (sent, cookie(response)) == ([], None)


def test_failed_request_saves_nothing():
    session = stored(a=1)

    visit(change, session.session_key, status=500)

    assert dict(again(session).items()) == {"a": 1}


def test_save_with_others_changes_takes_one_round_trip_more(commands):
    first = stored(a=1)
    second = again(first)
    first["b"] = 2
    first.save()

    second["c"] = 3
    with commands() as sent:
        second.save()

    assert sent == [["EVAL"], ["EVAL"]]
