"""The tables of the domain."""

from __future__ import annotations

from dbopt.intelgraph.models.audit import AuditLog
from dbopt.intelgraph.models.entities import Entity, EntityEmbedding, Source
from dbopt.intelgraph.models.investigations import Investigation, InvestigationEntity
from dbopt.intelgraph.models.pipelines import Pipeline, Run
from dbopt.intelgraph.models.relationships import Relationship, valid_span
from dbopt.intelgraph.models.servers import McpServer, McpSession
from dbopt.intelgraph.models.tenants import Member, Tenant

__all__ = [
    "AuditLog",
    "Entity",
    "EntityEmbedding",
    "Investigation",
    "InvestigationEntity",
    "McpServer",
    "McpSession",
    "Member",
    "Pipeline",
    "Relationship",
    "Run",
    "Source",
    "Tenant",
    "valid_span",
]
