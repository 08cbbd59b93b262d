"""The keys of an order: which column a name means, and how its values sort."""

# `_meta` is public by documentation.
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import F, Field, JSONField, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import OrderBy

from dbopt.exceptions import ConfigurationError
from dbopt.pagination.nullability import is_never_null

OrderItem = str | F | OrderBy


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the order.

    Attributes:
        path: the name as the ORM writes it from the model, for messages and signatures.
        attribute: where a row holds the value; also the name in the query.
        column: the value in a query.
        field: says how a value becomes a parameter.
        is_nullable: a row may be without a value.
        nulls_first: where NULLs stand in the order.
        is_annotated: the attribute is an annotation that must be added to the query.
        own_name: the field's name where the key is a column of the model itself.
        is_unique: no two rows have the same value, and none is without.
    """

    path: str
    attribute: str
    column: F
    field: Field[Any, Any]
    is_descending: bool
    is_nullable: bool = False
    nulls_first: bool = False
    is_annotated: bool = False
    own_name: str | None = None
    is_unique: bool = False

    def sorted(self, *, is_backward: bool) -> OrderBy:
        """Return the key's part of ORDER BY, or of the order from the end."""
        is_descending, nulls_first = self.is_descending != is_backward, self.nulls_first != is_backward
        placement = {}
        # Also for a NOT NULL column: PostgreSQL takes an index only where the placement is that of the index.
        if self.is_nullable or nulls_first != is_descending:
            placement = {"nulls_first" if nulls_first else "nulls_last": True}
        return self.column.desc(**placement) if is_descending else self.column.asc(**placement)

    def nulls_come_last(self, *, is_backward: bool) -> bool:
        """Whether rows without a value end the order, or the order from the end."""
        return self.is_nullable and self.nulls_first == is_backward

    def __str__(self) -> str:
        text = f"{'-' if self.is_descending else ''}{self.own_name or self.path}"
        if self.nulls_first == self.is_descending:
            return text
        return f"{text} nulls {'first' if self.nulls_first else 'last'}"


class _OwnColumn(F):
    """A column of the model, which needs no search along a path."""

    def __init__(self, field: Field[Any, Any]) -> None:
        super().__init__(field.attname)
        self.field = field

    def resolve_expression(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        if self.field.model._meta.concrete_model is not query.model._meta.concrete_model:
            # A parent's column, in the table of the parent.
            return super().resolve_expression(query, *args, **kwargs)
        return self.field.get_col(query.get_initial_alias())


@dataclass(frozen=True, slots=True)
class Item:
    """What somebody asked to order by.

    Attributes:
        nulls_first: PostgreSQL's default where nothing was said, on every database: NULL is larger than any value.
    """

    name: str
    is_descending: bool
    nulls_first: bool


def items_of(queryset: QuerySet[Any], order_by: Sequence[OrderItem] | OrderItem | None) -> Iterator[Item]:
    """Read what to order by; None means the queryset's own order, else the model's."""
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
        yield _item(item, is_reversed=is_reversed)


def _item(item: Any, *, is_reversed: bool) -> Item:
    expression, is_descending, nulls_first = item, False, None
    if isinstance(item, OrderBy):
        expression, is_descending = item.expression, item.descending
        if item.nulls_first or item.nulls_last:
            nulls_first = bool(item.nulls_first)
    if isinstance(expression, F):
        name: str = expression.name  # type: ignore[attr-defined]  # missing in django-stubs
    elif not isinstance(expression, str):
        raise ConfigurationError(
            f"Cannot page by an expression ({type(expression).__name__}). Annotate it and order by its name."
        )
    else:
        name, is_descending = expression.lstrip("-+"), expression.startswith("-")
        if name == "?":
            raise ConfigurationError("Cannot page in random order ('?'). Order by columns.")
    if nulls_first is None:
        nulls_first = is_descending
    return Item(name, is_descending != is_reversed, nulls_first != is_reversed)


def keys_of(queryset: QuerySet[Any], item: Item, *, position: int) -> list[Key]:
    """Return the keys that an item means: one, or those of a primary key of several columns."""
    query, name = queryset.query, item.name
    added = f"_dbopt_key{position}"
    if name in query.annotations:
        annotation = query.annotations[name]
        is_selected = name in query.annotation_select
        return [
            Key(
                path=name,
                attribute=(attribute := name if is_selected else added),
                column=F(attribute),
                field=_sortable(name, _type_of(name, annotation)),
                is_descending=item.is_descending,
                is_nullable=not is_never_null(annotation, query),
                nulls_first=item.nulls_first,
                is_annotated=not is_selected,
            )
        ]
    fields = _fields(queryset.model, name)
    if len(fields) > 1:
        path = LOOKUP_SEP.join([*(field.name for field in fields[:-1]), fields[-1].attname])
        return [
            Key(
                path=path,
                attribute=added,
                column=F(added),
                field=_sortable(name, _plain(fields[-1])),
                is_descending=item.is_descending,
                is_nullable=any(field.null for field in fields),
                nulls_first=item.nulls_first,
                is_annotated=True,
            )
        ]
    # A composite primary key is several columns, none of them unique by itself.
    own = getattr(queryset.model._meta, "pk_fields", fields) if fields[0].primary_key else fields
    return [
        Key(
            path=field.attname,
            attribute=field.attname,
            column=_OwnColumn(field),
            field=_sortable(name, _plain(field)),
            is_descending=item.is_descending,
            is_nullable=field.null,
            nulls_first=item.nulls_first,
            own_name=field.name,
            is_unique=field.unique and not field.null and len(own) == 1,
        )
        for field in own
    ]


def _fields(model: type[Model], path: str) -> list[Any]:
    """Return the columns along a path."""
    fields: list[Any] = []
    current: Any = model
    for part in path.split(LOOKUP_SEP):
        field = _field(current, part, path=path, model=model)
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


def _type_of(name: str, annotation: Any) -> Any:
    try:
        return annotation.output_field
    except FieldError as error:
        raise ConfigurationError(
            f"Cannot page by {name!r}: the annotation has no type. Give it an output_field."
        ) from error


def _sortable(name: str, field: Any) -> Any:
    # JSON's null and a missing value are both None in Python, but not in the order of the database.
    if isinstance(field, JSONField):
        raise ConfigurationError(
            f"Cannot page by {name!r}: it is JSON, whose order no cursor can hold. "
            "Annotate Cast(...) of the text to a type and order by the annotation."
        )
    return field
