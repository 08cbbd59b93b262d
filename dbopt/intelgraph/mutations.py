"""Mutations of the domain. What the input got wrong comes back as `errors` by field; other failures are GraphQL errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import graphene
from graphene.types.generic import GenericScalar
from graphene.utils.str_converters import to_camel_case

from dbopt.graphql import clear_loaders
from dbopt.intelgraph import writes
from dbopt.intelgraph.models import Entity, Investigation, Relationship
from dbopt.intelgraph.nodes import EntityNode, InvestigationNode, RelationshipNode


class FieldErrorNode(graphene.ObjectType):
    """What is wrong with one field of the input; `field` is null when it is none in particular."""

    class Meta:
        name = "FieldError"

    field = graphene.String()
    message = graphene.String(required=True)


class EntityFields(graphene.InputObjectType):
    """Fields of an entity that may be changed."""

    type = graphene.String()
    name = graphene.String()
    external_id = graphene.String()
    canonical_id = graphene.String()
    confidence = graphene.Float()
    props = GenericScalar()


class NewEntity(EntityFields):
    """Fields of a new entity."""

    type = graphene.String(required=True)
    name = graphene.String(required=True)


class RelationshipFields(graphene.InputObjectType):
    """Fields of a relationship that may be changed."""

    source_id = graphene.ID()
    target_id = graphene.ID()
    type = graphene.String()
    external_id = graphene.String()
    confidence = graphene.Float()
    weight = graphene.Float()
    valid_from = graphene.Date()
    valid_to = graphene.Date()
    props = GenericScalar()


class NewRelationship(RelationshipFields):
    """Fields of a new relationship."""

    source_id = graphene.ID(required=True)
    target_id = graphene.ID(required=True)
    type = graphene.String(required=True)


class InvestigationFields(graphene.InputObjectType):
    """Fields of an investigation that may be changed; `entityIds` replaces its entities."""

    name = graphene.String()
    external_id = graphene.String()
    status = graphene.String()
    priority = graphene.Int()
    entity_ids = graphene.List(graphene.NonNull(graphene.ID))


class NewInvestigation(InvestigationFields):
    """Fields of a new investigation."""

    name = graphene.String(required=True)


class _Write(graphene.Mutation):
    """A mutation that answers with the row, or with errors."""

    class Meta:
        abstract = True

    row_name: ClassVar[str]

    @classmethod
    def run(cls, info: Any, write: Callable[[], Any]) -> Any:
        """Write, and forget what the operation had loaded before."""
        try:
            row = write()
        except writes.InvalidWriteError as error:
            faults = [
                FieldErrorNode(field=fault.field and to_camel_case(fault.field), message=fault.message)
                for fault in error.faults
            ]
            return cls(errors=faults)
        clear_loaders(info.context)
        return cls(errors=[], **{cls.row_name: row})


def _errors() -> Any:
    return graphene.List(graphene.NonNull(FieldErrorNode), required=True)


def _with_members(fields: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    values = dict(fields)
    return values, values.pop("entity_ids", None)


class CreateEntity(_Write):
    """Create an entity."""

    class Arguments:
        input = NewEntity(required=True)

    row_name = "entity"
    entity = graphene.Field(EntityNode)
    errors = _errors()

    def mutate(self, info: Any, input: dict[str, Any]) -> Any:  # noqa: A002  # the name that clients know
        """Create it."""
        return CreateEntity.run(info, lambda: writes.create_entity(input))


class UpdateEntity(_Write):
    """Change the given fields of an entity."""

    class Arguments:
        id = graphene.ID(required=True)
        input = EntityFields(required=True)

    row_name = "entity"
    entity = graphene.Field(EntityNode)
    errors = _errors()

    def mutate(self, info: Any, id: str, input: dict[str, Any]) -> Any:  # noqa: A002  # the names that clients know
        """Change it."""
        return UpdateEntity.run(info, lambda: writes.update_entity(id, input))


class CreateRelationship(_Write):
    """Connect two entities."""

    class Arguments:
        input = NewRelationship(required=True)

    row_name = "relationship"
    relationship = graphene.Field(RelationshipNode)
    errors = _errors()

    def mutate(self, info: Any, input: dict[str, Any]) -> Any:  # noqa: A002  # the name that clients know
        """Create it."""
        return CreateRelationship.run(info, lambda: writes.create_relationship(input))


class UpdateRelationship(_Write):
    """Change the given fields of a relationship."""

    class Arguments:
        id = graphene.ID(required=True)
        input = RelationshipFields(required=True)

    row_name = "relationship"
    relationship = graphene.Field(RelationshipNode)
    errors = _errors()

    def mutate(self, info: Any, id: str, input: dict[str, Any]) -> Any:  # noqa: A002  # the names that clients know
        """Change it."""
        return UpdateRelationship.run(info, lambda: writes.update_relationship(id, input))


class CreateInvestigation(_Write):
    """Open an investigation."""

    class Arguments:
        input = NewInvestigation(required=True)

    row_name = "investigation"
    investigation = graphene.Field(InvestigationNode)
    errors = _errors()

    def mutate(self, info: Any, input: dict[str, Any]) -> Any:  # noqa: A002  # the name that clients know
        """Create it."""
        values, members = _with_members(input)
        return CreateInvestigation.run(info, lambda: writes.create_investigation(values, entity_ids=members))


class UpdateInvestigation(_Write):
    """Change the given fields of an investigation."""

    class Arguments:
        id = graphene.ID(required=True)
        input = InvestigationFields(required=True)

    row_name = "investigation"
    investigation = graphene.Field(InvestigationNode)
    errors = _errors()

    def mutate(self, info: Any, id: str, input: dict[str, Any]) -> Any:  # noqa: A002  # the names that clients know
        """Change it."""
        values, members = _with_members(input)
        return UpdateInvestigation.run(info, lambda: writes.update_investigation(id, values, entity_ids=members))


class _Delete(_Write):
    """A mutation that deletes a row."""

    class Meta:
        abstract = True

    row_name = "deleted_id"
    model: ClassVar[Any]

    @classmethod
    def mutate(cls, root: Any, info: Any, id: str) -> Any:  # noqa: A002  # the name that clients know
        """Delete it."""
        return cls.run(info, lambda: writes.delete(cls.model, id))


class DeleteEntity(_Delete):
    """Delete an entity with its relationships and sources."""

    class Arguments:
        id = graphene.ID(required=True)

    model = Entity
    deleted_id = graphene.ID()
    errors = _errors()


class DeleteRelationship(_Delete):
    """Delete a relationship."""

    class Arguments:
        id = graphene.ID(required=True)

    model = Relationship
    deleted_id = graphene.ID()
    errors = _errors()


class DeleteInvestigation(_Delete):
    """Delete an investigation; its entities stay."""

    class Arguments:
        id = graphene.ID(required=True)

    model = Investigation
    deleted_id = graphene.ID()
    errors = _errors()


class Mutation(graphene.ObjectType):
    """Everything that may be changed."""

    create_entity = CreateEntity.Field()
    update_entity = UpdateEntity.Field()
    delete_entity = DeleteEntity.Field()
    create_relationship = CreateRelationship.Field()
    update_relationship = UpdateRelationship.Field()
    delete_relationship = DeleteRelationship.Field()
    create_investigation = CreateInvestigation.Field()
    update_investigation = UpdateInvestigation.Field()
    delete_investigation = DeleteInvestigation.Field()
