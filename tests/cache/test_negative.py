"""Absences: None, an empty list, a row that does not exist."""

from __future__ import annotations

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import connections

from dbopt.cache import cached_query
from dbopt.exceptions import ConfigurationError
from tests.testapp.models import Author, Book, Profile

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300, negative_timeout=5)
def by_name(name: str):
    return Author.objects.get(name=name)


@cached_query(timeout=300, negative_timeout=5)
def first_by_name(name: str):
    return Author.objects.filter(name=name).first()


@cached_query(timeout=300, negative_timeout=5)
def all_by_name(name: str):
    return Author.objects.filter(name=name)


@cached_query(timeout=300)
def plainly_by_name(name: str):
    return Author.objects.get(name=name)


@cached_query(timeout=300)
def title_or_nothing(name: str):
    try:
        return Book.objects.get(author=by_name(name)).title
    except ObjectDoesNotExist:
        return None


@cached_query(timeout=300, negative_timeout=5)
def profile_of(author: Author):
    return Author.objects.get(pk=author.pk).profile


@cached_query(timeout=300, negative_timeout=5)
async def aby_name(name: str):
    return await Author.objects.aget(name=name)


def life_of_value(valkey):
    (key,) = [key for key in valkey.scan_iter() if b":v:" in key]
    return valkey.pttl(key)


@pytest.mark.parametrize(("function", "nothing"), [(first_by_name, None), (all_by_name, [])])
def test_nothing_is_kept_for_a_time_of_its_own(function, nothing, valkey, outcomes):
    assert function("Ada") == nothing
    assert function("Ada") == nothing
    assert outcomes(function)["hits"] == 1
    assert 3_500 < life_of_value(valkey) <= 5_000

    Author.objects.create(name="Ada", email="ada@example.org")

    assert function("Ada")
    assert 250_000 < life_of_value(valkey) <= 300_000


def test_absent_row_is_kept_and_raised_again(valkey, outcomes, queries):
    with pytest.raises(Author.DoesNotExist) as missed:
        by_name("Ada")
    with queries() as ran, pytest.raises(Author.DoesNotExist) as hit:
        by_name("Ada")

    assert ran == []
    assert str(hit.value) == str(missed.value) == "Author matching query does not exist."
    assert (outcomes(by_name)["hits"], outcomes(by_name)["misses"], outcomes(by_name)["sets"]) == (1, 1, 1)
    assert 3_500 < life_of_value(valkey) <= 5_000


def test_row_that_comes_to_exist_is_found_at_once(elsewhere):
    with pytest.raises(Author.DoesNotExist):
        by_name("Ada")

    elsewhere(Author.objects.create, name="Ada", email="ada@example.org")

    assert by_name("Ada").email == "ada@example.org"


def test_absence_is_not_kept_without_the_option(outcomes):
    for _ in range(2):
        with pytest.raises(Author.DoesNotExist):
            plainly_by_name("Ada")

    assert (outcomes(plainly_by_name)["hits"], outcomes(plainly_by_name)["sets"]) == (0, 0)


def test_more_special_exceptions_are_not_kept(outcomes):
    ada = Author.objects.create(name="Ada", email="ada@example.org")

    for _ in range(2):
        with pytest.raises(Author.profile.RelatedObjectDoesNotExist):
            profile_of(ada)

    assert outcomes(profile_of)["sets"] == 0
    Profile.objects.create(author=ada)
    assert profile_of(ada).author_id == ada.pk


@pytest.mark.parametrize("inner", ["cold", "warm"])
def test_outer_function_depends_on_the_absence_inside(inner, outcomes):
    if inner == "warm":
        with pytest.raises(Author.DoesNotExist):
            by_name("Ada")
    assert title_or_nothing("Ada") is None
    assert title_or_nothing("Ada") is None
    assert outcomes(title_or_nothing)["hits"] == 1

    author = Author.objects.create(name="Ada", email="ada@example.org")
    Book.objects.create(title="Notes", author=author)

    assert title_or_nothing("Ada") == "Notes"


def test_outer_function_depends_on_the_tag_of_an_inner_one_that_failed(outcomes):
    title_or_nothing("Ada")
    by_name.invalidate_all()

    title_or_nothing("Ada")

    assert outcomes(title_or_nothing)["stale"] == 1


def test_async_functions_keep_absences_too(outcomes):
    from tests.cache.test_functions import in_event_loop

    async def main():
        for _ in range(2):
            with pytest.raises(Author.DoesNotExist):
                await aby_name("Ada")

    in_event_loop(main())
    connections.close_all()
    assert outcomes(aby_name)["hits"] == 1


def test_wrong_duration_is_refused():
    with pytest.raises(ConfigurationError) as caught:
        cached_query(negative_timeout=0)(life_of_value)

    assert str(caught.value) == (
        "cached_query(negative_timeout=0) on tests.cache.test_negative.life_of_value: give seconds, at least 0.001."
    )
