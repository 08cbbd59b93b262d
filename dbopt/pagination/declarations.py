"""The orders in which a project pages its models: declared where a list is defined, checked against the indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.models import Model

    from dbopt.pagination.order import OrderItem


@dataclass(frozen=True, slots=True)
class DeclaredOrder:
    """A list that is paged: its model, its order, and the columns that it is always filtered by."""

    model: type[Model]
    order_by: tuple[OrderItem, ...] | None
    equality: tuple[str, ...] = ()


# A dict keeps the order in which they came, and each once: a schema may be built again and again.
_declared: dict[DeclaredOrder, None] = {}


def declare_order(
    model: type[Model], order_by: Sequence[OrderItem] | OrderItem | None = None, *, equality: Sequence[str] = ()
) -> None:
    """Tell the system check of an order in which rows of a model are paged; may be called at import.

    Args:
        model: whose rows.
        order_by: as for ``keyset_page``; None: the model's own order.
        equality: columns that the list is always filtered by with one value: a tenant, the parent's key.
    """
    if isinstance(order_by, str) or not isinstance(order_by, Sequence | None):
        order_by = (order_by,)
    _declared[DeclaredOrder(model, None if order_by is None else tuple(order_by), tuple(equality))] = None


def declared_orders() -> list[DeclaredOrder]:
    """Return what was declared so far, each once."""
    return list(_declared)
