"""Rows of a replica: used, but stored only when the replica must have seen all writes."""

# ruff: noqa: PLR0913, PLR0917  parameters of a test are its circumstances

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.cache import cached_query
from dbopt.cache.names import tokens
from tests.cache.conftest import connect, wait_until
from tests.cache.databases import second_database
from tests.cache.stages import clock
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300)
def names():
    """As a project with a router has it: where it reads is not among its arguments."""
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300)
def name_of(pk: int):
    return Author.objects.filter(pk=pk).values_list("name", flat=True).first()


@cached_query(timeout=300, level="strict")
def strict_names():
    return list(Author.objects.values_list("name", flat=True))


class Router:
    """Reads go where the test says."""

    source = "replica"

    def db_for_read(self, model, **hints):
        return self.source

    def db_for_write(self, model, **hints):
        return "default"


class Replica:
    """A second database into which the rows of the first come when the test says so."""

    def __init__(self, router):
        self._router = router

    def catch_up(self):
        name = f"{connection.settings_dict['NAME']}_replica"
        with connect() as source, connect(dbname=name) as target:
            rows = source.execute("SELECT id, name, email FROM testapp_author").fetchall()
            target.execute("DELETE FROM testapp_author")
            for row in rows:
                target.execute("INSERT INTO testapp_author (id, name, email) VALUES (%s, %s, %s)", row)

    def retire(self):
        """Have the router read from the primary."""
        self._router.source = "default"


def lagging(seconds):
    return override_settings(DBOPT={**settings.DBOPT, "CACHE": {"REPLICA_LAG": seconds}})


@pytest.fixture
def replica(outside):
    router = Router()
    with second_database(outside, "replica", MIRROR="default"), override_settings(DATABASE_ROUTERS=[router]):
        yield Replica(router)


@pytest.fixture
def ada(replica):
    author = Author.objects.create(name="Ada", email="ada@example.org")
    replica.catch_up()
    return author


def rename(author):
    Author.objects.filter(pk=author.pk).update(name="Grace")


def rename_atomically(author):
    with atomic():
        rename(author)


@pytest.mark.parametrize("write", [rename, rename_atomically])
def test_r10_old_rows_are_used_and_not_stored(ada, replica, elsewhere, outcomes, write):
    with lagging(60):
        write(ada)
        assert elsewhere(names) == ["Ada"]
        assert elsewhere(name_of, ada.pk) == "Ada"
        replica.catch_up()

        assert elsewhere(names) == ["Grace"]
        assert elsewhere(name_of, ada.pk) == "Grace"

    assert outcomes(names)["refused"] == {"hold_off": 2}
    assert outcomes(name_of)["refused"] == {"hold_off": 2}


def test_r10b_old_rows_are_not_served_for_the_primary(ada, replica, elsewhere):
    with lagging(60):
        rename(ada)
        assert elsewhere(names) == ["Ada"]
        replica.retire()

        assert elsewhere(names) == ["Grace"]


def test_rows_are_stored_when_the_hold_off_is_over(ada, replica, elsewhere, outcomes):
    with lagging(0.3):
        rename(ada)
        replica.catch_up()

        wait_until(lambda: elsewhere(names) == ["Grace"] and outcomes(names)["hits"], what="a hit")
        assert set(outcomes(names)["refused"]) <= {"hold_off"}


def test_write_on_the_primary_makes_rows_of_the_replica_invalid(ada, replica, elsewhere, outcomes):
    with lagging(0):
        assert elsewhere(names) == elsewhere(names) == ["Ada"]
        rename(ada)
        replica.catch_up()

        assert elsewhere(names) == ["Grace"]
        assert outcomes(names)["hits"] == 1


def test_other_rows_than_the_written_ones_are_stored(ada, replica, elsewhere, outcomes):
    with lagging(0):
        ben = Author.objects.create(name="Ben", email="ben@example.org")
        replica.catch_up()
        elsewhere(name_of, ben.pk)
    with lagging(60):
        rename(ada)
        assert elsewhere(name_of, ben.pk) == "Ben"

    assert outcomes(name_of)["hits"] == 1


def test_token_that_is_made_anew_holds_off_too(ada, replica, elsewhere, outcomes, valkey):
    """The one that was evicted may have been renewed a moment ago."""
    with lagging(60):
        rename(ada)
        valkey.flushdb()

        assert elsewhere(names) == ["Ada"]

    assert outcomes(names)["refused"] == {"hold_off": 1}


@pytest.mark.parametrize("ahead", [-3600, 3600])
@pytest.mark.parametrize(("lag", "stored"), [(60, 0), (0, 1)])
def test_clock_of_the_writer_does_not_matter(ada, outcomes, ahead, lag, stored, monkeypatch):
    with lagging(lag):
        with monkeypatch.context() as patch:
            clock(patch, [tokens], ahead=ahead)
            rename(ada)
        names()

    assert outcomes(names)["sets"] == stored


def test_strict_result_never_comes_from_a_replica(ada, outcomes):
    declared = {"STRICT": ["*"], "REPLICA_LAG": 0}
    with override_settings(DBOPT={**settings.DBOPT, "CACHE": declared}):
        strict_names()

    assert outcomes(strict_names)["refused"] == {"replica": 1}


def test_without_replicas_nothing_costs_more(shop_database, commands):
    Author.objects.create(name="Ada", email="ada@example.org")

    with commands() as sent:
        rename(Author.objects.get())

    assert sent == [["SET", "SET"]]
