"""A total order of a queryset's rows: its keys, their condition, their ORDER BY."""

# `_meta` is public by documentation.
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Field, Model, QuerySet, Value
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import OrderBy

from dbopt.exceptions import ConfigurationError
from dbopt.pagination.comparison import Operator, RowCompare
from dbopt.pagination.cursor import list_signature
from dbopt.pagination.nullability import is_never_null

OrderItem = str | F | OrderBy


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the order, never NULL.

    Attributes:
        path: the name as the ORM writes it from the model, for messages and signatures.
        attribute: where a row holds the value; also the name in the query.
        field: says how a value becomes a parameter.
        is_annotated: the attribute is an annotation that must be added to the query.
        own_name: the field's name where the key is a column of the model itself.
        is_unique: no two rows have the same value.
    """

    path: str
    attribute: str
    field: Field[Any, Any]
    is_descending: bool
    is_annotated: bool = False
    own_name: str | None = None
    is_unique: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """A total order in one direction."""

    keys: tuple[Key, ...]

    @property
    def is_descending(self) -> bool:
        """Whether larger values come first."""
        return self.keys[0].is_descending

    def sort(self, queryset: QuerySet[Any], *, is_backward: bool) -> QuerySet[Any]:
        """Sort rows, or sort them from the end."""
        expressions = [F(key.attribute) for key in self.keys]
        descending = self.is_descending != is_backward
        return queryset.order_by(*(key.desc() if descending else key.asc() for key in expressions))

    def beyond(self, values: Sequence[Any], *, is_backward: bool, is_inclusive: bool = False) -> RowCompare:
        """Return the condition of rows after (or before) a position, which may be counted in."""
        operators: tuple[Operator, Operator] = ("<", "<=") if self.is_descending != is_backward else (">", ">=")
        return RowCompare(
            [F(key.attribute) for key in self.keys],
            operators[is_inclusive],
            [Value(value, output_field=key.field) for key, value in zip(self.keys, values, strict=True)],
        )

    def values(self, row: Model) -> list[Any]:
        """Return the position of a row; never queries for rows that came from a prepared queryset.

        Raises:
            ConfigurationError: a value is None, although the column is declared NOT NULL.
        """
        values = [getattr(row, key.attribute) for key in self.keys]
        if None in values:
            raise _nullable(self.keys[values.index(None)].path)
        return values

    def signature(self, model: type[Model], *, scope: object) -> str:
        """Return what a cursor of this list carries: the model, the order, and whose list it is."""
        keys = (f"{'-' if key.is_descending else '+'}{key.path}:{key.field.get_internal_type()}" for key in self.keys)
        return list_signature([model._meta.label_lower, *keys, type(scope).__name__, str(scope)])

    def prepare(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Make rows carry all keys, so that reading a cursor asks no database."""
        queryset = queryset.annotate(**{key.attribute: F(key.path) for key in self.keys if key.is_annotated})
        # `reverse()` would turn our own ORDER BY around; what it meant is in the keys already.
        queryset.query.standard_ordering = True
        own = {key.own_name for key in self.keys if key.own_name is not None}
        names, is_deferred = queryset.query.deferred_loading
        if not is_deferred:
            return queryset.only(*names, *own) if names else queryset
        hidden = own | {key.attribute for key in self.keys}
        return queryset.defer(None).defer(*(names - hidden)) if names & hidden else queryset


def order_of(queryset: QuerySet[Any], order_by: Sequence[OrderItem] | OrderItem | None = None) -> Order:
    """Return the total order of a queryset's rows.

    Args:
        queryset: the rows; it is not evaluated.
        order_by: names as for ``QuerySet.order_by`` (columns, to-one paths, annotations); None: the queryset's own
            order, else the model's. The primary key is added in the direction of the last key, unless a unique
            column makes the order total already. A relation's name means its key column.

    Raises:
        ConfigurationError: a key is unknown, nullable, to-many, random or an expression; directions are mixed.
    """
    keys: list[Key] = []
    is_total = False
    for name, is_descending in _items(queryset, order_by):
        for key in _keys_of(queryset, name, is_descending=is_descending, position=len(keys)):
            if is_total or key.path in {known.path for known in keys}:
                continue
            keys.append(key)
            is_total = key.is_unique
    if not is_total:
        direction = keys[-1].is_descending if keys else False
        known = {key.path for key in keys}
        primary = _keys_of(queryset, "pk", is_descending=direction, position=len(keys))
        keys.extend(key for key in primary if key.path not in known)
    for key in keys:
        if key.is_descending != keys[0].is_descending:
            raise ConfigurationError(
                f"Cannot page by {key.path!r}: it is sorted {_DIRECTION[key.is_descending]}, but {keys[0].path!r} is "
                f"sorted {_DIRECTION[keys[0].is_descending]}. Give all keys one direction."
            )
    return Order(tuple(keys))


