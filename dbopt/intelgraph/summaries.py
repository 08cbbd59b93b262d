"""Figures about a tenant's data that pages show again and again: cached, and forgotten when a commit changes them."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Model

from dbopt.cache import cached_query
from dbopt.intelgraph.models import Entity, Investigation, Relationship


@cached_query(timeout=300, name="intelgraph.entity_types")
def entity_type_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (type, number of entities) of a tenant, the most frequent first."""
    return _counts(Entity, "type", tenant)


@cached_query(timeout=300, name="intelgraph.relationship_types")
def relationship_type_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (type, number of relationships) of a tenant, the most frequent first."""
    return _counts(Relationship, "type", tenant)


@cached_query(timeout=300, name="intelgraph.investigation_statuses")
def investigation_status_counts(tenant: int) -> list[tuple[str, int]]:
    """Return (status, number of investigations) of a tenant, the most frequent first."""
    return _counts(Investigation, "status", tenant)


def _counts(model: type[Model], field: str, tenant: int) -> list[Any]:
    rows = model._default_manager.filter(tenant=tenant).values_list(field)  # noqa: SLF001 - documented by Django
    return list(rows.annotate(size=Count("*")).order_by("-size", field))
