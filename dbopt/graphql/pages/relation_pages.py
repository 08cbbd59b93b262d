"""Pages of a to-many relation: the rows of all parents in one statement, by LATERAL where the database has it."""

# ruff: noqa: SLF001  these are the pages of `dbopt.pagination.Page`, cut for many parents instead of one list

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from dbopt.graphql.loading.rows import Reading
from dbopt.graphql.pages.nested_pages import Pages, Position

if TYPE_CHECKING:
    from dbopt.graphql.loading.paths import RelationPath
    from dbopt.pagination import Page

# The page's queryset was prepared already.
_AS_IT_IS = Reading(is_quick=False)


class RelationPages(Pages):
    """The same page of the rows of many parents.

    Args:
        page: of the rows of all parents together, not read: its order and its place are those of each page.
        path: the relation.
        keys: of the parents.
        cap: count at most this many rows and one more; None: all.
    """

    def __init__(self, page: Page[Any], *, path: RelationPath, keys: Collection[Any], cap: int | None) -> None:
        super().__init__(keys, size=page.size, is_backward=page._is_backward, lower=page._lower, upper=page._upper)
        self._page = page
        self._path = path
        self._cap = cap

    def fetch(self) -> Mapping[Any, list[Any]]:
        """Read one row more than a page has, of each parent."""
        order, rows = self._page._order, self._page._prepared
        if self.lower is not None:
            rows = rows.filter(order.beyond(self.lower, is_backward=False))
        if self.upper is not None:
            rows = rows.filter(order.beyond(self.upper, is_backward=True))
        rows = order.sort(rows, is_backward=self.is_backward)
        return self._path.rows_by_key(rows, self.keys, reading=_AS_IT_IS, limit=self.size + 1)

    def beyond(self, position: Position | None, *, is_backward: bool, is_inclusive: bool) -> Collection[Any]:
        """Return the parents that have a row there."""
        rows = self._page._prepared
        if position is not None:
            rows = rows.filter(self._page._order.beyond(position, is_backward=is_backward, is_inclusive=is_inclusive))
        return self._path.counts_by_key(rows, self.keys, limit=1)

    def count(self) -> Mapping[Any, int]:
        """Count the rows of each parent."""
        limit = None if self._cap is None else self._cap + 1
        return self._path.counts_by_key(self._page._queryset, self.keys, limit=limit)

    def cursor(self, row: Any) -> str:
        """Return the cursor of a row."""
        return self._page.cursor(row)
