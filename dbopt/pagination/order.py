"""A total order of a queryset's rows: its keys, their conditions, their ORDER BY."""

# `_meta` is public by documentation.
# ruff: noqa: SLF001

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import F, Model, QuerySet

from dbopt.exceptions import ConfigurationError
from dbopt.pagination.cursor import list_signature
from dbopt.pagination.keys import Item, Key, OrderItem, items_of, keys_of
from dbopt.pagination.ranges import Condition, one_condition, ranges

__all__ = ["Key", "Order", "OrderItem", "order_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: the keys tell any two rows apart, and the last one is never NULL."""

    keys: tuple[Key, ...]

    def sort(self, queryset: QuerySet[Any], *, is_backward: bool) -> QuerySet[Any]:
        """Sort rows, or sort them from the end."""
        return queryset.order_by(*(key.sorted(is_backward=is_backward) for key in self.keys))

    def beyond(self, values: Sequence[Any], *, is_backward: bool, is_inclusive: bool = False) -> Condition:
        """Return the condition of rows after (or before) a position, which may be counted in."""
        return one_condition(self.keys, values, is_backward=is_backward, is_inclusive=is_inclusive)

    def take(
        self,
        queryset: QuerySet[Any],
        values: Sequence[Any] | None,
        *,
        limit: int,
        is_backward: bool,
        is_inclusive: bool = False,
    ) -> QuerySet[Any]:
        """Return the first rows after (or before) a position, sorted; None: from the start (or the end) of the list.

        Where the rows are several ranges of an index, each is read by a query of its own in one UNION ALL: an
        alternative of conditions would be a filter over all rows from the start of the index.
        """
        sorted_rows = self.sort(queryset, is_backward=is_backward)
        if values is None:
            return sorted_rows[:limit]
        conditions = ranges(self.keys, values, is_backward=is_backward, is_inclusive=is_inclusive)
        if len(conditions) > 1 and not _can_be_combined(queryset):
            conditions = [self.beyond(values, is_backward=is_backward, is_inclusive=is_inclusive)]
        first, *others = (sorted_rows.filter(condition)[:limit] for condition in conditions)
        return self.sort(first.union(*others, all=True), is_backward=is_backward)[:limit] if others else first

    def values(self, row: Model) -> list[Any]:
        """Return the position of a row; never queries for rows that came from a prepared queryset.

        Raises:
            ConfigurationError: a value is None, although the column is declared NOT NULL.
        """
        values = [getattr(row, key.attribute) for key in self.keys]
        for key, value in zip(self.keys, values, strict=True):
            if value is None and not key.is_nullable:
                raise ConfigurationError(
                    f"Cannot page by {key.path!r}: a row has no value, but the column is declared NOT NULL."
                )
        return values

    def signature(self, model: type[Model], *, scope: object) -> str:
        """Return what a cursor of this list carries: the model, the order, and whose list it is."""
        keys = (
            f"{'-' if key.is_descending else '+'}{key.path}:{key.field.get_internal_type()}{_nulls(key)}"
            for key in self.keys
        )
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
        order_by: names as for ``QuerySet.order_by`` (columns, to-one paths, annotations), or ``F(...)`` with
            ``asc()`` or ``desc()`` and ``nulls_first`` or ``nulls_last``; None: the queryset's own order, else the
            model's. The primary key is added in the direction of the last key, unless a unique column makes the order
            total already. A relation's name means its key column.

    Raises:
        ConfigurationError: a key is unknown, to-many, random, JSON or an expression.
    """
    keys: list[Key] = []
    is_total = False
    for item in items_of(queryset, order_by):
        for key in keys_of(queryset, item, position=len(keys)):
            if is_total or key.path in {known.path for known in keys}:
                continue
            keys.append(key)
            is_total = key.is_unique
    if not is_total:
        direction = keys[-1].is_descending if keys else False
        known = {key.path for key in keys}
        primary = keys_of(queryset, Item("pk", direction, nulls_first=direction), position=len(keys))
        keys.extend(key for key in primary if key.path not in known)
    return Order(tuple(keys))


def _can_be_combined(queryset: QuerySet[Any]) -> bool:
    """Whether a UNION ALL of parts of the rows is the rows, and the database takes it."""
    query = queryset.query
    if query.distinct or query.group_by is not None or query.select_for_update or query.is_empty():
        return False
    return connections[queryset.db].features.supports_slicing_ordering_in_compound


def _nulls(key: Key) -> str:
    if not key.is_nullable:
        return ""
    return "^" if key.nulls_first else "v"
