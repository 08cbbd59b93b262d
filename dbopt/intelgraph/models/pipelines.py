"""Pipelines and their runs: a queue in the database."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from dbopt.intelgraph.models.tenants import Tenant


class Pipeline(models.Model):
    """Work that is done again and again."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="pipelines", db_index=False)
    slug = models.SlugField(max_length=100, db_index=False)
    is_enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="uq_pipeline_tenant_slug")]
        indexes = [
            # What is due: WHERE is_enabled AND next_run_at <= ? ORDER BY next_run_at, id
            models.Index(fields=["next_run_at", "id"], name="idx_pipeline_due", condition=Q(is_enabled=True)),
        ]

    def __str__(self) -> str:
        return self.slug


class Run(models.Model):
    """One run of a pipeline: queued, running, done or failed."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="runs", db_index=False)
    pipeline = models.ForeignKey(Pipeline, models.CASCADE, related_name="runs", db_index=False)
    status = models.CharField(max_length=16, default="queued")
    priority = models.SmallIntegerField(default=0)
    idempotency_key = models.CharField(max_length=100, null=True, blank=True)  # noqa: DJ001 - NULL: may be repeated
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="uq_run_idempotency_key",
            ),
        ]
        indexes = [
            # Runs of a pipeline: WHERE pipeline_id = ? ORDER BY created_at DESC, id DESC
            models.Index(F("pipeline"), F("created_at").desc(), F("id").desc(), name="idx_run_pipeline_created"),
            # Board: WHERE tenant_id = ? AND status = ? ORDER BY created_at DESC, id DESC
            models.Index(
                F("tenant"), F("status"), F("created_at").desc(), F("id").desc(), name="idx_run_tenant_status_created"
            ),
            # Next job: WHERE status = 'queued' ORDER BY priority DESC, created_at, id FOR UPDATE SKIP LOCKED
            models.Index(
                F("priority").desc(), F("created_at"), F("id"), name="idx_run_queue", condition=Q(status="queued")
            ),
            # Worker lost: WHERE status = 'running' AND heartbeat_at < ? ORDER BY heartbeat_at
            models.Index(fields=["heartbeat_at"], name="idx_run_stale", condition=Q(status="running")),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"
