"""Tenants and the users who belong to them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone


class Tenant(models.Model):
    """An organisation whose data nobody else may see."""

    # Unique by a constraint: unique=True would add a second index, for LIKE, that serves no query.
    slug = models.SlugField(max_length=64, db_index=False)
    name = models.CharField(max_length=200, default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["slug"], name="uq_tenant_slug")]

    def __str__(self) -> str:
        return self.slug


class Member(models.Model):
    """A user's membership of a tenant."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="members", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    role = models.CharField(max_length=32, default="analyst")
    email = models.EmailField()
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="uq_member_tenant_user"),
            models.UniqueConstraint("tenant", Upper("email"), name="uq_member_tenant_email"),
        ]
        indexes = [
            # Login by address without a tenant: WHERE UPPER(email) = ?
            models.Index(Upper("email"), name="idx_member_uemail"),
            # Members page: WHERE tenant_id = ? AND role = ? AND is_active ORDER BY created_at DESC, id DESC
            models.Index(
                F("tenant"),
                F("role"),
                F("created_at").desc(),
                F("id").desc(),
                name="idx_member_tenant_role_created",
                condition=Q(is_active=True),
            ),
            # Tenants of a user, at every request: WHERE user_id = ? AND is_active ORDER BY tenant_id
            models.Index(fields=["user", "tenant"], name="idx_member_user_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id}"
