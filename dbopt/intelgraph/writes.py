"""Validated writes of the domain: rows of the current tenant only, every fault told by the field it is in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from dbopt.intelgraph.models import Entity, Investigation, InvestigationEntity, Relationship
from dbopt.intelgraph.models.fields import is_storable
from dbopt.tenancy import require_tenant

M = TypeVar("M", bound=models.Model)
R = TypeVar("R")
MAX_ENTITIES = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field; field is the name in Python, None for the whole."""

    field: str | None
    message: str


class InvalidWriteError(Exception):
    """The write was refused and nothing was changed."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in self.faults))


_TAKEN = "Another one has this {}. Choose another, or update that one."
_GONE = "No {} with this id."

# By constraint, not by a query before: another session could write in between.
_FAULT_OF_CONSTRAINT = {
    "uq_entity_tenant_external": Fault("external_id", _TAKEN.format("external id")),
    "uq_rel_tenant_external": Fault("external_id", _TAKEN.format("external id")),
    "uq_inv_tenant_external": Fault("external_id", _TAKEN.format("external id")),
    "uq_entity_tenant_type_canon": Fault("canonical_id", _TAKEN.format("canonical id in this type")),
}
_FAULT_OF_FOREIGN_KEY = {
    "_source_id_": Fault("source_id", _GONE.format("entity")),
    "_target_id_": Fault("target_id", _GONE.format("entity")),
    "_entity_id_": Fault("entity_ids", _GONE.format("entity")),
}
_RANGES = {"confidence": (0, 1), "priority": (1, 4)}


def create_entity(values: Mapping[str, Any]) -> Entity:
    """Create an entity from type, name and the optional external_id, canonical_id, confidence, props.

    Raises:
        InvalidWriteError: with a fault for each wrong field.
        TenantRequiredError: there is no tenant.
    """
    return _create(Entity, values)


def update_entity(pk: Any, values: Mapping[str, Any]) -> Entity:
    """Change the given fields of an entity; errors as for `create_entity`."""
    return _change(Entity, pk, values)


def create_relationship(values: Mapping[str, Any]) -> Relationship:
    """Create a relationship from source_id, target_id, type and optional fields; both ends are of the tenant."""
    return _create(Relationship, _with_ends(values))


def update_relationship(pk: Any, values: Mapping[str, Any]) -> Relationship:
    """Change the given fields of a relationship; errors as for `create_relationship`."""
    return _change(Relationship, pk, _with_ends(values))


def create_investigation(values: Mapping[str, Any]) -> Investigation:
    """Create an investigation from name and the optional external_id, status, priority, entity_ids of the tenant."""
    own, members = _without_members(values)

    def write() -> Investigation:
        investigation = _create(Investigation, own)
        _add_members(investigation, members or ())
        return investigation

    return _atomic(write)


def update_investigation(pk: Any, values: Mapping[str, Any]) -> Investigation:
    """Change the given fields of an investigation; entity_ids replaces its entities, None leaves them."""
    own, members = _without_members(values)

    def write() -> Investigation:
        investigation = _change(Investigation, pk, own)
        if members is not None:
            investigation.memberships.exclude(entity__in=members).delete()
            _add_members(investigation, members)
        return investigation

    return _atomic(write)


def delete(model: type[models.Model], pk: Any) -> int:
    """Delete a row of the current tenant and what depends on it; return its primary key.

    Raises:
        InvalidWriteError: there is no such row.
    """
    row = _find(model, pk, lock=False)
    key: int = row.pk
    if not _atomic(row.delete)[0]:
        raise InvalidWriteError([Fault("id", _GONE.format(model._meta.verbose_name))])  # noqa: SLF001
    return key


def _find(model: type[M], pk: Any, *, lock: bool) -> M:
    rows = model._default_manager.filter(tenant=require_tenant())  # noqa: SLF001
    key = _key(model, pk)
    row = None if key is None else (rows.select_for_update() if lock else rows).filter(pk=key).first()
    if row is None:
        raise InvalidWriteError([Fault("id", _GONE.format(model._meta.verbose_name))])  # noqa: SLF001
    return row


def _key(model: type[models.Model], pk: Any) -> Any:
    """Return a primary key as the database has it, None for what cannot be one."""
    try:
        return model._meta.pk.to_python(pk)  # noqa: SLF001
    except ValidationError:
        return None


def _create(model: type[M], values: Mapping[str, Any]) -> M:
    return _save(model(tenant_id=require_tenant(), **values), values)


def _change(model: type[M], pk: Any, values: Mapping[str, Any]) -> M:
    # Before the transaction begins: nobody opens one without a tenant.
    require_tenant()

    def write() -> M:
        row = _find(model, pk, lock=True)
        for name, value in values.items():
            setattr(row, name, value)
        return _save(row, values, update_fields=[*values, "updated_at"])

    return _atomic(write)


def _save(row: M, values: Mapping[str, Any], *, update_fields: list[str] | None = None) -> M:
    faults = [*_faults(row, values)]
    if faults:
        raise InvalidWriteError(faults)
    _atomic(lambda: row.save(update_fields=update_fields))
    return row


def _faults(row: models.Model, values: Mapping[str, Any]) -> Iterable[Fault]:
    """Yield what is wrong with the values themselves."""
    given = {row._meta.get_field(name).name for name in values}  # noqa: SLF001
    every = {field.name for field in row._meta.concrete_fields}  # noqa: SLF001
    unfit = {name for name, value in values.items() if not is_storable(value)}
    for name in sorted(unfit):
        yield Fault(name, "Text must not contain NUL characters or half of a surrogate pair.")
    # A new row is checked as a whole: what is missing is a fault too.
    skipped = (every - given if row.pk else {"tenant"}) | {"source", "target"} | unfit
    try:
        row.clean_fields(exclude=skipped)
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            yield from (Fault(name, message) for message in messages)
        skipped |= error.message_dict.keys()
    if values.get("props") is not None and not isinstance(values["props"], Mapping):
        yield Fault("props", "It must be a JSON object.")
    for name, (low, high) in _RANGES.items():
        value = values.get(name)
        if value is not None and name not in skipped and not low <= value <= high:
            yield Fault(name, f"It must lie between {low} and {high}.")


def _with_ends(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a relationship with the given ends as keys of the tenant's entities."""
    asked = {name: _key(Entity, values[name]) for name in ("source_id", "target_id") if name in values}
    known = _known(asked.values())
    faults = [Fault(name, _GONE.format("entity")) for name, key in asked.items() if key not in known]
    if faults:
        raise InvalidWriteError(faults)
    return {**values, **asked}


