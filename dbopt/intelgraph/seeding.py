"""Fill the domain's tables with synthetic rows: one transaction, by COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.db import models, transaction

from dbopt.cache import writes
from dbopt.intelgraph.copying import copy_rows, lift_limits, reserve_ids, settle
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
from dbopt.intelgraph.synthetic import EPOCH, Generator, Shares, tenant_shares

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

MEMBERS, PIPELINES, SESSIONS = 3, 5, 50
# In the order of the generator's values; tenant_id is put in front of them.
COLUMNS: dict[type[models.Model], str] = {
    Entity: "tenant_id external_id type canonical_id name confidence props created_at updated_at",
    Relationship: (
        "tenant_id external_id source_id target_id type confidence weight valid_from valid_to props "
        "created_at updated_at"
    ),
    Investigation: "tenant_id external_id name status priority assigned_to_id created_at updated_at",
    InvestigationEntity: "investigation_id entity_id added_at",
    Source: "tenant_id entity_id type url title created_at",
    AuditLog: "tenant_id actor_id action object_type object_id data created_at",
    EntityEmbedding: "entity_id model vector is_stale created_at",
    McpSession: "server_id token_hash started_at ended_at",
    Run: "tenant_id pipeline_id status priority idempotency_key created_at started_at heartbeat_at",
}


@dataclass(slots=True)
class Seeded:
    """What a run did; counts of rows by table."""

    tenants: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    changed: bool = True


class DifferentSeedError(ValueError):
    """There is synthetic data of the same seed but another size."""


def seed(  # noqa: PLR0913 - keyword-only options of a command
    connection: BaseDatabaseWrapper,
    *,
    entities: int,
    tenants: int,
    seed_number: int,
    replace: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Seeded:
    """Create tenants ``seed-<number>-<rank>`` with users, entities and everything around them.

    A second run with the same arguments changes nothing.

    Raises:
        DifferentSeedError: data of this seed is there in another size, and replace is off.
    """
    shares = tenant_shares(entities, tenants)
    slugs = [f"seed-{seed_number}-{rank + 1:02}" for rank in range(tenants)]
    alias = connection.alias
    # COPY does not show in the statements that the cache watches.
    tables = apps.get_app_config("intelgraph").get_models()
    with writes(*tables, using=alias), transaction.atomic(using=alias):
        lift_limits(connection)
        existing = Tenant.objects.using(alias).filter(slug__startswith=f"seed-{seed_number}-")
        if _matches(existing, slugs, shares):
            return Seeded(slugs, _counts(alias, existing), changed=False)
        if existing and not replace:
            raise DifferentSeedError(
                f"Synthetic data of seed {seed_number} is there already, in another size. "
                "Use --replace to delete it first, or another --seed."
            )
        AuditLog.objects.using(alias).filter(tenant__in=list(existing)).delete()
        existing.delete()
        for rank, (slug, share) in enumerate(zip(slugs, shares, strict=True)):
            _Tenant(connection, slug, share, Generator(seed=seed_number, tenant=rank), progress).fill()
        seeded = Seeded(slugs, _counts(alias, Tenant.objects.using(alias).filter(slug__in=slugs)))
    progress("vacuum and analyse")
    settle(connection, Entity, Relationship, Investigation, InvestigationEntity, Source, AuditLog, Run)
    return seeded


def _matches(existing: models.QuerySet[Tenant], slugs: list[str], shares: list[Shares]) -> bool:
    sizes = dict(existing.annotate(size=models.Count("entities")).values_list("slug", "size"))
    return sizes == {slug: share.entities for slug, share in zip(slugs, shares, strict=True)}


def _counts(alias: str, tenants: models.QuerySet[Tenant]) -> dict[str, int]:
    keys = list(tenants.values_list("pk", flat=True))
    return {
        name: model._default_manager.using(alias).filter(tenant__in=keys).count()  # noqa: SLF001
        for name, model in (("entities", Entity), ("relationships", Relationship), ("investigations", Investigation))
    }


class _Tenant:
    """Fills one tenant."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        slug: str,
        share: Shares,
        generator: Generator,
        progress: Callable[[str], None],
    ) -> None:
        self.connection, self.slug, self.share, self.make, self.progress = connection, slug, share, generator, progress
        self.tenant = Tenant.objects.using(connection.alias).create(slug=slug, name=slug.title(), created_at=EPOCH)

    def fill(self) -> None:
        """Insert all rows, parents first."""
        share, make = self.share, self.make
        users = self._members()
        entities = self._copy_with_ids(Entity, share.entities, make.entities(share.entities))
        self._copy(Relationship, make.relationships(entities, share.relationships))
        cases = make.investigations(share.investigations, users)
        investigations = self._copy_with_ids(Investigation, share.investigations, cases)
        self._copy(InvestigationEntity, make.memberships(investigations, entities))
        self._copy(Source, make.sources(entities, share.sources))
        self._copy(AuditLog, make.audit(entities, users, share.entities))
        self._copy(EntityEmbedding, make.embeddings(entities, share.embeddings))
        self._sessions()
        self._copy(Run, make.runs(self._pipelines(), share.runs))

    def _members(self) -> list[int]:
        users = []
        user_model = get_user_model()
        for number in range(MEMBERS):
            # No password can match: these users are logged in by the demo or by tests only.
            user, _ = user_model._default_manager.using(self.connection.alias).get_or_create(  # noqa: SLF001
                **{user_model.USERNAME_FIELD: f"{self.slug}-analyst-{number + 1}"},
                defaults={"password": make_password(None)},
            )
            Member.objects.using(self.connection.alias).create(
                tenant=self.tenant,
                user=user,
                role="lead" if number == 0 else "analyst",
                email=f"analyst-{number + 1}@{self.slug}.example",
                created_at=EPOCH,
            )
            users.append(user.pk)
        return users

    def _sessions(self) -> None:
        make = self.make
        for number in range(2):
            server = McpServer.objects.using(self.connection.alias).create(
                tenant=self.tenant,
                name=f"tools-{number + 1}",
                url="https://tools.example",
                is_enabled=number == 0,
                created_at=EPOCH,
            )
            rows = (
                (server.pk, f"{make.random.getrandbits(256):064x}", start, None if index % 5 == 0 else EPOCH)
                for index, start in enumerate(make.moment() for _ in range(SESSIONS))
            )
            self._copy(McpSession, rows)

    def _pipelines(self) -> list[int]:
        pipelines = Pipeline.objects.using(self.connection.alias)
        return [
            pipelines.create(
                tenant=self.tenant,
                slug=f"pipeline-{number + 1}",
                is_enabled=number > 0,
                next_run_at=self.make.moment(),
                created_at=EPOCH,
            ).pk
            for number in range(PIPELINES)
        ]

    def _copy_with_ids(self, model: type[models.Model], count: int, rows: Iterable[tuple[Any, ...]]) -> list[int]:
        ids = reserve_ids(self.connection, model, count)
        self._copy(model, rows, ids=ids)
        return ids

    def _copy(
        self, model: type[models.Model], rows: Iterable[tuple[Any, ...]], *, ids: Iterable[int] | None = None
    ) -> None:
        columns = COLUMNS[model].split()
        if columns[0] == "tenant_id":
            rows = ((self.tenant.pk, *row) for row in rows)
        if ids is not None:
            columns, rows = ["id", *columns], ((pk, *row) for pk, row in zip(ids, rows, strict=True))
        name = str(model._meta.verbose_name_plural)  # noqa: SLF001 - Django's documented Model._meta

        def tick(count: int) -> None:
            self.progress(f"{self.slug}: {count:,} {name}")

        tick(0)
        copy_rows(self.connection, model._meta.db_table, columns, rows, tick=tick)  # noqa: SLF001
