"""Loaders of the domain: each sees the rows of the current tenant only, and refuses to work without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbopt.graphql import DataLoader, ModelLoader
from dbopt.intelgraph.models import Entity, Investigation, Relationship
from dbopt.intelgraph.neighbours import Neighbour, neighbours
from dbopt.intelgraph.queries import relationships
from dbopt.tenancy import require_tenant

if TYPE_CHECKING:
    from django.db.models import QuerySet


class TenantRowLoader(ModelLoader):
    """Rows of the current tenant by primary key; another tenant's row looks like one that is not there."""

    def get_queryset(self) -> QuerySet[Any]:
        """Return the tenant's rows."""
        return super().get_queryset().filter(tenant=require_tenant())


class EntityByIdLoader(TenantRowLoader):
    """Entity by primary key."""

    model = Entity


class RelationshipByIdLoader(TenantRowLoader):
    """Relationship by primary key."""

    model = Relationship


class InvestigationByIdLoader(TenantRowLoader):
    """Investigation by primary key."""

    model = Investigation


class RelationshipsByEntityLoader(DataLoader[int, list[Relationship]]):
    """All relationships of an entity, out of it and into it, the newest first."""

    def batch_load(self, keys: list[int]) -> dict[int, list[Relationship]]:
        """Load the relationships of many entities in one statement."""
        found: dict[int, list[Relationship]] = {key: [] for key in keys}
        for relationship in relationships.newest(require_tenant()) & relationships.touching(keys):
            # A set: a relationship of an entity with itself is one of its relationships, not two.
            for key in {relationship.source_id, relationship.target_id} & found.keys():
                found[key].append(relationship)
        return found


class NeighboursByEntityLoader(DataLoader[int, list[Neighbour]]):
    """Neighbours of an entity in Neo4j, the surest first. Parameter: how many at most."""

    def batch_load(self, keys: list[int]) -> dict[int, list[Neighbour]]:
        """Ask Neo4j once for many entities."""
        (limit,) = self.params
        return neighbours(keys, tenant=require_tenant(), limit=limit)
