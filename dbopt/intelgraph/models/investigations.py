"""Investigations and the entities in them."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone

from dbopt.intelgraph.models.entities import Entity
from dbopt.intelgraph.models.fields import between, new_external_id
from dbopt.intelgraph.models.tenants import Tenant

OPEN = ("open", "active")


class Investigation(models.Model):
    """A case: a name, a status, a priority from 1 to 4 (most urgent), and entities."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="investigations", db_index=False)
    external_id = models.CharField(max_length=200, default=new_external_id)
    name = models.TextField()
    status = models.CharField(max_length=32, default="open")
    priority = models.SmallIntegerField(default=2)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    entities = models.ManyToManyField(Entity, through="InvestigationEntity", related_name="investigations")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "external_id"], name="uq_inv_tenant_external"),
            between("priority", 1, 4, name="ck_inv_priority"),
        ]
        indexes = [
            # Newest: WHERE tenant_id = ? ORDER BY created_at DESC, id DESC
            models.Index(F("tenant"), F("created_at").desc(), F("id").desc(), name="idx_inv_tenant_created"),
            # Board: WHERE tenant_id = ? AND status = ? ORDER BY priority DESC, created_at DESC, id DESC
            models.Index(
                F("tenant"),
                F("status"),
                F("priority").desc(),
                F("created_at").desc(),
                F("id").desc(),
                name="idx_inv_tenant_status_prio",
            ),
            # My open cases: WHERE assigned_to = ? AND status IN ('open', 'active') ORDER BY priority DESC, id DESC
            models.Index(
                F("assigned_to"),
                F("priority").desc(),
                F("id").desc(),
                name="idx_inv_assignee_open",
                condition=Q(status__in=OPEN),
            ),
            # Part of a name: WHERE UPPER(name) LIKE '%ABC%'
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="idx_inv_uname_trgm"),
        ]

    def __str__(self) -> str:
        return self.external_id


class InvestigationEntity(models.Model):
    """An entity's place in an investigation."""

    investigation = models.ForeignKey(Investigation, models.CASCADE, related_name="memberships", db_index=False)
    entity = models.ForeignKey(Entity, models.CASCADE, related_name="memberships", db_index=False)
    added_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "investigation entities"
        constraints = [
            models.UniqueConstraint(fields=["investigation", "entity"], name="uq_inv_entity"),
        ]
        indexes = [
            # Investigations of an entity: WHERE entity_id = ? ORDER BY investigation_id
            models.Index(fields=["entity", "investigation"], name="idx_inventity_entity_inv"),
            # Entities of an investigation, newest first: WHERE investigation_id = ? ORDER BY added_at DESC, id DESC
            models.Index(F("investigation"), F("added_at").desc(), F("id").desc(), name="idx_inventity_inv_added"),
        ]

    def __str__(self) -> str:
        return f"{self.entity_id} in {self.investigation_id}"
