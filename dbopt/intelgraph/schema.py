"""The GraphQL schema of the domain: ``GraphQLView.as_view(schema=schema)``."""

from __future__ import annotations

from typing import Any

import graphene
from django.db.models import Q, QuerySet

from dbopt.graphql import KeysetConnectionField, optimize
from dbopt.intelgraph.loaders import EntityByIdLoader, InvestigationByIdLoader, RelationshipByIdLoader
from dbopt.intelgraph.models import Entity, Investigation, Member, Relationship
from dbopt.intelgraph.mutations import Mutation
from dbopt.intelgraph.nodes import EntityNode, InvestigationNode, MemberNode, RelationshipNode

NEWEST_FIRST = ("-created_at", "-id")


class Query(graphene.ObjectType):
    """Everything that may be read: the current tenant's rows."""

    entities = KeysetConnectionField(
        EntityNode,
        order_by=NEWEST_FIRST,
        type=graphene.String(description="Exactly this type."),
        text=graphene.String(description="Part of the name, in any case."),
        description="Entities, the newest first.",
    )
    entity = graphene.Field(EntityNode, id=graphene.ID(required=True))
    relationships = KeysetConnectionField(
        RelationshipNode,
        order_by=NEWEST_FIRST,
        type=graphene.String(description="Exactly this type."),
        entity=graphene.ID(description="Out of this entity, or into it."),
        description="Relationships, the newest first.",
    )
    relationship = graphene.Field(RelationshipNode, id=graphene.ID(required=True))
    investigations = KeysetConnectionField(
        InvestigationNode,
        order_by=NEWEST_FIRST,
        status=graphene.String(description="Exactly this status."),
        text=graphene.String(description="Part of the name, in any case."),
        description="Investigations, the newest first.",
    )
    investigation = graphene.Field(InvestigationNode, id=graphene.ID(required=True))
    members = KeysetConnectionField(
        MemberNode,
        order_by=NEWEST_FIRST,
        role=graphene.String(description="Exactly this role."),
        description="Active members of the tenant, the newest first.",
    )

    def resolve_entities(self, info: Any, type: str | None = None, text: str | None = None) -> QuerySet[Entity]:  # noqa: A002  # the name that clients know
        """Return what matches; the field asks EntityNode.get_queryset for the tenant and takes a page."""
        return Entity.objects.filter(_equal("type", type) & _part("name", text))

    def resolve_entity(self, info: Any, id: str) -> Any:  # noqa: A002  # the name that clients know
        """Promise an entity."""
        return EntityByIdLoader(info.context).load(id)

    def resolve_relationships(
        self,
        info: Any,
        type: str | None = None,  # noqa: A002  # the name that clients know
        entity: str | None = None,
    ) -> QuerySet[Relationship]:
        """Return what matches."""
        ends = Q() if entity is None else Q(source=entity) | Q(target=entity)
        return Relationship.objects.filter(_equal("type", type) & ends)

    def resolve_relationship(self, info: Any, id: str) -> Any:  # noqa: A002  # the name that clients know
        """Promise a relationship."""
        return RelationshipByIdLoader(info.context).load(id)

    def resolve_investigations(
        self, info: Any, status: str | None = None, text: str | None = None
    ) -> QuerySet[Investigation]:
        """Return what matches."""
        return Investigation.objects.filter(_equal("status", status) & _part("name", text))

    def resolve_investigation(self, info: Any, id: str) -> Any:  # noqa: A002  # the name that clients know
        """Promise an investigation."""
        return InvestigationByIdLoader(info.context).load(id)

    def resolve_members(self, info: Any, role: str | None = None) -> QuerySet[Member]:
        """Return what matches."""
        return Member.objects.filter(Q(is_active=True) & _equal("role", role))


def _equal(field: str, value: str | None) -> Q:
    return Q() if value is None else Q(**{field: value})


def _part(field: str, value: str | None) -> Q:
    # icontains compares UPPER(name), as the trigram index does.
    return Q() if not value else Q(**{f"{field}__icontains": value})


schema = optimize(graphene.Schema(query=Query, mutation=Mutation))
