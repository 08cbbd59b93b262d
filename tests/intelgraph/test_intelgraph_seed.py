"""intelgraph_seed: deterministic, skewed, in one transaction."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, F, Max, Min

from dbopt.intelgraph.models import (
    AuditLog,
    Entity,
    EntityEmbedding,
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
from dbopt.intelgraph.synthetic import tenant_shares
from dbopt.management.progress import ProgressLine
from tests.intelgraph.commands import run

pytestmark = pytest.mark.django_db
CONTENT = (
    (Entity, "tenant__slug external_id type canonical_id name confidence props created_at updated_at"),
    (
        Relationship,
        "external_id source__external_id target__external_id type confidence weight valid_from valid_to props",
    ),
    (Investigation, "external_id name status priority assigned_to__username created_at"),
    (InvestigationEntity, "investigation__external_id entity__external_id added_at"),
    (Source, "entity__external_id type url title created_at"),
    (AuditLog, "actor__username action object_type created_at"),
    (EntityEmbedding, "entity__external_id model vector is_stale created_at"),
    (McpServer, "name url is_enabled created_at"),
    (Pipeline, "slug is_enabled next_run_at created_at"),
    (McpSession, "server__name token_hash started_at ended_at"),
    (Run, "pipeline__slug status priority idempotency_key created_at started_at heartbeat_at"),
)


def seed(*arguments):
    """Run the command; returns exit code, standard output, standard error."""
    return run("intelgraph_seed", *arguments)


def content():
    return {
        model.__name__: [str(row) for row in model.objects.order_by("id").values_list(*names.split())]
        for model, names in CONTENT
    }


def test_counts_are_those_asked_for():
    code, out, err = seed("--entities", "1000", "--tenants", "3", "--json")

    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["counts"]["entities"] == Entity.objects.count() == 1000
    assert result["counts"]["relationships"] == Relationship.objects.count() == 3000
    assert result["changed"] is True
    assert result["tenants"] == ["seed-1-01", "seed-1-02", "seed-1-03"]


def test_same_arguments_give_the_same_rows():
    seed("--entities", "300", "--tenants", "2", "--seed", "5")
    first = content()

    seed("--entities", "300", "--tenants", "2", "--seed", "5", "--replace")
    assert all(len(rows) > 3 for rows in first.values())
    code, out, _ = seed("--entities", "300", "--tenants", "2", "--seed", "5")

    assert (code, out[:16]) == (0, "Nothing changed:")
    assert content() == first


def test_another_seed_gives_other_rows_beside_the_first():
    seed("--entities", "50", "--tenants", "1", "--seed", "1")
    seed("--entities", "50", "--tenants", "1", "--seed", "2")

    names = [
        set(Entity.objects.filter(tenant__slug=f"seed-{seed}-01").values_list("name", flat=True)) for seed in (1, 2)
    ]
    assert [len(found) for found in names] == [50, 50]
    assert len(names[0] & names[1]) < 5


def test_another_size_is_refused_unless_replaced():
    seed("--entities", "50", "--tenants", "1")

    code, _, err = seed("--entities", "60", "--tenants", "1")
    assert code == 2
    assert err == (
        "Synthetic data of seed 1 is there already, in another size. "
        "Use --replace to delete it first, or another --seed."
    )
    assert Entity.objects.count() == 50
    assert seed("--entities", "60", "--tenants", "1", "--replace")[0] == 0
    assert (Entity.objects.count(), Tenant.objects.count()) == (60, 1)
    assert AuditLog.objects.exclude(tenant__in=Tenant.objects.all()).count() == 0


def test_data_is_skewed_like_real_data():
    seed("--entities", "3000", "--tenants", "3")

    sizes = list(Tenant.objects.annotate(size=Count("entities")).order_by("slug").values_list("size", flat=True))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[2]
    degrees = Counter(Relationship.objects.filter(tenant__slug="seed-1-01").values_list("source_id", flat=True))
    assert degrees.most_common(1)[0][1] > 20 * (degrees.total() / sizes[0])
    assert Relationship.objects.filter(valid_to__lt=F("valid_from")).exists()
    pairs = (
        Relationship.objects.values("source", "target", "type").annotate(number=Count("id")).aggregate(Max("number"))
    )
    assert pairs["number__max"] > 1
    assert not Relationship.objects.exclude(source__tenant=F("tenant")).exists()
    assert not Relationship.objects.exclude(target__tenant=F("tenant")).exists()
    assert not InvestigationEntity.objects.exclude(entity__tenant=F("investigation__tenant")).exists()
    assert Entity.objects.aggregate(low=Min("confidence"), high=Max("confidence"))["low"] < 0.2


def test_there_are_users_to_log_in_as_but_no_password_fits():
    seed("--entities", "20", "--tenants", "2")

    members = Member.objects.select_related("user")
    assert {member.tenant_id for member in members} == set(Tenant.objects.values_list("pk", flat=True))
    assert not any(member.user.has_usable_password() for member in members)
    assert get_user_model().objects.filter(is_staff=True).count() == 0


def test_new_rows_get_keys_after_the_seeded_ones():
    seed("--entities", "20", "--tenants", "1")

    tenant = Tenant.objects.get()
    highest = Entity.objects.aggregate(Max("pk"))["pk__max"]

    assert Entity.objects.create(tenant=tenant, type="P", name="new").pk > highest


def test_an_interrupted_run_leaves_nothing(monkeypatch):
    def interrupt(self, text):
        if "sources" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "update", interrupt)

    code, out, err = seed("--entities", "100", "--tenants", "2")

    assert (code, out, err) == (130, "", "Interrupted: nothing was written.")
    assert not Tenant.objects.exists()
    assert not Entity.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entities", "0"], "--entities is 0; it must be at least 1."),
        (["--entities", "5", "--tenants", "0"], "--tenants is 0; it must be at least 1."),
        (["--entities", "2", "--tenants", "3"], "--tenants is 3, more than --entities (2)."),
        (["--entities", "2", "--tenants", "1", "--database", "other"], "There is no database 'other' in DATABASES."),
    ],
)
def test_wrong_use_is_named(arguments, message):
    assert seed(*arguments) == (2, "", message)


@pytest.mark.parametrize(("entities", "tenants"), [(1, 1), (5, 5), (6, 5), (7, 5), (1000, 999), (100_000, 5)])
def test_shares_add_up_and_nobody_gets_nothing(entities, tenants):
    sizes = [share.entities for share in tenant_shares(entities, tenants)]

    assert sum(sizes) == entities
    assert min(sizes) >= 1
    assert sizes == sorted(sizes, reverse=True)


def test_limits_for_requests_do_not_end_it():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '30ms'")

    code, _, err = seed("--entities", "3000", "--tenants", "1")

    assert (code, err) == (0, "")
