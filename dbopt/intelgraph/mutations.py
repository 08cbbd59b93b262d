"""Mutations of the domain. What the input got wrong comes back as `errors` by field; other failures are GraphQL errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    """A mutation that answers with what it wrote, or with errors."""

    class Meta:
        abstract = True

    _write: ClassVar[Callable[..., Any]]
    _answer: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Take graphene's options of a class: mypy sees none that its untyped base takes."""
        super().__init_subclass__(**options)

    @classmethod
    def __init_subclass_with_meta__(
        cls, *, write: Callable[..., Any], answer: tuple[str, Any], arguments: dict[str, Any], **options: Any
    ) -> None:
        """Declare the fields of the answer: a name and its type, then the errors."""
        cls._write = staticmethod(write)
        cls._answer, kind = answer
        setattr(cls, cls._answer, graphene.Field(kind))
        cls.errors = graphene.List(graphene.NonNull(FieldErrorNode), required=True)
        super().__init_subclass_with_meta__(arguments=arguments, **options)

    @classmethod
    def mutate(cls, root: Any, info: Any, **arguments: Any) -> Any:
        """Write, and forget what the operation had loaded before."""
        try:
            written = cls._write(*(arguments[name] for name in ("id", "input") if name in arguments))
        except writes.InvalidWriteError as error:
            faults = [
                FieldErrorNode(field=fault.field and to_camel_case(fault.field), message=fault.message)
                for fault in error.faults
            ]
            return cls(errors=faults)
        clear_loaders(info.context)
        return cls(errors=[], **{cls._answer: written})


_ENTITY, _RELATIONSHIP = ("entity", EntityNode), ("relationship", RelationshipNode)
_INVESTIGATION, _DELETED = ("investigation", InvestigationNode), ("deleted_id", graphene.ID)
_ID = {"id": graphene.ID(required=True)}


def _input(fields: type[graphene.InputObjectType]) -> dict[str, Any]:
    return {"input": fields(required=True)}


class CreateEntity(_Write, write=writes.create_entity, answer=_ENTITY, arguments=_input(NewEntity)):
    """Create an entity."""


class UpdateEntity(_Write, write=writes.update_entity, answer=_ENTITY, arguments=_ID | _input(EntityFields)):
    """Change the given fields of an entity."""


class DeleteEntity(_Write, write=partial(writes.delete, Entity), answer=_DELETED, arguments=_ID):
    """Delete an entity with its relationships and sources."""


class CreateRelationship(
    _Write, write=writes.create_relationship, answer=_RELATIONSHIP, arguments=_input(NewRelationship)
):
    """Connect two entities."""


class UpdateRelationship(
    _Write, write=writes.update_relationship, answer=_RELATIONSHIP, arguments=_ID | _input(RelationshipFields)
):
    """Change the given fields of a relationship."""


class DeleteRelationship(_Write, write=partial(writes.delete, Relationship), answer=_DELETED, arguments=_ID):
    """Delete a relationship."""


class CreateInvestigation(
    _Write, write=writes.create_investigation, answer=_INVESTIGATION, arguments=_input(NewInvestigation)
):
    """Open an investigation."""


class UpdateInvestigation(
    _Write, write=writes.update_investigation, answer=_INVESTIGATION, arguments=_ID | _input(InvestigationFields)
):
    """Change the given fields of an investigation."""


class DeleteInvestigation(_Write, write=partial(writes.delete, Investigation), answer=_DELETED, arguments=_ID):
    """Delete an investigation; its entities stay."""


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
