"""Figures about a tenant's data that pages show again and again: cached, and forgotten when a commit changes them."""

from __future__ import annotations

from django.db.models import Count

from dbopt.cache import cached_query
from dbopt.intelgraph.models import Entity, Investigation, Relationship


@cached_query(timeout=300, name="intelgraph.entity_types")
def entity_type_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (type, number of entities) of a tenant, the most frequent first."""
    rows = Entity.objects.filter(tenant=tenant).values_list("type").annotate(size=Count("id"))
    return list(rows.order_by("-size", "type"))


@cached_query(timeout=300, name="intelgraph.relationship_types")
def relationship_type_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (type, number of relationships) of a tenant, the most frequent first."""
    rows = Relationship.objects.filter(tenant=tenant).values_list("type").annotate(size=Count("id"))
    return list(rows.order_by("-size", "type"))


@cached_query(timeout=300, name="intelgraph.investigation_statuses")
def investigation_status_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (status, number of investigations) of a tenant, the most frequent first."""
    rows = Investigation.objects.filter(tenant=tenant).values_list("status").annotate(size=Count("id"))
    return list(rows.order_by("-size", "status"))
