"""Rows of a model in chunks by primary key: constant memory, no long transaction, no offset."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.db.models import Model, QuerySet

from dbopt.exceptions import GraphSchemaError
from dbopt.neo4j.projections.declare import Projection, RelationshipProjection

_PLAIN = (bool, int, float, str, bytes, datetime.date, datetime.time, datetime.timedelta)

Row = list[Any]


def rows_of(projection: Projection, *, tenant: str | None, database: str) -> QuerySet[Model]:
    """Return the rows to project, of one tenant if given.

    Raises:
        GraphSchemaError: the model, one of its lookups or the tenant does not exist.
    """
    try:
        model = apps.get_model(projection.model)
    except LookupError as error:
        raise GraphSchemaError(f"{projection!r}: there is no model {projection.model!r}.") from error
    # The base manager: a default manager may show the current tenant alone.
    queryset: QuerySet[Model] = model._base_manager.using(database)  # noqa: SLF001 (Django's documented name)
    try:
        queryset.values_list("pk", *_paths(projection))
    except FieldError as error:
        raise GraphSchemaError(f"{projection!r}: {error}") from error
    if tenant is None:
        return queryset
    if projection.tenant is None:
        raise GraphSchemaError(f"{projection!r} has no tenant; run without --tenant.")
    try:
        return queryset.filter(**{projection.tenant_name or projection.tenant: tenant})
    except (ValueError, ValidationError, FieldError) as error:
        raise GraphSchemaError(f"{tenant!r} cannot be a tenant of {projection.model}.") from error


def chunks(projection: Projection, queryset: QuerySet[Model], *, size: int) -> Iterator[list[Row]]:
    """Yield the rows as parameters for Cypher, at most size at a time, in the order of the primary key."""
    ordered = queryset.order_by("pk").values_list("pk", *_paths(projection))
    page = ordered[:size]
    while True:
        values = list(page)
        if not values:
            return
        yield [_row(projection, value[1:]) for value in values]
        if len(values) < size:
            return
        page = ordered.filter(pk__gt=values[-1][0])[:size]


def tenant_exists(projection: Projection, tenant: str, *, database: str) -> bool:
    """Tell whether the tenant is there, with or without rows; True where it is no model of its own."""
    if projection.tenant is None:
        return True
    field = apps.get_model(projection.model)._meta.get_field(projection.tenant)  # noqa: SLF001 (Django's documented name)
    target = field.related_model
    if not isinstance(target, type) or not issubclass(target, Model):
        return True
    lookup = (projection.tenant_name or "").partition("__")[2] or "pk"
    try:
        return bool(target._base_manager.using(database).filter(**{lookup: tenant}).exists())  # noqa: SLF001
    except (ValueError, ValidationError):
        return False


def _paths(projection: Projection) -> list[str]:
    return [path for _, path in _columns(projection)]


def _columns(projection: Projection) -> list[tuple[str, str]]:
    """Return what a row holds, in the order in which the Cypher of a projection reads it."""
    columns = [(projection.key, projection.lookup)]
    if isinstance(projection, RelationshipProjection):
        columns += [("start", projection.start_path), ("end", projection.end_path)]
    return [*columns, *zip(projection.property_names, projection.paths, strict=True)]


def _row(projection: Projection, values: tuple[Any, ...]) -> Row:
    return [_storable(projection, name, value) for (name, _), value in zip(_columns(projection), values, strict=True)]


def _storable(projection: Projection, name: str, value: Any) -> Any:
    """Return a value as the graph can store it: UUIDs as text, decimals as floats, maps as JSON, NaN as nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, _PLAIN):
        return value if type(value) in _PLAIN else _plain(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    if isinstance(value, list | tuple | set | frozenset):
        return _list(projection, name, list(value))
    raise GraphSchemaError(f"{projection!r}: property {name!r} is a {type(value).__name__}, which no graph can store.")


def _plain(value: Any) -> Any:
    """Choices of Django are strings and numbers by inheritance; the graph wants the plain ones."""
    for cls in (bool, int, float, str):
        if isinstance(value, cls):
            return cls(value)
    return value


def _list(projection: Projection, name: str, values: list[Any]) -> Any:
    items = [_storable(projection, name, value) for value in values]
    # Lists of a graph are of one type and without holes.
    if len({type(item) for item in items}) <= 1 and None not in items and not any(isinstance(i, list) for i in items):
        return items
    return json.dumps(values, ensure_ascii=False, default=str)
