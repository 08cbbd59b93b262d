"""System check: an index for every order in which a model is declared to be paged."""

# `_meta` is public by documentation.
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's name for it
from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, QuerySet, UniqueConstraint
from django.db.models.expressions import OrderBy
from django.urls import get_resolver

from dbopt.exceptions import ConfigurationError
from dbopt.pagination.declarations import DeclaredOrder, declared_orders
from dbopt.pagination.order import order_of

if TYPE_CHECKING:
    from django.apps import AppConfig
    from django.db.models import Model

_MAX_NAME_LENGTH = 30
_B_TREE_SUFFIXES = ("idx", "btree")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an index, or of an order, by its attribute's name."""

    name: str
    is_descending: bool = False
    nulls_first: bool = False

    def turned(self) -> Column:
        """Return the column as an index is read backward."""
        return Column(self.name, not self.is_descending, not self.nulls_first)


def check_declared_orders(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Some index begins with what a list is filtered by, then has the keys of its order, in their directions."""
    if getattr(settings, "ROOT_URLCONF", None):
        # Views declare: without their modules there would be nothing to check.
        get_resolver().url_patterns  # noqa: B018 - imports them
    messages: list[CheckMessage] = []
    for declared in declared_orders():
        if declared.model._meta.managed and (app_configs is None or declared.model._meta.app_config in app_configs):
            messages.extend(_faults(declared))
    return messages


def _faults(declared: DeclaredOrder) -> Iterator[CheckMessage]:
    model = declared.model
    try:
        order = order_of(QuerySet(model), declared.order_by)
    except ConfigurationError:
        # Most likely an annotation that the list itself adds; the page will say what is wrong if it is not.
        return
    keys_text = ", ".join(map(str, order.keys))
    foreign = [key.path for key in order.keys if _own_column(model, key.attribute) is None]
    if foreign:
        yield Warning(
            f"No index can serve the order in which {model._meta.label} is paged ({keys_text}): "
            f"{foreign[0]!r} is no column of its table.",
            hint="Order by columns of one table: every page sorts all rows that its filters leave.",
            obj=model,
            id="dbopt.W402",
        )
        return
    columns = [_own_column(model, name) for name in declared.equality]
    equality = [name for name in columns if name is not None]
    wanted = [Column(key.attribute, key.is_descending, key.nulls_first) for key in order.keys]
    wanted = [column for column in wanted if column.name not in equality]
    if any(_serves(index, set(equality), wanted) for index in _indexes(model)):
        return
    filters = f", filtered by {', '.join(declared.equality)}" if declared.equality else ""
    yield Warning(
        f"No index serves the order in which {model._meta.label} is paged ({keys_text}){filters}.",
        hint=f"Add {_suggestion(model, equality, wanted)} to its Meta.indexes, "
        "or every page sorts all rows that its filters leave.",
        obj=model,
        id="dbopt.W401",
    )


def _serves(columns: Sequence[Column], equality: set[str], wanted: Sequence[Column]) -> bool:
    if {column.name for column in columns[: len(equality)]} != equality:
        return False
    found = columns[len(equality) : len(equality) + len(wanted)]
    return found in (list(wanted), [column.turned() for column in wanted])


def _indexes(model: type[Model]) -> Iterator[list[Column]]:
    """Return the columns of each B-tree over all rows, up to the first that is an expression."""
    meta = _table(model)
    names: list[Sequence[str]] = [[field.name] for field in meta.local_fields if field.unique or field.db_index]
    names.append([field.name for field in getattr(meta, "pk_fields", ())])
    names.extend(meta.unique_together)
    for group in names:
        yield list(_columns(model, map(F, group)))
    for index in meta.indexes:
        if index.suffix in _B_TREE_SUFFIXES and index.condition is None and not index.opclasses:
            fields = (OrderBy(F(name), descending=bool(suffix)) for name, suffix in index.fields_orders)
            yield list(_columns(model, index.expressions or fields))
    for constraint in meta.constraints:
        is_unique = isinstance(constraint, UniqueConstraint)
        if is_unique and constraint.condition is None and not constraint.opclasses:
            yield list(_columns(model, constraint.expressions or map(F, constraint.fields)))


def _columns(model: type[Model], expressions: Any) -> Iterator[Column]:
    for expression in expressions:
        ordered = expression if isinstance(expression, OrderBy) else OrderBy(expression)
        if not isinstance(ordered.expression, F):
            return
        name = _own_column(model, ordered.expression.name)  # type: ignore[attr-defined]  # missing in django-stubs
        if name is None:
            return
        nulls_first = bool(ordered.nulls_first) or (ordered.descending and not ordered.nulls_last)
        yield Column(name, ordered.descending, nulls_first)


def _own_column(model: type[Model], name: str) -> str | None:
    """Return the attribute of a column of the model's own table; None for anything else."""
    meta = _table(model)
    try:
        field = meta.pk if name == "pk" else meta.get_field(name)
    except FieldDoesNotExist:
        field = next((field for field in meta.local_fields if field.attname == name), None)
    return field.attname if field in meta.local_fields else None


def _table(model: type[Model]) -> Any:
    """Return the options of the model that has the table: not those of a proxy."""
    return model._meta.concrete_model._meta  # type: ignore[union-attr]  # None for abstract models only


def _suggestion(model: type[Model], equality: Sequence[str], wanted: Sequence[Column]) -> str:
    columns = [*map(Column, equality), *wanted]
    names = {field.attname: field.name for field in model._meta.fields}
    if all(column.nulls_first == column.is_descending for column in columns):
        fields = [f"{'-' if column.is_descending else ''}{names[column.name]}" for column in columns]
        content = "fields=[" + ", ".join(f'"{field}"' for field in fields) + "]"
    else:
        content = ", ".join(_expression(names[column.name], column) for column in columns)
    name = "_".join([str(model._meta.model_name), *(names[column.name] for column in columns)])
    return f'models.Index({content}, name="{name[:_MAX_NAME_LENGTH].rstrip("_")}")'


def _expression(name: str, column: Column) -> str:
    direction = "desc" if column.is_descending else "asc"
    if column.nulls_first == column.is_descending:
        return f'F("{name}").desc()' if column.is_descending else f'"{name}"'
    return f'F("{name}").{direction}(nulls_{"first" if column.nulls_first else "last"}=True)'
