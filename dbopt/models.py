"""Operational tables: history of statements, and the outbox of the graph projection."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class QueryHistory(models.Model):
    """What one kind of statement cost in one hour, over all workers. No values, only the normalised text."""

    alias = models.CharField(max_length=64)
    hour = models.DateTimeField()
    fingerprint = models.CharField(max_length=16)
    text = models.TextField()
    origin = models.CharField(max_length=255, default="", blank=True)
    calls = models.BigIntegerField(default=0)
    slow = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    total_seconds = models.FloatField(default=0.0)
    max_seconds = models.FloatField(default=0.0)

    class Meta:
        verbose_name_plural = "query history"
        default_permissions = ("view",)
        permissions = [("view_monitor", "Can view the database monitor")]
        constraints = [
            models.UniqueConstraint(fields=["alias", "hour", "fingerprint"], name="uq_queryhist_alias_hour_fp"),
        ]
        indexes = [
            # Trend of a statement: WHERE fingerprint = ? ORDER BY hour DESC
            models.Index(F("fingerprint"), F("hour").desc(), name="idx_queryhist_fp_hour"),
            # Costliest of an hour: WHERE alias = ? AND hour = ? ORDER BY total_seconds DESC, id
            models.Index(
                F("alias"), F("hour"), F("total_seconds").desc(), F("id"), name="idx_queryhist_alias_hour_total"
            ),
            # Retention: DELETE ... WHERE hour < ?
            models.Index(fields=["hour"], name="idx_queryhist_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.fingerprint} at {self.hour:%Y-%m-%d %H}h"


class GraphOutbox(models.Model):
    """A row that must be projected into the graph, written in the same transaction as the row itself."""

    alias = models.CharField(max_length=64, default="default")
    tenant = models.CharField(max_length=64, default="", blank=True)
    model = models.CharField(max_length=100)
    object_pk = models.CharField(max_length=64)
    operation = models.CharField(max_length=8, default="upsert")
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=255, default="", blank=True)
    is_dead = models.BooleanField(default=False)
    next_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "graph outbox"
        indexes = [
            # Next work: WHERE NOT is_dead AND alias = ? AND next_at <= ? ORDER BY next_at, id FOR UPDATE SKIP LOCKED
            models.Index(fields=["alias", "next_at", "id"], name="idx_outbox_due", condition=Q(is_dead=False)),
            # All that waits for a row, to collapse it: WHERE model = ? AND object_pk = ? ORDER BY id
            models.Index(fields=["model", "object_pk", "id"], name="idx_outbox_object"),
            # Dead letters of an alias: WHERE is_dead AND alias = ? ORDER BY created_at DESC, id DESC
            models.Index(
                F("alias"),
                F("created_at").desc(),
                F("id").desc(),
                name="idx_outbox_dead",
                condition=Q(is_dead=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.model} {self.object_pk}"
