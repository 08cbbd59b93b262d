"""Every index serves the query that it was made for, none is superfluous, and none is missing from this list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from dbopt.intelgraph.models import (
    AuditLog,
    Entity,
    Investigation,
    InvestigationEntity,
    McpServer,
    McpSession,
    Member,
    Pipeline,
    Relationship,
    Run,
    Source,
    Tenant,
)
from dbopt.intelgraph.models.fields import MAX_NAME
from dbopt.intelgraph.queries import entities, investigations, members, relationships, work
from dbopt.intelgraph.schema import Query
from dbopt.intelgraph.seeding import seed
from dbopt.intelgraph.synthetic import EPOCH
from dbopt.models import GraphOutbox, QueryHistory
from dbopt.tenancy import tenant_context
from dbopt.testing.assertions import assert_uses_index

# pytest-django creates only the databases that marked tests ask for; each test is a savepoint inside `world`.
pytestmark = pytest.mark.django_db
HOUR = datetime(2025, 12, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def world(django_db_setup, django_db_blocker):
    """Some ten thousand rows in the big tables, with statistics; rolled back after this module."""
    with django_db_blocker.unblock(), transaction.atomic():
        seed(connection, entities=10_000, tenants=4, seed_number=77)
        _fill_operational_tables()
        # Pending checks of foreign keys would forbid to drop an index.
        connection.check_constraints()
        with connection.cursor() as cursor:
            # What a vacuum does, which cannot be in a transaction: a list of rows not yet sorted in makes GIN dear.
            cursor.execute(
                "SELECT gin_clean_pending_list(c.oid) FROM pg_class c JOIN pg_am a ON a.oid = c.relam "
                "WHERE a.amname = 'gin' AND c.relname LIKE 'idx%'"
            )
            cursor.execute("ANALYZE")
        tenant = Tenant.objects.get(slug="seed-77-01").pk
        hub = Relationship.objects.filter(tenant=tenant).order_by("id").values_list("source_id", flat=True)[0]
        yield SimpleNamespace(
            tenant=tenant,
            user=Member.objects.filter(tenant=tenant).values_list("user_id", flat=True)[0],
            email=Member.objects.filter(tenant=tenant).values_list("email", flat=True)[0],
            entity=hub,
            name=Entity.objects.filter(tenant=tenant, type="PERSON").order_by("-id").values_list("name", flat=True)[0],
            source=Source.objects.filter(tenant=tenant).values("entity_id", "url", "type")[0],
            investigation=Investigation.objects.filter(tenant=tenant).values_list("pk", flat=True)[0],
            case=Investigation.objects.filter(tenant=tenant).values_list("name", flat=True)[0],
            server=McpServer.objects.filter(tenant=tenant).values_list("pk", flat=True)[0],
            token=McpSession.objects.values_list("token_hash", flat=True)[0],
            pipeline=Pipeline.objects.filter(tenant=tenant).values_list("pk", flat=True)[0],
        )
        transaction.set_rollback(True)


def _fill_operational_tables():
    QueryHistory.objects.bulk_create(
        QueryHistory(
            alias="default",
            hour=HOUR - timedelta(hours=hour),
            fingerprint=f"{statement:016x}",
            text="SELECT",
            total_seconds=statement % 17,
        )
        for hour in range(100)
        for statement in range(100)
    )
    with connection.cursor() as cursor:
        # A log in the order of time, tenants mixed, as it grows in life: what BRIN is made for.
        cursor.execute(
            "INSERT INTO intelgraph_auditlog (tenant_id, action, object_type, object_id, data, created_at) "
            "SELECT 1000000 + n %% 400, 'view', 'entity', -n, '{}', %s::timestamptz + n * interval '10 minutes' "
            "FROM generate_series(1, 60000) n",
            [EPOCH],
        )
    GraphOutbox.objects.bulk_create(
        GraphOutbox(model="intelgraph.Entity", object_pk=str(number % 5000), next_at=HOUR, is_dead=number % 20 == 0)
        for number in range(10_000)
    )


# Name of the index -> the query that it serves, as the domain runs it.
QUERIES = {
    "idx_entity_tenant_created": lambda w: entities.newest(w.tenant)[:50],
    "idx_entity_tenant_type_created": lambda w: entities.newest(w.tenant, kind="EVENT")[:50],
    "idx_entity_tenant_type_conf": lambda w: entities.surest(w.tenant, "PERSON")[:50],
    "idx_entity_tenant_updated": lambda w: entities.changed_since(w.tenant, EPOCH - timedelta(days=300))[:50],
    "idx_entity_tenant_uname": lambda w: entities.named(w.tenant, w.name),
    "idx_entity_uname_trgm": lambda w: entities.name_contains(w.name[2:]),
    "idx_entity_props": lambda w: entities.with_props({"country": "DE", "risk": 7}),
    "idx_entity_search": lambda w: entities.matching(w.name),
    "idx_source_url_hash": lambda w: entities.sources_at(w.source["url"]),
    "idx_source_entity_type": lambda w: entities.sources_of(w.source["entity_id"], w.source["type"]),
    "idx_source_tenant_type_created": lambda w: entities.newest_sources(w.tenant, "report")[:50],
    "idx_embed_stale": lambda _: entities.stale_embeddings("mini-8")[:50],
    "idx_rel_source_type_target": lambda w: relationships.outgoing(w.entity, "OWNS"),
    "idx_rel_target_type_source": lambda w: relationships.incoming(w.entity, "OWNS"),
    "idx_rel_source_conf": lambda w: relationships.surest_targets(w.entity)[:50],
    "idx_rel_tenant_created": lambda w: relationships.newest(w.tenant)[:50],
    "idx_rel_tenant_type_conf": lambda w: relationships.surest(w.tenant, "OWNS")[:50],
    "idx_rel_tenant_span": lambda w: relationships.valid_on(w.tenant, EPOCH.date() - timedelta(days=1400)),
    "idx_rel_props": lambda _: relationships.with_props({"report": "42"}),
    "idx_inv_tenant_created": lambda w: investigations.newest(w.tenant)[:50],
    "idx_inv_tenant_status_prio": lambda w: investigations.by_priority(w.tenant, "open")[:50],
    "idx_inv_assignee_open": lambda w: investigations.open_of(w.user)[:50],
    "idx_inv_uname_trgm": lambda w: investigations.name_contains(w.case[5:]),
    "idx_inventity_inv_added": lambda w: investigations.members_of(w.investigation)[:50],
    "idx_inventity_entity_inv": lambda w: investigations.memberships_of(w.entity),
    "idx_member_uemail": lambda w: members.with_email(w.email),
    "idx_member_tenant_role_created": lambda w: members.newest(w.tenant, role="analyst")[:50],
    "idx_member_user_tenant": lambda w: members.of_user(w.user),
    "idx_audit_tenant_created": lambda w: members.newest_deeds(w.tenant)[:50],
    "idx_audit_object_created": lambda w: members.deeds_to("entity", w.entity)[:50],
    "idx_audit_tenant_actor_created": lambda w: members.deeds_by(w.tenant, w.user)[:50],
    "idx_audit_ten_action_created": lambda w: members.deeds_of(w.tenant, "delete")[:50],
    "idx_audit_created_brin": lambda _: members.deeds_between(EPOCH + timedelta(days=100), EPOCH + timedelta(days=130)),
    "idx_mcpserver_enabled": lambda _: work.enabled_servers(),
    "idx_mcpsess_server_started": lambda w: work.sessions_of(w.server)[:50],
    "idx_mcpsess_active": lambda _: work.open_sessions(EPOCH)[:50],
    "idx_mcpsess_token_hash": lambda w: work.sessions_with(w.token),
    "idx_pipeline_due": lambda _: work.due_pipelines(EPOCH)[:50],
    "idx_run_pipeline_created": lambda w: work.runs_of(w.pipeline)[:50],
    "idx_run_tenant_status_created": lambda w: work.runs_with_status(w.tenant, "failed")[:50],
    "idx_run_queue": lambda _: work.next_runs()[:10],
    "idx_run_stale": lambda _: work.lost_runs(EPOCH)[:50],
    "idx_queryhist_fp_hour": lambda _: QueryHistory.objects.filter(fingerprint=f"{7:016x}").order_by("-hour")[:50],
    "idx_queryhist_alias_hour_total": lambda _: QueryHistory.objects.filter(alias="default", hour=HOUR).order_by(
        "-total_seconds", "id"
    )[:20],
    "idx_queryhist_hour": lambda _: QueryHistory.objects.filter(hour__lt=HOUR - timedelta(hours=95)),
    "idx_outbox_due": lambda _: (
        GraphOutbox.objects.filter(alias="default", is_dead=False, next_at__lte=EPOCH)
        .order_by("next_at", "id")
        .select_for_update(skip_locked=True)[:100]
    ),
    "idx_outbox_object": lambda _: GraphOutbox.objects.filter(model="intelgraph.Entity", object_pk="77").order_by("id"),
    "idx_outbox_dead": lambda _: GraphOutbox.objects.filter(alias="default", is_dead=True).order_by(
        "-created_at", "-id"
    )[:50],
}
DOMAIN = ("dbopt", "intelgraph")


def declared():
    """Every index of Meta.indexes of both apps, by name."""
    return {
        index.name: (model, index)
        for label in DOMAIN
        for model in apps.get_app_config(label).get_models()
        for index in model._meta.indexes
    }


def test_indexes_serve_the_filters_of_the_schema(world):
    with tenant_context(world.tenant):
        named = Query.resolve_entities(None, None, text=world.name[2:])
        related = Query.resolve_relationships(None, None, entity=world.entity)

    assert_uses_index(named, "idx_entity_uname_trgm", allow_sort=True)
    assert_uses_index(related, "idx_rel_target_type_source", allow_sort=True)


@pytest.mark.parametrize(
    ("model", "parent", "order", "index"),
    [
        (Relationship, "source", ("type", "target_id", "id"), "idx_rel_source_type_target"),
        (Relationship, "target", ("type", "source_id", "id"), "idx_rel_target_type_source"),
        (Source, "entity", ("type", "-id"), "idx_source_entity_type"),
    ],
)
def test_indexes_serve_the_pages_of_an_entity_in_their_order(world, model, parent, order, index):
    entity = world.source["entity_id"] if model is Source else world.entity

    assert_uses_index(model.objects.filter(**{parent: entity}).order_by(*order)[:10], index)


def test_every_declared_index_has_its_query_here():
    assert set(QUERIES) == set(declared())
    assert len(QUERIES) >= 40


def test_names_begin_with_idx_and_fit_thirty_characters():
    assert [name for name in declared() if not name.startswith("idx_") or len(name) > 30] == []


@pytest.mark.parametrize("name", QUERIES)
def test_index_serves_its_query(world, name):
    assert_uses_index(QUERIES[name](world), name)


@pytest.mark.parametrize("name", QUERIES)
def test_without_the_index_the_assertion_fails(world, name):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX {connection.ops.quote_name(name)}")

        with pytest.raises(AssertionError) as caught:
            assert_uses_index(QUERIES[name](world), name)

        transaction.set_rollback(True)
    assert str(caught.value).startswith(f"PostgreSQL does not use index {name!r}. No index of that name exists.\nPlan:")


INDEXES = """
    SELECT c.relname, i.indrelid::regclass::text, i.indisunique, a.amname,
           coalesce(pg_get_expr(i.indpred, i.indrelid), ''),
           ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true) || ' ' || i.indclass[n - 1]::text || ' '
                        || i.indoption[n - 1]::text
                 FROM generate_series(1, i.indnkeyatts) n),
           i.indnatts > i.indnkeyatts
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_am a ON a.oid = c.relam
    WHERE t.relname LIKE 'intelgraph\\_%' OR t.relname IN ('dbopt_queryhistory', 'dbopt_graphoutbox')
    ORDER BY c.relname