def _without_members(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[int] | None]:
    """Return an investigation's own values, and its entities as keys of the tenant's; None where none are given."""
    own = dict(values)
    given = own.pop("entity_ids", None)
    asked = {str(pk): _key(Entity, pk) for pk in given or ()}
    if len(asked) > MAX_ENTITIES:
        raise InvalidWriteError([Fault("entity_ids", f"{len(asked)} entities; at most {MAX_ENTITIES} at a time.")])
    known = _known(asked.values())
    missing = [pk for pk, key in asked.items() if key not in known]
    if missing:
        raise InvalidWriteError([Fault("entity_ids", f"No entity with id {pk}.") for pk in missing])
    return own, None if given is None else sorted(known)


def _known(keys: Iterable[Any]) -> set[int]:
    tenant, present = require_tenant(), [key for key in keys if key is not None]
    return set(Entity.objects.filter(tenant=tenant, pk__in=present).values_list("pk", flat=True)) if present else set()


def _add_members(investigation: Investigation, members: Iterable[int]) -> None:
    InvestigationEntity.objects.bulk_create(
        [InvestigationEntity(investigation=investigation, entity_id=pk) for pk in members], ignore_conflicts=True
    )


def _atomic(write: Callable[[], R]) -> R:
    """Run a write in a transaction; what a constraint refuses becomes a fault of its field."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        fault = _fault_of(error)
        if fault is None:
            raise
        raise InvalidWriteError([fault]) from error


def _fault_of(error: IntegrityError) -> Fault | None:
    name = getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""
    if name in _FAULT_OF_CONSTRAINT:
        return _FAULT_OF_CONSTRAINT[name]
    return next((fault for part, fault in _FAULT_OF_FOREIGN_KEY.items() if part in name), None)
