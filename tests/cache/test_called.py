"""Functions of the database that a statement calls: what they read does not show."""

from __future__ import annotations

import pytest
from django.db import connection

from dbopt.cache import cached_query
from tests.testapp.models import Author, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

BODY = "RETURNS text LANGUAGE sql AS 'SELECT max(slug)::text FROM testapp_tag'"


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@cached_query(timeout=300)
def rows(column: str):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, {column} FROM testapp_author")
        return cursor.fetchall()


@pytest.fixture
def newest(shop_database):
    Author.objects.create(name="Ada", email="ada@example.org")
    Tag.objects.create(slug="a")
    run(f"CREATE FUNCTION testapp_newest() {BODY} STABLE")
    run("CREATE FUNCTION testapp_twice(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1 || $1'")
    yield
    run("DROP FUNCTION testapp_newest(); DROP FUNCTION testapp_twice(text)")


@pytest.mark.parametrize("column", ["testapp_newest()", 'upper(public."testapp_newest"())'])
def test_result_of_a_function_that_may_read_is_not_stored(newest, elsewhere, outcomes, column):
    assert elsewhere(rows, column)[0][1].lower() == "a"
    Tag.objects.update(slug="b")

    assert elsewhere(rows, column)[0][1].lower() == "b"
    assert outcomes(rows)["refused"] == {"unknown_table": 2}


@pytest.mark.parametrize("column", ["upper(name)", "coalesce(name, 'x')", "testapp_twice(name)"])
def test_result_of_a_function_that_reads_nothing_is_stored(newest, elsewhere, outcomes, column):
    assert elsewhere(rows, column) == elsewhere(rows, column)
    assert outcomes(rows)["hits"] == 1


def test_definition_that_changes_is_asked_for_again(newest, elsewhere, outcomes):
    elsewhere(rows, "testapp_newest()")
    run(f"CREATE OR REPLACE FUNCTION testapp_newest() {BODY} IMMUTABLE")

    assert elsewhere(rows, "testapp_newest()") == elsewhere(rows, "testapp_newest()")
    assert outcomes(rows)["hits"] == 1
