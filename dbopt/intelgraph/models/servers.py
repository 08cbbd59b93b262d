"""Servers of the model context protocol, and the sessions with them."""

from __future__ import annotations

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from dbopt.intelgraph.models.tenants import Tenant


class McpServer(models.Model):
    """A tool server that a tenant's analysts may use."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="mcp_servers", db_index=False)
    name = models.CharField(max_length=100)
    url = models.URLField(max_length=500)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="uq_mcpserver_tenant_name")]
        indexes = [
            # What the worker keeps connected: WHERE is_enabled ORDER BY id
            models.Index(fields=["id"], name="idx_mcpserver_enabled", condition=Q(is_enabled=True)),
        ]

    def __str__(self) -> str:
        return self.name


class McpSession(models.Model):
    """A session with a server; its token is kept as a hash."""

    server = models.ForeignKey(McpServer, models.CASCADE, related_name="sessions", db_index=False)
    token_hash = models.CharField(max_length=64)
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # Sessions of a server: WHERE server_id = ? ORDER BY started_at DESC, id DESC
            models.Index(F("server"), F("started_at").desc(), F("id").desc(), name="idx_mcpsess_server_started"),
            # Open for too long: WHERE ended_at IS NULL AND started_at < ? ORDER BY started_at
            models.Index(fields=["started_at"], name="idx_mcpsess_active", condition=Q(ended_at__isnull=True)),
            # Whose token is this: WHERE token_hash = ?
            HashIndex(fields=["token_hash"], name="idx_mcpsess_token_hash"),
        ]

    def __str__(self) -> str:
        return f"session {self.pk}"
