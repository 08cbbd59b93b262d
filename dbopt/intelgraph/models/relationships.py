"""Relationships between entities."""

from __future__ import annotations

from datetime import date

from django.contrib.postgres.fields import DateRangeField
from django.contrib.postgres.indexes import GinIndex, GistIndex
from django.db import models
from django.db.models import Case, F, Func, Q, Value, When
from django.utils import timezone

from dbopt.intelgraph.models.entities import SURE, Entity
from dbopt.intelgraph.models.fields import between, new_external_id
from dbopt.intelgraph.models.tenants import Tenant


def valid_span() -> Func:
    """The days on which a relationship is valid, as a date range; no date: unbounded on that side.

    Real data has ends before their beginnings; daterange() would raise on them, so such a span is its first day.
    """
    return Func(
        F("valid_from"),
        Case(When(valid_to__lt=F("valid_from"), then=F("valid_from")), default=F("valid_to")),
        Value("[]"),
        function="daterange",
        output_field=DateRangeField(),
    )


class Relationship(models.Model):
    """One statement that two entities are connected. Parallel ones of one type are normal data."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="relationships", db_index=False)
    external_id = models.CharField(max_length=200, default=new_external_id)
    source = models.ForeignKey(Entity, models.CASCADE, related_name="outgoing", db_index=False)
    target = models.ForeignKey(Entity, models.CASCADE, related_name="incoming", db_index=False)
    type = models.CharField(max_length=64)
    confidence = models.FloatField(default=1.0)
    weight = models.FloatField(null=True, blank=True)
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)
    props = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "external_id"], name="uq_rel_tenant_external"),
            between("confidence", 0, 1, name="ck_rel_confidence"),
        ]
        indexes = [
            # Out of an entity by type: WHERE source_id = ? [AND type = ?] ORDER BY type, target_id, id
            models.Index(fields=["source", "type", "target", "id"], name="idx_rel_source_type_target"),
            # Into an entity by type: WHERE target_id = ? [AND type = ?] ORDER BY type, source_id, id
            models.Index(fields=["target", "type", "source", "id"], name="idx_rel_target_type_source"),
            # Surest out of an entity, answered by the index alone: WHERE source_id = ? ORDER BY confidence DESC
            models.Index(fields=["source", "-confidence"], include=["target", "type"], name="idx_rel_source_conf"),
            # Newest: WHERE tenant_id = ? ORDER BY created_at DESC, id DESC
            models.Index(F("tenant"), F("created_at").desc(), F("id").desc(), name="idx_rel_tenant_created"),
            # Surest of a type: WHERE tenant_id = ? AND type = ? AND confidence >= 0.8 ORDER BY confidence DESC, id DESC
            models.Index(
                F("tenant"),
                F("type"),
                F("confidence").desc(),
                F("id").desc(),
                name="idx_rel_tenant_type_conf",
                condition=Q(confidence__gte=SURE),
            ),
            # Valid on a day: WHERE tenant_id = ? AND daterange(...) @> ?
            GistIndex(F("tenant"), valid_span(), name="idx_rel_tenant_span"),
            # Properties: WHERE props @> '{"sar": "3297"}'
            GinIndex(fields=["props"], opclasses=["jsonb_path_ops"], name="idx_rel_props"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.external_id}"

    def is_valid_on(self, day: date) -> bool:
        """Say the same of this row as `valid_span` does."""
        first, last = self.valid_from, self.valid_to
        if first and last and last < first:
            last = first
        return (first is None or first <= day) and (last is None or day <= last)
