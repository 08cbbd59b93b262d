"""Who did what: append-only."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F
from django.utils import timezone

from dbopt.intelgraph.models.tenants import Tenant


class AuditLog(models.Model):
    """One action. No foreign-key constraints: the log outlives what it speaks of."""

    tenant = models.ForeignKey(Tenant, models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=64)
    object_id = models.BigIntegerField()
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [
            # Newest: WHERE tenant_id = ? ORDER BY created_at DESC, id DESC
            models.Index(F("tenant"), F("created_at").desc(), F("id").desc(), name="idx_audit_tenant_created"),
            # History of an object: WHERE object_type = ? AND object_id = ? ORDER BY created_at DESC
            models.Index(F("object_type"), F("object_id"), F("created_at").desc(), name="idx_audit_object_created"),
            # What a user did: WHERE tenant_id = ? AND actor_id = ? ORDER BY created_at DESC
            models.Index(F("tenant"), F("actor"), F("created_at").desc(), name="idx_audit_tenant_actor_created"),
            # All of an action: WHERE tenant_id = ? AND action = ? ORDER BY created_at DESC
            models.Index(F("tenant"), F("action"), F("created_at").desc(), name="idx_audit_ten_action_created"),
            # A day of everything, for export: WHERE created_at >= ? AND created_at < ?
            BrinIndex(fields=["created_at"], name="idx_audit_created_brin", autosummarize=True, pages_per_range=64),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_type} {self.object_id}"
