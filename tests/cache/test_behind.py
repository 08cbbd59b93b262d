"""Models of views, partitions and tables that inherit: their rows are those of other tables too."""

from __future__ import annotations

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from dbopt.cache import cached_query
from dbopt.cache.observation import observer, written
from tests.testapp.models import Publisher, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

MODELS: dict[str, type[models.Model]] = {}


@cached_query(timeout=300)
def slugs(table: str):
    return sorted(MODELS[table].objects.values_list("slug", flat=True))


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@isolate_apps("tests.testapp")
def declared(table):
    class Unmanaged(models.Model):  # noqa: DJ008
        slug = models.CharField(max_length=100)

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = table

    return Unmanaged


@pytest.fixture
def unmanaged(monkeypatch):
    """Declare models of relations that Django did not make, as if an app had them."""

    def declare(*tables):
        for module in (observer, written):
            known = module.known_among
            monkeypatch.setattr(
                module, "known_among", lambda ids, known=known: known(ids) | set(tables).intersection(ids)
            )
            monkeypatch.setattr(module, "unmanaged_tables", lambda: {table: table for table in tables})
        MODELS.update({table: declared(table) for table in tables}, testapp_tag=Tag)

    yield declare
    MODELS.clear()


def test_table_that_inherits_and_its_parent_share_rows(unmanaged, elsewhere):
    run("CREATE TABLE testapp_child () INHERITS (testapp_tag)")
    unmanaged("testapp_child")
    try:
        assert elsewhere(slugs, "testapp_tag") == elsewhere(slugs, "testapp_child") == []
        MODELS["testapp_child"].objects.create(id=5, slug="x")
        assert elsewhere(slugs, "testapp_tag") == elsewhere(slugs, "testapp_child") == ["x"]
        Tag.objects.update(slug="y")
        assert elsewhere(slugs, "testapp_tag") == elsewhere(slugs, "testapp_child") == ["y"]
    finally:
        run("DROP TABLE testapp_child")


def test_partition_its_table_and_a_view_of_that_share_rows(unmanaged, elsewhere):
    run(
        "CREATE TABLE testapp_whole (id bigint, slug text) PARTITION BY LIST (id);"
        "CREATE TABLE testapp_part PARTITION OF testapp_whole FOR VALUES IN (1);"
        "CREATE VIEW testapp_seen AS SELECT * FROM testapp_whole"
    )
    tables = ("testapp_whole", "testapp_part", "testapp_seen")
    unmanaged(*tables)
    try:
        assert [elsewhere(slugs, table) for table in tables] == [[], [], []]
        MODELS["testapp_part"].objects.create(id=1, slug="x")
        assert [elsewhere(slugs, table) for table in tables] == [["x"]] * 3
        MODELS["testapp_seen"].objects.update(slug="y")
        assert [elsewhere(slugs, table) for table in tables] == [["y"]] * 3
    finally:
        run("DROP TABLE testapp_whole CASCADE")


@pytest.mark.parametrize("column", ["testapp_newest()", "now()::text", "name || random()"])
def test_view_over_a_function_that_is_not_immutable_is_not_stored(unmanaged, outcomes, column):
    Publisher.objects.create(name="Press")
    run(
        "CREATE FUNCTION testapp_newest() RETURNS text STABLE LANGUAGE sql AS 'SELECT max(slug) FROM testapp_tag';"
        f"CREATE VIEW testapp_seen AS SELECT id, {column} AS slug FROM testapp_publisher"
    )
    unmanaged("testapp_seen")
    try:
        slugs("testapp_seen")
        assert outcomes(slugs)["refused"] == {"unknown_table": 1}
    finally:
        run("DROP VIEW testapp_seen; DROP FUNCTION testapp_newest()")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE testapp_seen SET slug = name FROM testapp_publisher",
        "INSERT INTO testapp_child (id, slug) SELECT 7, name FROM testapp_publisher",
        "WITH x AS (DELETE FROM ONLY testapp_seen RETURNING 1) SELECT count(*) FROM testapp_publisher",
        "MERGE INTO testapp_seen USING testapp_publisher ON true WHEN MATCHED THEN UPDATE SET slug = name",
    ],
)
def test_write_to_what_no_model_stands_for_is_seen_beside_a_known_table(elsewhere, statement):
    Publisher.objects.create(name="Press")
    Tag.objects.create(slug="x")
    MODELS["testapp_tag"] = Tag
    run("CREATE VIEW testapp_seen AS SELECT * FROM testapp_tag; CREATE TABLE testapp_child () INHERITS (testapp_tag)")
    try:
        assert elsewhere(slugs, "testapp_tag") == ["x"]
        run(statement)
        assert elsewhere(slugs, "testapp_tag") == elsewhere(slugs.uncached, "testapp_tag") != ["x"]
    finally:
        run("DROP VIEW testapp_seen; DROP TABLE testapp_child")
