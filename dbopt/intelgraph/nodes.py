"""GraphQL types of the domain. Every way to their rows goes through `get_queryset`: the current tenant's only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphene
from graphene.types.generic import GenericScalar
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.conf import dbopt_settings
from dbopt.exceptions import PageSizeError
from dbopt.graphql import KeysetConnectionField
from dbopt.intelgraph.loaders import EntityByIdLoader, NeighboursByEntityLoader, RelationshipsByEntityLoader
from dbopt.intelgraph.models import Entity, Investigation, Member, Relationship, Source
from dbopt.tenancy import require_tenant

if TYPE_CHECKING:
    from django.db.models import QuerySet

# Not graphene-django's own: a project may have types of these models too.
REGISTRY = Registry()
DEFAULT_NEIGHBOURS = 25


class TenantNode(DjangoObjectType):
    """A type whose rows belong to a tenant."""

    class Meta:
        abstract = True

    @classmethod
    def get_queryset(cls, queryset: QuerySet[Any], info: Any) -> QuerySet[Any]:
        """Keep the current tenant's rows; TenantRequiredError where there is no tenant."""
        return queryset.filter(tenant=require_tenant())


class SourceNode(TenantNode):
    """A document or page in which an entity was found."""

    class Meta:
        model = Source
        name = "Source"
        registry = REGISTRY
        fields = ("id", "type", "url", "title", "created_at", "entity")


class NeighbourNode(graphene.ObjectType):
    """An entity at the other end of a relationship, as the graph knows it."""

    class Meta:
        name = "Neighbour"

    id = graphene.ID(required=True)
    type = graphene.String(required=True)
    name = graphene.String(required=True)
    relationship_id = graphene.ID(required=True)
    relationship_type = graphene.String(required=True)
    confidence = graphene.Float()
    is_outgoing = graphene.Boolean(
        required=True, description="Whether the relationship begins at the entity asked about."
    )
    entity = graphene.Field(lambda: EntityNode, description="The row; null when it is gone and the graph is behind.")

    def resolve_entity(self, info: Any) -> Any:
        """Promise the row."""
        return EntityByIdLoader(info.context).load(self.id)


class EntityNode(TenantNode):
    """A person, organisation, account, place: whatever an investigation is about."""

    class Meta:
        model = Entity
        name = "Entity"
        registry = REGISTRY
        fields = (
            "id",
            "external_id",
            "type",
            "canonical_id",
            "name",
            "confidence",
            "created_at",
            "updated_at",
            "outgoing",
            "incoming",
            "investigations",
            "sources",
        )

    props = GenericScalar(required=True)
    relationships = graphene.List(
        graphene.NonNull(lambda: RelationshipNode),
        required=True,
        description="Out of it and into it, the newest first.",
    )
    neighbours = graphene.List(
        graphene.NonNull(NeighbourNode),
        required=True,
        limit=graphene.Int(default_value=DEFAULT_NEIGHBOURS),
        description="From the graph, the surest first.",
    )

    def resolve_relationships(self, info: Any) -> Any:
        """Promise the relationships."""
        return RelationshipsByEntityLoader(info.context).load(self.pk)

    def resolve_neighbours(self, info: Any, limit: int) -> Any:
        """Promise the neighbours."""
        maximum = dbopt_settings.graphql.max_page_size
        if limit < 1:
            raise PageSizeError(f"`limit` is {limit}; it must be at least 1.", code="BAD_PAGINATION")
        if limit > maximum:
            raise PageSizeError(f"`limit` is {limit}; at most {maximum} can be asked for.", code="PAGE_TOO_LARGE")
        return NeighboursByEntityLoader(info.context, limit).load(self.pk)


class RelationshipNode(TenantNode):
    """One statement that two entities are connected."""

    class Meta:
        model = Relationship
        name = "Relationship"
        registry = REGISTRY
        fields = (
            "id",
            "external_id",
            "source",
            "target",
            "type",
            "confidence",
            "weight",
            "valid_from",
            "valid_to",
            "created_at",
            "updated_at",
        )

    props = GenericScalar(required=True)


class InvestigationNode(TenantNode):
    """A case with its entities."""

    class Meta:
        model = Investigation
        name = "Investigation"
        registry = REGISTRY
        fields = ("id", "external_id", "name", "status", "priority", "created_at", "updated_at")

    entities = KeysetConnectionField(
        EntityNode,
        order_by=("-created_at", "-id"),
        total_count="capped",
        description="What it is about, the newest first.",
    )


class MemberNode(TenantNode):
    """A user's membership of the tenant."""

    class Meta:
        model = Member
        name = "Member"
        registry = REGISTRY
        fields = ("id", "role", "email", "is_active", "created_at")
