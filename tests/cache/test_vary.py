"""What a result varies by beside its arguments."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest
from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.test import override_settings
from django.utils import timezone, translation
from django.utils.translation import trans_real

from dbopt.cache import cached_query
from dbopt.cache.functions import surroundings
from dbopt.exceptions import ConfigurationError, UncacheableArgumentError
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

role: ContextVar[object] = ContextVar("role", default="reader")


@cached_query(timeout=60, vary=role.get)
def by_role():
    return [role.get(), Author.objects.count()]


@cached_query(timeout=60, vary=["language", "timezone", role.get])
def by_all():
    return [translation.get_language(), role.get(), Author.objects.count()]


@cached_query(timeout=60, vary="permissions")
def permitted(user: User):
    return [sorted(user.get_all_permissions()), user.is_superuser, Author.objects.count()]


@cached_query(timeout=60, vary="permissions")
def without_user(number: int):
    return Author.objects.count()


def test_result_varies_by_what_a_function_returns(outcomes):
    assert by_role() == ["reader", 0]
    token = role.set("editor")
    assert by_role() == ["editor", 0]
    role.reset(token)

    assert by_role() == ["reader", 0]
    assert (outcomes(by_role)["hits"], outcomes(by_role)["misses"]) == (1, 2)


def test_what_it_returns_must_have_a_canonical_form():
    token = role.set(object())
    with pytest.raises(UncacheableArgumentError, match=r"Argument `vary 0` of .*by_role is of type object"):
        by_role()
    role.reset(token)


def test_language_may_be_named_among_others(outcomes):
    for language in ("en", "de", "en"):
        with translation.override(language):
            assert by_all() == [language, "reader", 0]

    assert (outcomes(by_all)["hits"], outcomes(by_all)["misses"]) == (1, 2)


def test_result_varies_by_the_permissions_of_the_user(outcomes):
    user = User.objects.create_user("ada")
    permission = Permission.objects.get(codename="add_author")
    assert permitted(user) == [[], False, 0]

    user.user_permissions.add(permission)
    user = User.objects.get(pk=user.pk)
    assert permitted(user) == [["testapp.add_author"], False, 0]
    user.user_permissions.clear()
    user = User.objects.get(pk=user.pk)
    user.is_superuser = True
    assert permitted(user)[1] is True
    user.is_superuser = False
    assert permitted(User.objects.get(pk=user.pk)) == [[], False, 0]

    user.delete()


def test_permissions_need_a_user_among_the_arguments():
    with pytest.raises(ConfigurationError) as caught:
        without_user(5)

    assert str(caught.value) == (
        'cached_query(vary="permissions") on tests.cache.test_vary.without_user: no argument of this call is a user, '
        "that is, has get_all_permissions(). Pass the user, or vary by a function of your own."
    )


@pytest.mark.parametrize("vary", ["site", ["language", 5]])
def test_unknown_names_are_refused(vary):
    with pytest.raises(ConfigurationError) as caught:
        cached_query(vary=vary)(permitted.uncached)

    wrong = "site" if vary == "site" else 5
    assert f"cached_query(vary={wrong!r})" in str(caught.value)
    assert "name 'language', 'timezone', 'permissions', or give a function without arguments" in str(caught.value)


def of_django():
    return translation.get_language(), timezone.get_current_timezone_name()


class Elsewhere:
    """What another version of asgiref could be: it keeps its values where nobody looks."""

    def __init__(self):
        self.__dict__["_place"] = Local()

    def __getattr__(self, name):
        return getattr(self.__dict__["_place"], name)

    def __setattr__(self, name, value):
        setattr(self._place, name, value)

    def __delattr__(self, name):
        delattr(self._place, name)


@pytest.fixture(params=["installed", "another"])
def asgiref(request, monkeypatch):
    if request.param == "another":
        monkeypatch.setattr(trans_real, "_active", Elsewhere())
        monkeypatch.setattr(timezone, "_active", Elsewhere())


def test_installed_asgiref_is_known(threads):
    """Nothing was ever activated in a new thread."""
    for module in (trans_real, timezone):
        assert threads(surroundings._is_untouched, module).result()


def test_language_and_zone_are_those_of_django(asgiref, threads):
    seen = []

    def check(*expected):
        seen.append(expected)
        assert surroundings.language_and_zone() == of_django() == expected

    def check_all():
        check("en-us", "UTC")
        with translation.override("de"):
            check("de", "UTC")
            with timezone.override("Asia/Tokyo"):
                check("de", "Asia/Tokyo")
                with translation.override(None), timezone.override(None):
                    check(None, "UTC")
            threads(lambda: check("en-us", "UTC")).result()
            copy_context().run(check, "de", "UTC")
            asyncio.run(sync_to_async(check)("de", "UTC"))
        check("en-us", "UTC")
        translation.activate("fr")
        check("fr", "UTC")
        translation.deactivate()
        check("en-us", "UTC")

    # A new thread: nothing was ever activated there.
    threads(check_all).result()
    assert len(seen) == 10


def test_language_and_zone_follow_the_settings(asgiref, threads):
    with override_settings(LANGUAGE_CODE="nl", TIME_ZONE="Europe/Oslo"):
        assert threads(surroundings.language_and_zone).result() == ("nl", "Europe/Oslo")
