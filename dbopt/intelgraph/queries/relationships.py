"""Reads of relationships."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from dbopt.intelgraph.models import Relationship, valid_span
from dbopt.intelgraph.models.entities import SURE

if TYPE_CHECKING:
    from django.db.models import QuerySet


def outgoing(entity: int, kind: str) -> QuerySet[Relationship]:
    """Return an entity's relationships of a type to others, by target: idx_rel_source_type_target."""
    return Relationship.objects.filter(source=entity, type=kind).order_by("target_id")


def incoming(entity: int, kind: str) -> QuerySet[Relationship]:
    """Return the relationships of a type from others to an entity, by source: idx_rel_target_type_source."""
    return Relationship.objects.filter(target=entity, type=kind).order_by("source_id")


def surest_targets(entity: int) -> QuerySet[Relationship, tuple[int, str, float]]:
    """Return (target, type, confidence) of what leaves an entity, surest first: idx_rel_source_conf alone."""
    surest_first = Relationship.objects.filter(source=entity).order_by("-confidence")
    return surest_first.values_list("target_id", "type", "confidence")


def touching(entities: Collection[int]) -> QuerySet[Relationship]:
    """Return what leaves entities and what enters them: idx_rel_source_conf and idx_rel_target_type_source together."""
    return Relationship.objects.filter(Q(source__in=entities) | Q(target__in=entities))


def newest(tenant: int, *, kind: str | None = None) -> QuerySet[Relationship]:
    """Return a tenant's relationships, newest first: idx_rel_tenant_created."""
    chosen = Relationship.objects.filter(tenant=tenant)
    return (chosen if kind is None else chosen.filter(type=kind)).order_by("-created_at", "-id")


def surest(tenant: int, kind: str) -> QuerySet[Relationship]:
    """Return a tenant's relationships of a type with a confidence of 0.8 or more, surest first.

    The bound is that of the partial index idx_rel_tenant_type_conf; with a lower one it could not be used.
    """
    return Relationship.objects.filter(tenant=tenant, type=kind, confidence__gte=SURE).order_by("-confidence", "-id")


def valid_on(tenant: int, day: date) -> QuerySet[Relationship]:
    """Return a tenant's relationships that are valid on a day: idx_rel_tenant_span.

    A missing date leaves its side open; one that ends before it begins counts as its first day.
    """
    with_days = Relationship.objects.filter(tenant=tenant).alias(days=valid_span())
    return with_days.filter(days__contains=day)  # type: ignore[misc]  # the plugin takes it for a text look-up


def with_props(props: Mapping[str, Any]) -> QuerySet[Relationship]:
    """Return relationships of all tenants that have all these properties: idx_rel_props."""
    return Relationship.objects.filter(props__contains=dict(props))
