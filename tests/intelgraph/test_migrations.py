"""Migrations of both apps: complete, reversible, and right on other databases."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.utils import ConnectionHandler

from dbopt.intelgraph.checks import check_apps, check_database
from dbopt.intelgraph.models import Entity, EntityEmbedding, Tenant
from dbopt.intelgraph.vector_index import CreateVectorIndex
from dbopt.testing.assertions import assert_uses_index

NEAREST = (
    "SELECT entity_id FROM intelgraph_entityembedding WHERE cardinality(vector) = 384 "
    "ORDER BY vector::vector(384) <=> %s::vector LIMIT 5"
)


def tables():
    return {name for name in connection.introspection.table_names() if name.startswith(("intelgraph_", "dbopt_"))}


def indexes():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename ~ '^(intelgraph|dbopt)_' ORDER BY 1")
        return cursor.fetchall()


@pytest.mark.django_db
def test_models_and_migrations_agree():
    out = StringIO()

    call_command("makemigrations", "--check", "--dry-run", stdout=out)

    assert out.getvalue() == "No changes detected\n"


@pytest.mark.django_db(transaction=True)
def test_migrations_can_be_taken_back_and_applied_again():
    before = indexes()
    assert len(tables()) == 15

    for label in ("intelgraph", "dbopt"):
        call_command("migrate", label, "zero", verbosity=0)
    assert tables() == set()
    call_command("migrate", verbosity=0)

    assert len(tables()) == 15
    assert indexes() == before
    assert [name for name, _ in before if name.startswith("idx_embed")] == ["idx_embed_hnsw", "idx_embed_stale"]


def test_tables_of_dbopt_itself_migrate_on_sqlite(monkeypatch, tmp_path, django_db_blocker):
    handler = ConnectionHandler(
        {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "dbopt.sqlite3")}}
    )
    sqlite = handler["default"]
    monkeypatch.setattr(connections._connections, "sqlite_only", sqlite, raising=False)
    monkeypatch.setitem(connections.settings, "sqlite_only", sqlite.settings_dict)
    sqlite.alias = "sqlite_only"

    with django_db_blocker.unblock():
        for target in (None, "zero", None):
            arguments = ["dbopt"] if target is None else ["dbopt", target]
            call_command("migrate", *arguments, database="sqlite_only", verbosity=0, skip_checks=True)
            there = {name for name in sqlite.introspection.table_names() if name.startswith("dbopt_")}
            assert there == (set() if target == "zero" else {"dbopt_graphoutbox", "dbopt_queryhistory"})
        with sqlite.cursor() as cursor:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx\\_%' ESCAPE '\\'")
            names = {row[0] for row in cursor.fetchall()}
        sqlite.close()

    assert names == {
        "idx_outbox_dead",
        "idx_outbox_due",
        "idx_outbox_object",
        "idx_queryhist_alias_hour_total",
        "idx_queryhist_fp_hour",
        "idx_queryhist_hour",
    }


def test_another_database_is_an_error_with_a_way_out(monkeypatch):
    monkeypatch.setattr(connections["default"], "vendor", "sqlite")

    (error,) = check_database(databases=["default"])

    assert error.id == "dbopt.E101"
    assert error.msg == "dbopt.intelgraph needs PostgreSQL, but the database 'default' is sqlite."
    assert error.hint == "Remove dbopt.intelgraph from INSTALLED_APPS, or route it to a PostgreSQL database."


def test_missing_app_of_django_is_an_error_with_a_way_out(settings):
    assert check_apps(None) == []
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django.contrib.postgres"]

    (error,) = check_apps(None)

    assert error.id == "dbopt.E102"
    assert error.hint == 'Add "django.contrib.postgres" to INSTALLED_APPS.'


def test_postgresql_is_right():
    assert check_database(databases=["default"]) == []
    assert check_database(databases=None) == []


@pytest.mark.django_db
def test_nearest_neighbours_use_the_vector_index_and_other_sizes_are_kept_out_of_it():
    tenant = Tenant.objects.create(slug="vectors")
    entities = Entity.objects.bulk_create(Entity(tenant=tenant, type="P", name=str(number)) for number in range(200))
    EntityEmbedding.objects.bulk_create(
        EntityEmbedding(entity=entity, model="m", vector=[float(number % 7 + 1), float(number), *[1.0] * 382])
        for number, entity in enumerate(entities)
    )
    EntityEmbedding.objects.create(entity=entities[0], model="small", vector=[1.0, 2.0])
    wanted = [entities[number].pk for number in (7, 14)]
    probe = str([1.0, 7.0, *[1.0] * 382])

    assert_uses_index((NEAREST, [probe]), "idx_embed_hnsw")

    with connection.cursor() as cursor:
        cursor.execute(NEAREST, [probe])
        assert wanted[0] == cursor.fetchone()[0]


@pytest.mark.django_db
def test_without_the_extension_the_migration_goes_on(monkeypatch):
    operation = CreateVectorIndex(table="intelgraph_entityembedding", column="vector", dimensions=384, name="never")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("DROP EXTENSION vector CASCADE")
            cursor.execute("CREATE ROLE dbopt_no_rights")
            cursor.execute("GRANT ALL ON SCHEMA public TO dbopt_no_rights")
            cursor.execute("SET LOCAL ROLE dbopt_no_rights")
        with connection.schema_editor(atomic=False) as editor:
            operation.database_forwards("intelgraph", editor, None, None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relname = 'never'")
            assert cursor.fetchone() == (0,)
        transaction.set_rollback(True)


def test_operation_says_what_it_does():
    operation = CreateVectorIndex(table="t", column="c", dimensions=3, name="i")

    assert operation.describe() == "Create vector index i where pgvector is available"
