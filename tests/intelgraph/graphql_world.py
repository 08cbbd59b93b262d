"""Two tenants with data, and a way to ask the domain's schema as one of them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dbopt.graphql import DboptExecutionContext
from dbopt.intelgraph.models import (
    Entity,
    Investigation,
    InvestigationEntity,
    Member,
    Relationship,
    Source,
    Tenant,
)
from dbopt.intelgraph.schema import schema
from dbopt.tenancy import tenant_context


@dataclass
class World:
    """One tenant's rows."""

    tenant: Tenant
    entities: list[Entity]
    relationships: list[Relationship]
    investigation: Investigation
    member: Member


def make_world(slug, *, entities=3):
    """Make a tenant with entities in a ring of relationships, and an investigation of all of them."""
    tenant = Tenant.objects.create(slug=slug)
    user = get_user_model().objects.create(username=slug)
    member = Member.objects.create(tenant=tenant, user=user, email=f"{slug}@example.com")
    made = Entity.objects.bulk_create(
        [
            Entity(
                tenant=tenant,
                type="person",
                name=f"{slug} person {number}",
                external_id=f"e{number}",
                props={"n": number},
            )
            for number in range(entities)
        ]
    )
    relationships = Relationship.objects.bulk_create(
        [
            Relationship(
                tenant=tenant,
                source=source,
                target=made[(number + 1) % entities],
                type="knows",
                external_id=f"r{number}",
            )
            for number, source in enumerate(made)
        ]
    )
    Source.objects.bulk_create(
        [Source(tenant=tenant, entity=entity, type="web", url=f"https://example.com/{entity.pk}") for entity in made]
    )
    investigation = Investigation.objects.create(tenant=tenant, name=f"{slug} case", external_id="i0")
    InvestigationEntity.objects.bulk_create(
        [InvestigationEntity(investigation=investigation, entity=entity) for entity in made]
    )
    return World(tenant, made, relationships, investigation, member)


def ask(world, text, **variables):
    """Execute as a world's tenant, or as nobody (None); return the result."""
    with tenant_context(world.tenant.pk) if world else nullcontext():
        return schema.execute(
            text, context_value={}, variable_values=variables, execution_context_class=DboptExecutionContext
        )


def ask_counted(world, text, **variables):
    """Execute as a world's tenant; return (data, statements)."""
    with CaptureQueriesContext(connection) as statements:
        result = ask(world, text, **variables)
    assert result.errors is None
    return result.data, [query["sql"] for query in statements.captured_queries]


def codes(result):
    return [error.extensions.get("code") for error in result.errors or ()]


def nodes(connection_data):
    return [edge["node"] for edge in connection_data["edges"]]
