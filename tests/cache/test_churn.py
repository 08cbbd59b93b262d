"""Functions whose results are made wrong faster than they are read go around the cache for a minute."""

from __future__ import annotations

import pytest

from dbopt.cache import cached_query, statistics
from dbopt.cache.functions import churn
from dbopt.cache.functions.churn import LOOKS, REST_SECONDS, Churn
from dbopt.cache.names.tokens import table_tag
from dbopt.cache.server.servers import server
from tests.testapp.models import Author

TAG = table_tag("default", "testapp_author")


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self):
        return self.now


def after(hits, losses):
    clock = Clock()
    found = Churn(clock)
    for _ in range(hits):
        found.hit()
    for _ in range(losses):
        found.lost()
    return found, clock


@pytest.mark.parametrize(
    ("hits", "losses", "rests"),
    [(0, 1000, True), (99, 901, True), (100, 900, False), (0, 999, False), (5000, 1, False), (98, 901, False)],
)
def test_less_than_a_tenth_of_a_thousand_is_too_little(hits, losses, rests):
    assert after(hits, losses)[0].is_resting() is rests


def test_rest_ends_after_a_minute_and_counting_begins_anew():
    found, clock = after(0, LOOKS)

    clock.now += REST_SECONDS - 0.001
    assert found.is_resting()
    clock.now += 0.001
    assert not found.is_resting()

    for _ in range(LOOKS - 1):
        found.lost()
    assert not found.is_resting()
    found.lost()
    assert found.is_resting()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("shop_database")
class TestFunctions:
    """The same through cached functions, with a smaller number of look-ups."""

    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(churn, "LOOKS", 20)
        for function in (names, name_of, overtaken, names_around):
            function._spec.forget()
        self.clock = Clock()

    def settable(self, function):
        function._spec.churn = Churn(self.clock)
        return function

    def test_write_hot_function_goes_around_the_cache_and_comes_back(self, commands, queries, outcomes):
        self.settable(names)
        for number in range(21):
            Author.objects.create(name=f"{number:02}", email=f"{number}@example.org")
            assert len(names()) == number + 1

        with commands() as sent, queries() as ran:
            assert len(names()) == 21
        assert (sent, len(ran)) == ([], 1)
        counted = outcomes(names)
        assert (counted["bypass"], counted["stale"], counted["sets"]) == ({"write_hot": 1}, 20, 21)
        assert statistics()["byName"][names.name]["bypass"] == {"write_hot": 1}

        self.clock.now += REST_SECONDS
        names()
        assert outcomes(names)["hits"] == 1

    def test_refresh_stores_all_the_same(self, outcomes):
        self.settable(names)
        for _ in range(20):
            names._spec.churn.lost()

        names.refresh()

        assert outcomes(names)["sets"] == 1

    def test_function_around_is_not_stored_meanwhile(self, outcomes):
        self.settable(names)
        for _ in range(20):
            names._spec.churn.lost()

        names_around()

        assert outcomes(names_around)["refused"] == {"nested_bypass": 1}

    def test_cold_cache_becomes_warm(self, outcomes):
        self.settable(name_of)
        for number in range(40):
            name_of(number)
        for number in range(40):
            name_of(number)

        assert (outcomes(name_of)["hits"], outcomes(name_of)["bypass"]) == (40, {})

    def test_results_that_are_overtaken_while_they_are_computed_count_too(self, outcomes):
        self.settable(overtaken)
        for _ in range(21):
            overtaken()

        counted = outcomes(overtaken)
        assert (counted["refused"], counted["bypass"]) == ({"moved": 20}, {"write_hot": 1})

    def test_function_that_is_read_often_goes_on(self, outcomes):
        self.settable(names)
        for number in range(25):
            Author.objects.create(name=f"{number}", email=f"{number}@example.org")
            names()
            names()

        assert outcomes(names)["bypass"] == {}


@cached_query(timeout=300)
def names():
    return list(Author.objects.values_list("name", flat=True))


@cached_query(timeout=300)
def names_around():
    return names()


@cached_query(timeout=300)
def name_of(number: int):
    return list(Author.objects.filter(name=str(number)).values_list("name", flat=True))


@cached_query(timeout=300)
def overtaken():
    found = list(Author.objects.values_list("name", flat=True))
    server().renew([TAG])
    return found
