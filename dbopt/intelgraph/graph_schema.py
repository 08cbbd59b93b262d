"""Entities and relationships in Neo4j: what is indexed there, and what is projected from the tables.

Ids are the primary keys of the tables, unique over all tenants. Types are data: they are properties, never labels.
"""

from __future__ import annotations

from dbopt.neo4j import (
    GraphSchema,
    Node,
    NodeProjection,
    Range,
    Relationship,
    RelationshipProjection,
    Text,
    Unique,
)


class IntelGraph(GraphSchema):
    """The graph of an investigation."""

    entity = Node(
        "Entity",
        constraints=[Unique("id", name="idx_entity_id")],
        indexes=[
            # Entities of a type: MATCH (e:Entity {tenantId: $tenant, type: $type})
            Range("tenantId", "type", name="idx_entity_tenant_type"),
            # By the id of the source system: MATCH (e:Entity {tenantId: $tenant, externalId: $id})
            Range("tenantId", "externalId", name="idx_entity_tenant_external"),
            # Part of a name: MATCH (e:Entity) WHERE e.name CONTAINS $part
            Text("name", name="idx_entity_name_text"),
        ],
    )
    related = Relationship(
        "RELATED_TO",
        constraints=[Unique("id", name="idx_related_id")],
        indexes=[
            # Relationships of a type: MATCH ()-[r:RELATED_TO {tenantId: $tenant, type: $type}]->()
            Range("tenantId", "type", name="idx_related_tenant_type"),
        ],
    )

    entities = NodeProjection(
        "intelgraph.Entity",
        "Entity",
        properties={
            "externalId": "external_id",
            "type": "type",
            "name": "name",
            "confidence": "confidence",
            "createdAt": "created_at",
        },
        tenant="tenant",
        tenant_name="tenant__slug",
    )
    relationships = RelationshipProjection(
        "intelgraph.Relationship",
        "RELATED_TO",
        start=(entities, "source_id"),
        end=(entities, "target_id"),
        properties={
            "externalId": "external_id",
            "type": "type",
            "confidence": "confidence",
            "weight": "weight",
            "validFrom": "valid_from",
            "validTo": "valid_to",
        },
        tenant="tenant",
        tenant_name="tenant__slug",
    )
