"""Reads of investigations and of the entities in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.intelgraph.models import Investigation, InvestigationEntity
from dbopt.intelgraph.models.investigations import OPEN

if TYPE_CHECKING:
    from django.db.models import QuerySet


def newest(tenant: int, *, status: str | None = None) -> QuerySet[Investigation]:
    """Return a tenant's investigations, newest first: idx_inv_tenant_created."""
    chosen = Investigation.objects.filter(tenant=tenant)
    return (chosen if status is None else chosen.filter(status=status)).order_by("-created_at", "-id")


def by_priority(tenant: int, status: str) -> QuerySet[Investigation]:
    """Return a tenant's investigations of a status, most urgent first: idx_inv_tenant_status_prio."""
    chosen = Investigation.objects.filter(tenant=tenant, status=status)
    return chosen.order_by("-priority", "-created_at", "-id")


def open_of(user: int) -> QuerySet[Investigation]:
    """Return a user's investigations that are not closed, most urgent first: idx_inv_assignee_open."""
    return Investigation.objects.filter(assigned_to=user, status__in=OPEN).order_by("-priority", "-id")


def name_contains(text: str) -> QuerySet[Investigation]:
    """Return investigations of all tenants whose name holds a text in any case: idx_inv_uname_trgm."""
    return Investigation.objects.filter(name__icontains=text)


def members_of(investigation: int) -> QuerySet[InvestigationEntity]:
    """Return the entities of an investigation, last added first: idx_inventity_inv_added."""
    return InvestigationEntity.objects.filter(investigation=investigation).order_by("-added_at", "-id")


def memberships_of(entity: int) -> QuerySet[InvestigationEntity, int]:
    """Return the keys of the investigations that an entity is in: idx_inventity_entity_inv alone."""
    ordered = InvestigationEntity.objects.filter(entity=entity).order_by("investigation_id")
    return ordered.values_list("investigation_id", flat=True)
