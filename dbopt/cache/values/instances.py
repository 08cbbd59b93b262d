"""Building instances of models from stored rows, as ``Model.from_db`` does, without its cost where nothing watches."""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import post_init, pre_init

if TYPE_CHECKING:
    from collections.abc import Iterable


_WATCHED = (pre_init, post_init)


def build(
    model: type[Model],
    *,
    database: str | None,
    names: tuple[str, ...],
    rows: Iterable[tuple[Any, ...]],
    kind: type[ModelState] = ModelState,
) -> list[Any]:
    """Return an instance for each row, its state of a kind; columns that are not in ``names`` are deferred."""
    if not is_unwatched(model):
        return [_of_kind(model.from_db(database, names, row), kind) for row in rows]
    new, built = object.__new__, []
    for row in rows:
        instance = new(model)
        state = kind()
        state.adding = False
        state.db = database
        held = instance.__dict__
        held["_state"] = state
        held.update(zip(names, row, strict=True))
        built.append(instance)
    return built


def _of_kind(instance: Model, kind: type[ModelState]) -> Model:
    instance._state.__class__ = kind
    return instance


def is_unwatched(model: type[Model]) -> bool:
    """Tell whether nobody could notice that instances are made without ``Model.__init__``."""
    return is_plain(model) and not any(signal.receivers and signal.has_listeners(model) for signal in _WATCHED)


@cache
def is_plain(model: type[Model]) -> bool:
    """Tell whether making an instance of a model does nothing but set its attributes."""
    return (
        model.__init__ is Model.__init__
        and model.__new__ is object.__new__
        and model.__setattr__ is object.__setattr__
        and model.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]  # a bound classmethod
        and all(_writes_through(getattr(model, field.attname)) for field in model._meta.concrete_fields)
    )


def _writes_through(descriptor: object) -> bool:
    # A field of another package may parse what is assigned to it. Django's own for foreign keys and files only write
    # to the dictionary of an instance that is new.
    kind = type(descriptor)
    return isinstance(descriptor, DeferredAttribute) and (
        not hasattr(kind, "__set__") or kind.__module__.startswith("django.db.models.fields.")
    )
