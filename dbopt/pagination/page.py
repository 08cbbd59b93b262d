"""One page of a queryset, from a cursor on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from django.db.models import Model, QuerySet

from dbopt.exceptions import ConfigurationError
from dbopt.pagination.cursor import decode_cursor, encode_cursor
from dbopt.pagination.limits import page_size
from dbopt.pagination.order import Order, order_of
from dbopt.pagination.totals import DEFAULT_CAP, Total, TotalMode, count_rows
from dbopt.tenancy import current_tenant

if TYPE_CHECKING:
    from dbopt.pagination.order import OrderItem

M = TypeVar("M", bound=Model)


def keyset_page(  # noqa: PLR0913  # all by keyword
    queryset: QuerySet[M],
    *,
    order_by: Sequence[OrderItem] | OrderItem | None = None,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    default_size: int | None = None,
    max_size: int | None = None,
    required: bool | None = None,
) -> Page[M]:
    """Return a page of a queryset; arguments are checked now, rows are read when they are asked for.

    Args:
        queryset: any filters; not sliced, combined, ``distinct(fields)`` or ``values()``.
        order_by: names as for ``QuerySet.order_by``; None: the queryset's own order. The primary key makes it total.
        first: this many rows from the start, or from the row behind ``after`` on.
        after: a cursor; may be combined with ``before``.
        last: this many rows up to the end, or up to the row in front of ``before``.
        before: a cursor.
        default_size: rows without first and last; None means 100.
        max_size: None means 1,000. More is refused, never cut.
        required: refuse a page without first or last.

    Raises:
        InvalidCursorError: a cursor is damaged, forged, or of another model, order or tenant.
        PageSizeError: its code is BAD_PAGINATION, PAGE_TOO_LARGE or PAGINATION_REQUIRED.
        ConfigurationError: the queryset or the order cannot be paged by keys.
    """
    size, is_backward = page_size(
        first=first, last=last, default_size=default_size, max_size=max_size, required=required
    )
    _refuse(queryset)
    order = order_of(queryset, order_by)
    signature = order.signature(queryset.model, scope=current_tenant())
    lower = None if after is None else decode_cursor(after, signature, argument="after")
    upper = None if before is None else decode_cursor(before, signature, argument="before")
    return Page(
        queryset, order=order, signature=signature, size=size, is_backward=is_backward, lower=lower, upper=upper
    )


def _refuse(queryset: QuerySet[Any]) -> None:
    query = queryset.query
    faults = {
        "a sliced queryset": query.is_sliced,
        f"a {query.combinator} of querysets": query.combinator,
        "distinct() with field names": query.distinct_fields,
        "values() or values_list()": queryset._fields is not None,  # type: ignore[attr-defined]
    }
    for fault, is_found in faults.items():
        if is_found:
            raise ConfigurationError(f"Cannot page {fault}. Give the plain queryset of model rows with its filters.")


class Page(Generic[M]):
    """Rows between two cursors, and what lies around them. Made by :func:`keyset_page`; belongs to one thread.

    ``rows`` is one statement. Asking for ``has_next`` or ``has_previous`` costs nothing in the page's own direction,
    and one indexed look-up at most in the other; ``total()`` is one COUNT, ``count(mode)`` may be cheaper.
    """

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        queryset: QuerySet[M],
        *,
        order: Order,
        signature: str,
        size: int,
        is_backward: bool,
        lower: list[Any] | None,
        upper: list[Any] | None,
    ) -> None:
        self._queryset = queryset
        self._prepared = order.prepare(queryset)
        self._order = order
        self._signature = signature
        self._size = size
        self._is_backward = is_backward
        self._lower = lower
        self._upper = upper
        self._totals: dict[tuple[TotalMode | None, int], Total | None] = {}

    @cached_property
    def _fetched(self) -> list[M]:
        """One row more than the page has, in the direction of paging."""
        if self._size == 0:
            return []
        start, stop = self._ends
        queryset = self._prepared
        if stop is not None:
            queryset = queryset.filter(self._order.beyond(stop, is_backward=not self._is_backward))
        return list(self._order.take(queryset, start, limit=self._size + 1, is_backward=self._is_backward))

    @property
    def size(self) -> int:
        """How many rows were asked for at most."""
        return self._size

    @property
    def _ends(self) -> tuple[list[Any] | None, list[Any] | None]:
        """Where paging starts, and where it has to stop."""
        return (self._upper, self._lower) if self._is_backward else (self._lower, self._upper)

    @cached_property
    def rows(self) -> list[M]:
        """The rows of this page, in the order of the list, backwards too."""
        rows = self._fetched[: self._size]
        return rows[::-1] if self._is_backward else rows

    @cached_property
    def has_next(self) -> bool:
        """Whether the list goes on after the last row of this page."""
        return self._goes_on(is_backward=False)

    @cached_property
    def has_previous(self) -> bool:
        """Whether the list has rows before the first row of this page."""
        return self._goes_on(is_backward=True)

    @property
    def start_cursor(self) -> str | None:
        """The cursor of the first row; None on an empty page."""
        return self.cursor(self.rows[0]) if self.rows else None

    @property
    def end_cursor(self) -> str | None:
        """The cursor of the last row; None on an empty page."""
        return self.cursor(self.rows[-1]) if self.rows else None

    def cursor(self, row: M) -> str:
        """Return the cursor of a row of this page; asks no database."""
        return encode_cursor(self._signature, self._order.values(row))

    def total(self) -> int:
        """Count all rows of the list, whatever the cursors: one COUNT, once."""
        return cast("Total", self.count()).count

    def count(self, mode: TotalMode | None = "exact", *, cap: int = DEFAULT_CAP) -> Total | None:
        """Return the total in one of the ways of :func:`~dbopt.pagination.totals.count_rows`, asked for once each."""
        asked = (mode, cap)
        if asked not in self._totals:
            self._totals[asked] = count_rows(self._queryset, mode, cap=cap)
        return self._totals[asked]

    def _goes_on(self, *, is_backward: bool) -> bool:
        start, stop = self._ends
        if is_backward != self._is_backward:
            # Behind us: nothing, where we began at the end of the list.
            if start is None:
                return False
            # An empty page lies at its cursor, whose row is on the other side.
            return self._exists(is_backward=is_backward, start=start, is_inclusive=not self.rows)
        if len(self._fetched) > self._size:
            return True
        if self._size and stop is None:
            return False
        return self._exists(is_backward=is_backward, start=start, is_inclusive=False)

    def _exists(self, *, is_backward: bool, start: list[Any] | None, is_inclusive: bool) -> bool:
        position = self._order.values(self.rows[0 if is_backward else -1]) if self.rows else start
        # The first row of the order, not exists(): so that the planner takes the index, not a scan that may find nothing.
        keys = self._prepared.values_list(*(key.attribute for key in self._order.keys))
        return bool(self._order.take(keys, position, limit=1, is_backward=is_backward, is_inclusive=is_inclusive))
