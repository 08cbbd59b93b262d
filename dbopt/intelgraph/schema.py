"""The GraphQL schema of the domain: ``GraphQLView.as_view(schema=schema)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphene

from dbopt.graphql import DataLoader, KeysetConnectionField, cache_control, cached_field, optimize
from dbopt.intelgraph.loaders import EntityByIdLoader, InvestigationByIdLoader, RelationshipByIdLoader
from dbopt.intelgraph.mutations import Mutation
from dbopt.intelgraph.nodes import (
    EntityNode,
    InvestigationNode,
    MemberNode,
    RelationshipNode,
    TypeCountNode,
    checked_limit,
    type_counts,
)
from dbopt.intelgraph.queries import entities, investigations, members, relationships
from dbopt.intelgraph.summaries import entity_type_counts
from dbopt.tenancy import require_tenant

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from dbopt.intelgraph.models import Entity, Investigation, Member, Relationship

# Arguments are named as clients know them.
# ruff: noqa: A002


def _one(node: Any, loader: type[DataLoader[Any, Any]]) -> graphene.Field:
    def resolve(root: Any, info: Any, id: str) -> Any:
        return loader(info.context).load(id)

    return graphene.Field(node, id=graphene.ID(required=True), resolver=resolve)


class Query(graphene.ObjectType):
    """Everything that may be read: the current tenant's rows."""

    entities = KeysetConnectionField(
        EntityNode,
        type=graphene.String(description="Exactly this type."),
        text=graphene.String(description="Part of the name, in any case."),
        description="Entities, the newest first.",
    )
    entity = _one(EntityNode, EntityByIdLoader)
    entity_types = graphene.List(
        graphene.NonNull(TypeCountNode), required=True, description="Entities of each type, the most frequent first."
    )
    hubs = graphene.List(
        graphene.NonNull(EntityNode),
        required=True,
        limit=graphene.Int(default_value=10),
        description="Entities with the most relationships out of them, those first.",
    )
    relationships = KeysetConnectionField(
        RelationshipNode,
        type=graphene.String(description="Exactly this type."),
        entity=graphene.ID(description="Out of this entity, or into it."),
        description="Relationships, the newest first.",
    )
    relationship = _one(RelationshipNode, RelationshipByIdLoader)
    investigations = KeysetConnectionField(
        InvestigationNode,
        status=graphene.String(description="Exactly this status."),
        text=graphene.String(description="Part of the name, in any case."),
        description="Investigations, the newest first.",
    )
    investigation = _one(InvestigationNode, InvestigationByIdLoader)
    members = KeysetConnectionField(
        MemberNode,
        role=graphene.String(description="Exactly this role."),
        description="Active members of the tenant, the newest first.",
    )

    def resolve_entities(self, info: Any, type: str | None = None, text: str | None = None) -> QuerySet[Entity]:
        """Return what matches; the field takes a page."""
        rows = entities.newest(require_tenant(), kind=type)
        return rows & entities.name_contains(text) if text else rows

    @cache_control(max_age=300, scope="PUBLIC")
    def resolve_entity_types(self, info: Any) -> list[TypeCountNode]:
        """Return the numbers; responses that ask for nothing else are kept whole."""
        return type_counts(entity_type_counts(require_tenant()))

    @cached_field(timeout=300, scope="PUBLIC")
    def resolve_hubs(self, info: Any, limit: int) -> QuerySet[Entity]:
        """Return the rows, which are kept: finding them counts all relationships."""
        return entities.most_connected(require_tenant())[: checked_limit(limit)]

    def resolve_relationships(self, info: Any, type: str | None = None, entity: Any = None) -> QuerySet[Relationship]:
        """Return what matches."""
        rows = relationships.newest(require_tenant(), kind=type)
        return rows if entity is None else rows & relationships.touching([entity])

    def resolve_investigations(
        self, info: Any, status: str | None = None, text: str | None = None
    ) -> QuerySet[Investigation]:
        """Return what matches."""
        rows = investigations.newest(require_tenant(), status=status)
        return rows & investigations.name_contains(text) if text else rows

    def resolve_members(self, info: Any, role: str | None = None) -> QuerySet[Member]:
        """Return what matches."""
        return members.newest(require_tenant(), role=role)


schema = optimize(graphene.Schema(query=Query, mutation=Mutation))