_DIRECTION = {True: "descending", False: "ascending"}


def _nullable(path: str) -> ConfigurationError:
    return ConfigurationError(
        f"Cannot page by {path!r}: it can be NULL. Order by a column that is NOT NULL, "
        "or annotate Coalesce(...) with a value and order by the annotation."
    )


def _items(queryset: QuerySet[Any], order_by: Sequence[OrderItem] | OrderItem | None) -> Iterator[tuple[str, bool]]:
    query = queryset.query
    is_reversed = False
    if order_by is None:
        if query.extra_order_by:
            raise ConfigurationError("Cannot page by extra(order_by=...). Give order_by the names of the columns.")
        own = query.order_by or (query.default_ordering and query.get_meta().ordering) or ()
        items: Sequence[Any] = tuple(own)
        is_reversed = not query.standard_ordering
    else:
        items = order_by if isinstance(order_by, Sequence) and not isinstance(order_by, str) else (order_by,)
    for item in items:
        name, is_descending = _name_of(item)
        yield name, is_descending != is_reversed


def _name_of(item: Any) -> tuple[str, bool]:
    if isinstance(item, OrderBy):
        expression, is_descending = item.expression, item.descending
    else:
        expression, is_descending = item, False
    if isinstance(expression, F):
        name: str = expression.name  # type: ignore[attr-defined]  # missing in django-stubs
        return name, is_descending
    if not isinstance(expression, str):
        raise ConfigurationError(
            f"Cannot page by an expression ({type(expression).__name__}). Annotate it and order by its name."
        )
    if expression.lstrip("-+") == "?":
        raise ConfigurationError("Cannot page in random order ('?'). Order by columns.")
    return expression.lstrip("-+"), expression.startswith("-")


def _keys_of(queryset: QuerySet[Any], name: str, *, is_descending: bool, position: int) -> list[Key]:
    query = queryset.query
    if name in query.annotations:
        annotation = query.annotations[name]
        if not is_never_null(annotation, query):
            raise _nullable(name)
        is_selected = name in query.annotation_select
        attribute = name if is_selected else f"_dbopt_key{position}"
        return [Key(name, attribute, annotation.output_field, is_descending, is_annotated=not is_selected)]
    fields = _fields(queryset.model, name)
    if len(fields) > 1:
        path = LOOKUP_SEP.join([*(field.name for field in fields[:-1]), fields[-1].attname])
        return [Key(path, f"_dbopt_key{position}", _plain(fields[-1]), is_descending, is_annotated=True)]
    # A composite primary key is several columns, none of them unique by itself.
    own = getattr(queryset.model._meta, "pk_fields", fields) if fields[0].primary_key else fields
    return [
        Key(
            path=field.attname,
            attribute=field.attname,
            field=_plain(field),
            is_descending=is_descending,
            own_name=field.name,
            is_unique=field.unique and len(own) == 1,
        )
        for field in own
    ]


def _fields(model: type[Model], path: str) -> list[Any]:
    """Return the columns along a path; all of them are NOT NULL."""
    fields: list[Any] = []
    current: Any = model
    for part in path.split(LOOKUP_SEP):
        field = _field(current, part, path=path, model=model)
        if field.null:
            raise _nullable(path)
        fields.append(field)
        current = field.related_model if field.is_relation else None
    return fields


def _field(current: type[Model] | None, part: str, *, path: str, model: type[Model]) -> Any:
    if current is not None:
        try:
            field = current._meta.pk if part == "pk" else current._meta.get_field(part)
        except FieldDoesNotExist:
            field = None
        if field is not None and (field.many_to_many or field.one_to_many or not hasattr(field, "attname")):
            raise ConfigurationError(
                f"Cannot page by {path!r}: {part!r} may have several rows, or none. "
                "Order by columns of the model, or by a path of foreign keys."
            )
        if field is not None:
            return field
    raise ConfigurationError(
        f"Cannot page by {path!r}: {model._meta.label} has no such column or annotation. "
        "A transform of a column must be annotated; then order by the annotation's name."
    )


def _plain(field: Any) -> Any:
    """Return the column that holds the value: of a foreign key, the one it points to."""
    while field.is_relation:
        field = field.target_field
    return field
