"""Reads of workers: servers, sessions, pipelines and runs, over all tenants unless one is named."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from dbopt.intelgraph.models import McpServer, McpSession, Pipeline, Run

if TYPE_CHECKING:
    from django.db.models import QuerySet


def enabled_servers() -> QuerySet[McpServer]:
    """Return the servers that are to be kept connected: idx_mcpserver_enabled."""
    return McpServer.objects.filter(is_enabled=True).order_by("id")


def sessions_of(server: int) -> QuerySet[McpSession]:
    """Return a server's sessions, newest first: idx_mcpsess_server_started."""
    return McpSession.objects.filter(server=server).order_by("-started_at", "-id")


def open_sessions(before: datetime) -> QuerySet[McpSession]:
    """Return the sessions that began before a moment and have not ended, oldest first: idx_mcpsess_active."""
    return McpSession.objects.filter(ended_at__isnull=True, started_at__lt=before).order_by("started_at")


def sessions_with(token_hash: str) -> QuerySet[McpSession]:
    """Return the session of a token: idx_mcpsess_token_hash."""
    return McpSession.objects.filter(token_hash=token_hash)


def due_pipelines(now: datetime) -> QuerySet[Pipeline]:
    """Return the pipelines whose time has come, longest waiting first: idx_pipeline_due."""
    return Pipeline.objects.filter(is_enabled=True, next_run_at__lte=now).order_by("next_run_at", "id")


def runs_of(pipeline: int) -> QuerySet[Run]:
    """Return a pipeline's runs, newest first: idx_run_pipeline_created."""
    return Run.objects.filter(pipeline=pipeline).order_by("-created_at", "-id")


def runs_with_status(tenant: int, status: str) -> QuerySet[Run]:
    """Return a tenant's runs of a status, newest first: idx_run_tenant_status_created."""
    return Run.objects.filter(tenant=tenant, status=status).order_by("-created_at", "-id")


def next_runs() -> QuerySet[Run]:
    """Return what waits, most urgent and then oldest first, without what other workers hold: idx_run_queue.

    Inside a transaction; take a slice, whose rows are then locked.
    """
    waiting = Run.objects.filter(status="queued").order_by("-priority", "created_at", "id")
    return waiting.select_for_update(skip_locked=True)


def lost_runs(before: datetime) -> QuerySet[Run]:
    """Return running ones whose last sign of life is older than a moment, oldest first: idx_run_stale."""
    return Run.objects.filter(status="running", heartbeat_at__lt=before).order_by("heartbeat_at")