"""


def redundant(rows):
    """Indexes whose columns another one of the same kind begins with; a unique one is never redundant."""
    found = []
    for name, table, unique, method, predicate, columns, covering in rows:
        for other, other_table, _, other_method, other_predicate, other_columns, _ in rows:
            same = (table, method, predicate) == (other_table, other_method, other_predicate)
            if name == other or unique or covering or not same:
                continue
            if other_columns[: len(columns)] == columns or other_columns[: len(columns)] == reverse(columns):
                found.append((name, other))
    return found


def reverse(columns):
    """The same index read backwards: option 0 is ascending, 3 descending with NULLs first."""
    flip = {"0": "3", "3": "0"}
    return [" ".join([*column.split(" ")[:-1], flip.get(column.split(" ")[-1], "?")]) for column in columns]


def test_no_index_is_redundant(world):
    with connection.cursor() as cursor:
        cursor.execute(INDEXES)
        rows = cursor.fetchall()

    assert len(rows) > len(QUERIES)
    assert redundant(rows) == []


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        ("tenant_id", "uq_entity_tenant_external"),
        ("tenant_id, type", "idx_entity_tenant_type_created"),
        ("tenant_id, created_at DESC", "idx_entity_tenant_created"),
        ("tenant_id DESC, created_at, id", "idx_entity_tenant_created"),
    ],
)
def test_a_redundant_index_would_be_found(world, columns, by):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE INDEX superfluous ON intelgraph_entity ({columns})")
            cursor.execute(INDEXES)
            found = redundant(cursor.fetchall())
        transaction.set_rollback(True)

    assert ("superfluous", by) in found
    assert {name for name, _ in found} <= {"superfluous", by}


def test_every_foreign_key_has_an_index_that_begins_with_it(world):
    """Else deleting a parent reads the whole table of its children."""
    with connection.cursor() as cursor:
        cursor.execute(INDEXES)
        leading = {(table, columns[0].split(" ")[0]) for _, table, _, _, predicate, columns, _ in cursor.fetchall()}

    missing = [
        f"{model.__name__}.{field.name}"
        for label in DOMAIN
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.concrete_fields
        if field.is_relation and field.db_constraint and (model._meta.db_table, field.column) not in leading
    ]
    assert missing == []


def test_days_of_validity(world):
    entity = Entity.objects.get(pk=world.entity)
    day = EPOCH.date()
    spans = {
        "both": (day, day + timedelta(days=2)),
        "no start": (None, day + timedelta(days=1)),
        "no end": (day + timedelta(days=1), None),
        "none": (None, None),
        "reversed": (day + timedelta(days=1), day - timedelta(days=5)),
    }
    with transaction.atomic():
        Relationship.objects.bulk_create(
            Relationship(
                tenant_id=world.tenant,
                source=entity,
                target=entity,
                type="SPAN",
                external_id=name,
                valid_from=start,
                valid_to=end,
            )
            for name, (start, end) in spans.items()
        )

        def valid(offset):
            rows = relationships.valid_on(world.tenant, day + timedelta(days=offset)).filter(type="SPAN")
            return set(rows.values_list("external_id", flat=True))

        seen = {offset: valid(offset) for offset in (-6, 0, 1, 2, 3)}
        transaction.set_rollback(True)

    assert seen == {
        -6: {"no start", "none"},
        0: {"both", "no start", "none"},
        1: {"both", "no start", "no end", "none", "reversed"},
        2: {"both", "no end", "none"},
        3: {"no end", "none"},
    }


def test_counts_by_type_are_those_of_a_plain_count(world):
    wanted = {}
    for kind in Entity.objects.filter(tenant=world.tenant).values_list("type", flat=True):
        wanted[kind] = wanted.get(kind, 0) + 1

    assert list(entities.type_counts(world.tenant)) == sorted(wanted.items())
    assert_uses_index(entities.type_counts(world.tenant), "idx_entity_tenant_type_created", index_only=True)


def test_the_longest_name_fits_the_indexes(world):
    # Characters of four bytes that do not compress.
    name = "".join(chr(0x20000 + (number * 7919) % 40_000) for number in range(MAX_NAME))
    entity = Entity(tenant_id=world.tenant, type="PERSON", name=name)

    entity.clean_fields()
    entity.save()
    assert [row.pk for row in entities.named(world.tenant, name)] == [entity.pk]

    entity.name += "x"
    with pytest.raises(ValidationError, match="at most 500 characters"):
        entity.clean_fields()


def test_words_of_a_name_are_kept_by_the_index_alone(world):
    """A tsvector in the row would be fetched with every entity, and returned by every INSERT."""
    with transaction.atomic(), CaptureQueriesContext(connection) as reads_and_writes:
        entity = Entity.objects.create(tenant_id=world.tenant, type="PERSON", name="Ada Unheard-of")
        assert Relationship.objects.select_related("source", "target").first().source.name
        assert Relationship.objects.first().target.name
        assert [row.pk for row in Entity.objects.filter(name=entity.name)] == [entity.pk]
        entity.refresh_from_db()
        found = list(entities.matching("unheard ada"))
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'intelgraph_entity'")
        columns = {name for (name,) in cursor.fetchall()}

    assert found == [entity]
    fetched = [query["sql"].partition("FROM")[0] for query in reads_and_writes if "intelgraph_entity" in query["sql"]]
    assert len(fetched) == 6
    assert not [sql for sql in fetched if "tsvector" in sql or "search" in sql]
    assert columns == {field.column for field in Entity._meta.concrete_fields}
    assert "search" not in columns


def test_reads_give_what_they_promise(world):
    page = list(entities.newest(world.tenant)[:200])
    assert page == sorted(page, key=lambda row: (row.created_at, row.pk), reverse=True)
    assert {row.tenant_id for row in page} == {world.tenant}
    assert world.name in [row.name for row in entities.name_contains(world.name[2:].upper())]
    assert [row.name for row in entities.named(world.tenant, world.name.swapcase())] == [world.name]
    assert world.name in [row.name for row in entities.matching(world.name)]
    assert all(row.props["risk"] == 7 for row in entities.with_props({"risk": 7}))
    assert {row.status for row in investigations.open_of(world.user)} == {"open", "active"}
    assert list(investigations.memberships_of(world.entity)) == sorted(
        InvestigationEntity.objects.filter(entity=world.entity).values_list("investigation_id", flat=True)
    )
    assert not AuditLog.objects.filter(actor__isnull=False).exclude(tenant__in=Tenant.objects.all()).exists()
    assert not Relationship.objects.exclude(tenant=F("source__tenant")).exists()
    assert {run.status for run in Run.objects.filter(pk__in=[run.pk for run in work.next_runs()[:10]])} == {"queued"}
