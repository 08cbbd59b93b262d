"""GraphQL types of the domain. Every way to their rows goes through `get_queryset`: the current tenant's only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import graphene
from django.utils import timezone
from graphene.types.generic import GenericScalar
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.conf import dbopt_settings
from dbopt.exceptions import PageSizeError
from dbopt.graphql import CypherConnection, KeysetConnectionField, batch, requires
from dbopt.intelgraph.loaders import (
    CommonNeighboursLoader,
    EntityByIdLoader,
    LastSourceLoader,
    RelationshipsByEntityLoader,
    TypesByInvestigationLoader,
)
from dbopt.intelgraph.models import Entity, Investigation, Member, Relationship, Source
from dbopt.tenancy import require_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet

# Not graphene-django's own: a project may have types of these models too.
REGISTRY = Registry()
DEFAULT_LIMIT = 25


def checked_limit(limit: int) -> int:
    """Return the `limit` of a list without pages.

    Raises:
        PageSizeError: it is less than 1, or more than a page may have.
    """
    maximum = dbopt_settings.graphql.max_page_size
    if limit < 1:
        raise PageSizeError(f"`limit` is {limit}; it must be at least 1.", code="BAD_PAGINATION")
    if limit > maximum:
        raise PageSizeError(f"`limit` is {limit}; at most {maximum} can be asked for.", code="PAGE_TOO_LARGE")
    return limit


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


class TypeCountNode(graphene.ObjectType):
    """How many there are of a type."""

    class Meta:
        name = "TypeCount"

    type = graphene.String(required=True)
    count = graphene.Int(required=True)


def type_counts(pairs: Sequence[tuple[str, int]]) -> list[TypeCountNode]:
    """Return pairs of a type and a number as GraphQL shows them."""
    return [TypeCountNode(type=kind, count=count) for kind, count in pairs]


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
        return EntityByIdLoader(info.context).load(self["id"])


def _relationships(description: str, *order_by: str) -> KeysetConnectionField:
    return KeysetConnectionField(
        lambda: RelationshipNode,
        order_by=order_by,
        filters=("type",),
        type=graphene.String(description="Exactly this type."),
        total_count="capped",
        description=description,
    )


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
        )

    props = GenericScalar(required=True)
    outgoing = _relationships("Out of it, by type and target.", "type", "target", "id")
    incoming = _relationships("Into it, by type and source.", "type", "source", "id")
    investigations = KeysetConnectionField(
        lambda: InvestigationNode,
        order_by=("-created_at", "-id"),
        total_count="capped",
        description="What it is part of, the newest first.",
    )
    sources = KeysetConnectionField(
        SourceNode,
        order_by=("type", "-id"),
        filters=("type",),
        type=graphene.String(description="Exactly this type."),
        total_count="capped",
        description="Where it was found, by type, the newest first.",
    )
    last_source_at = graphene.DateTime(description="When it was last found in a source.")
    relationships = graphene.List(
        graphene.NonNull(lambda: RelationshipNode),
        required=True,
        limit=graphene.Int(default_value=DEFAULT_LIMIT),
        description="Out of it and into it, the newest first.",
    )
    neighbours = CypherConnection(
        NeighbourNode,
        key="id",
        match="(e:Entity {id: key, tenantId: $tenant})"
        "-[r:RELATED_TO {tenantId: $tenant}]-(n:Entity {tenantId: $tenant})",
        where="$type IS NULL OR n.type = $type",
        type=graphene.String(description="Exactly this type."),
        returns="n {.id, .type, .name, relationship_id: r.id, relationship_type: r.type, confidence: r.confidence, "
        "is_outgoing: startNode(r) = e}",
        order_by=("-coalesce(r.confidence, 0.0)", "r.id"),
        default_size=DEFAULT_LIMIT,
        total_count="capped",
        description="From the graph, the surest first.",
    )
    common_neighbours = graphene.Int(
        required=True,
        entity=graphene.ID(required=True),
        description="How many entities it and another are both connected to, in the graph.",
    )

    @requires()
    def resolve_last_source_at(self, info: Any) -> Any:
        """Promise the moment."""
        return LastSourceLoader(info.context).load(self.pk)

    @requires()
    def resolve_relationships(self, info: Any, limit: int) -> Any:
        """Promise the relationships."""
        return RelationshipsByEntityLoader(info.context, checked_limit(limit)).load(self.pk)

    @requires()
    def resolve_common_neighbours(self, info: Any, entity: str) -> Any:
        """Promise the number, 0 where there is no such entity."""
        # More digits are no key of a row, and no number of Neo4j.
        other = int(entity) if entity.isdecimal() and len(entity) < 19 else None  # noqa: PLR2004
        return CommonNeighboursLoader(info.context, other).load(self.pk).then(lambda count: count or 0)


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
    is_current = graphene.Boolean(
        required=True, description="Whether it is valid today; a missing date leaves its side open."
    )

    @requires("valid_from", "valid_to")
    @batch
    def resolve_is_current(rows: Any, info: Any) -> list[bool]:  # noqa: N805  # all parents at once
        """Compare all with one today."""
        today = timezone.localdate()
        return [row.is_valid_on(today) for row in rows]


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
    entity_types = graphene.List(
        graphene.NonNull(TypeCountNode),
        required=True,
        description="Its entities of each type, the most frequent first.",
    )

    @requires()
    def resolve_entity_types(self, info: Any) -> Any:
        """Promise the numbers."""
        return TypesByInvestigationLoader(info.context).load(self.pk).then(type_counts)


class MemberNode(TenantNode):
    """A user's membership of the tenant."""

    class Meta:
        model = Member
        name = "Member"
        registry = REGISTRY
        fields = ("id", "role", "email", "is_active", "created_at")
