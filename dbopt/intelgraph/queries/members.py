"""Reads of members, and of what they did."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from dbopt.intelgraph.models import AuditLog, Member

if TYPE_CHECKING:
    from django.db.models import QuerySet


def with_email(email: str) -> QuerySet[Member]:
    """Return the memberships of an address in any case: idx_member_uemail. At login no tenant is known."""
    return Member.objects.filter(email__iexact=email)


def newest(tenant: int, *, role: str | None = None) -> QuerySet[Member]:
    """Return a tenant's active members, newest first; of a role: idx_member_tenant_role_created."""
    chosen = Member.objects.filter(tenant=tenant, is_active=True)
    return (chosen if role is None else chosen.filter(role=role)).order_by("-created_at", "-id")


def of_user(user: int) -> QuerySet[Member]:
    """Return a user's active memberships, by tenant: idx_member_user_tenant."""
    return Member.objects.filter(user=user, is_active=True).order_by("tenant_id")


def newest_deeds(tenant: int) -> QuerySet[AuditLog]:
    """Return a tenant's log, newest first: idx_audit_tenant_created."""
    return AuditLog.objects.filter(tenant=tenant).order_by("-created_at", "-id")


def deeds_to(object_type: str, object_id: int) -> QuerySet[AuditLog]:
    """Return what happened to an object, newest first: idx_audit_object_created."""
    return AuditLog.objects.filter(object_type=object_type, object_id=object_id).order_by("-created_at")


def deeds_by(tenant: int, user: int) -> QuerySet[AuditLog]:
    """Return what a user did in a tenant, newest first: idx_audit_tenant_actor_created."""
    return AuditLog.objects.filter(tenant=tenant, actor=user).order_by("-created_at")


def deeds_of(tenant: int, action: str) -> QuerySet[AuditLog]:
    """Return a tenant's log of one action, newest first: idx_audit_ten_action_created."""
    return AuditLog.objects.filter(tenant=tenant, action=action).order_by("-created_at")


def deeds_between(start: datetime, end: datetime) -> QuerySet[AuditLog]:
    """Return the log of all tenants in [start, end), for archiving: idx_audit_created_brin."""
    return AuditLog.objects.filter(created_at__gte=start, created_at__lt=end)
