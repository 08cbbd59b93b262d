"""Loaders of the domain: each sees the rows of the current tenant only, and refuses to work without one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Max
from promise import Promise

from dbopt.graphql import AggregateLoader, CypherLoader, DataLoader, ModelLoader, RelatedLoader, SecondLevel
from dbopt.intelgraph.models import Entity, Investigation, InvestigationEntity, Relationship
from dbopt.tenancy import require_tenant

if TYPE_CHECKING:
    from django.db.models import QuerySet


class TenantRows:
    """Of a loader of rows: those of the current tenant; another tenant's row looks like one that is not there."""

    def get_queryset(self) -> QuerySet[Any]:
        """Return the tenant's rows."""
        rows: QuerySet[Any] = super().get_queryset()  # type: ignore[misc]  # the loader's, beside this class
        return rows.filter(tenant=require_tenant())


class EntityByIdLoader(TenantRows, ModelLoader):
    """Entity by primary key."""

    model = Entity


class RelationshipByIdLoader(TenantRows, ModelLoader):
    """Relationship by primary key."""

    model = Relationship


class InvestigationByIdLoader(TenantRows, ModelLoader):
    """Investigation by primary key."""

    model = Investigation


class NewestOutgoingLoader(TenantRows, RelatedLoader):
    """Relationships out of an entity, the newest first."""

    relation = Entity.outgoing
    order_by = ("-created_at", "-id")


class NewestIncomingLoader(TenantRows, RelatedLoader):
    """Relationships into an entity, the newest first."""

    relation = Entity.incoming
    order_by = ("-created_at", "-id")


class RelationshipsByEntityLoader(DataLoader[int, list[Relationship]]):
    """Relationships of an entity, out of it and into it, the newest first. Parameter: how many at most."""

    def batch_load(self, keys: list[int]) -> Promise[Any]:
        """Load the newest of each direction in one statement, and take the newest of both."""
        (limit,) = self.params

        def merged(directions: list[list[list[Relationship]]]) -> list[list[Relationship]]:
            # By key: a relationship of an entity with itself is one of its relationships, not two.
            unique = ({row.pk: row for row in chain(*both)}.values() for both in zip(*directions, strict=True))
            return [sorted(rows, key=lambda row: (row.created_at, row.pk), reverse=True)[:limit] for rows in unique]

        loaders = (NewestOutgoingLoader, NewestIncomingLoader)
        loads = [loader.narrowed(self.context, limit=limit).load_many(keys) for loader in loaders]
        return Promise.all(loads).then(merged)


class LastSourceLoader(TenantRows, AggregateLoader):
    """When the last source of an entity was found; None without sources."""

    relation = Entity.sources
    aggregate = Max("created_at")


class TypesByInvestigationLoader(DataLoader[int, list[tuple[str, int]]]):
    """(type, number of entities) of an investigation, the most frequent first; kept until its tables are written."""

    second_level = SecondLevel(scope="PUBLIC", timeout=300)

    def batch_load(self, keys: list[int]) -> dict[int, list[tuple[str, int]]]:
        """Count the entities of many investigations in one statement."""
        found: dict[int, list[tuple[str, int]]] = defaultdict(list, {key: [] for key in keys})
        rows = InvestigationEntity.objects.filter(investigation__in=keys, entity__tenant=require_tenant())
        counted = rows.values_list("investigation", "entity__type").annotate(size=Count("*"))
        for key, kind, size in counted.order_by("-size", "entity__type"):
            found[key].append((kind, size))
        return found


class CommonNeighboursLoader(CypherLoader):
    """How many entities an entity and another are both connected to, in Neo4j. Parameter: the other's key."""

    query = """
UNWIND $keys AS key
MATCH (:Entity {id: key, tenantId: $tenant})-[:RELATED_TO {tenantId: $tenant}]-(n:Entity {tenantId: $tenant})
  -[:RELATED_TO {tenantId: $tenant}]-(:Entity {id: $other, tenantId: $tenant})
RETURN key, count(DISTINCT n) AS value
"""

    def parameters(self) -> Mapping[str, Any]:
        """Name the other entity."""
        return {"other": self.params[0]}
