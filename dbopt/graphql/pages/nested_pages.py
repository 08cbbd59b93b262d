"""The same page of many lists at once: what all of them need is read in one statement, when somebody asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any

Position = list[Any]
"""Key values of a row, as a cursor holds them."""


class Pages(ABC):
    """One page of each of many lists: the same size, from the same cursor on. Belongs to one thread.

    Attributes:
        keys: of the lists, distinct.
        size: rows a page.
        is_backward: pages are taken from the end.
        lower, upper: positions that rows must be after, and before.
    """

    def __init__(
        self, keys: Collection[Any], *, size: int, is_backward: bool, lower: Position | None, upper: Position | None
    ) -> None:
        self.keys = keys
        self.size = size
        self.is_backward = is_backward
        self.lower = lower
        self.upper = upper
        self._known: dict[object, Any] = {}

    @abstractmethod
    def fetch(self) -> Mapping[Any, list[Any]]:
        """Read one row more than a page has, of each list, in the direction of paging."""

    @abstractmethod
    def beyond(self, position: Position | None, *, is_backward: bool, is_inclusive: bool) -> Collection[Any]:
        """Return the keys of the lists that have a row after (or before) a position; None: a row at all."""

    @abstractmethod
    def count(self) -> Mapping[Any, int]:
        """Count the rows of each list, whatever the cursors; a list that is left out has none."""

    @abstractmethod
    def cursor(self, row: Any) -> str:
        """Return the cursor of a row."""

    def fetched(self, key: Any) -> list[Any]:
        """Return what was fetched of a list."""
        found: Mapping[Any, list[Any]] = self._once("rows", self.fetch) if self.size else {}
        return found.get(key, [])

    def total(self, key: Any) -> int:
        """Return the count of a list."""
        counted: Mapping[Any, int] = self._once("count", self.count)
        return counted.get(key, 0)

    def goes_on(self, key: Any, *, is_backward: bool) -> bool:
        """Say whether a list has rows after (or before) its page. Asks nothing where the fetched rows tell it."""
        start, stop = (self.upper, self.lower) if self.is_backward else (self.lower, self.upper)
        if is_backward != self.is_backward:
            # Behind us: nothing, where we began at the end of the list; else all up to the cursor's own row.
            return start is not None and self._has_beyond(key, start, is_backward=is_backward, is_inclusive=True)
        fetched = self.fetched(key)
        if len(fetched) > self.size:
            return True
        if not fetched:
            is_open = self.size > 0 and stop is None
            return not is_open and self._has_beyond(key, start, is_backward=is_backward, is_inclusive=False)
        return stop is not None and self._has_beyond(key, stop, is_backward=is_backward, is_inclusive=True)

    def _has_beyond(self, key: Any, position: Position | None, *, is_backward: bool, is_inclusive: bool) -> bool:
        asked = ("beyond", position is self.lower, is_backward, is_inclusive)
        found: Collection[Any] = self._once(
            asked, lambda: self.beyond(position, is_backward=is_backward, is_inclusive=is_inclusive)
        )
        return key in found

    def _once(self, name: object, read: Callable[[], Any]) -> Any:
        """Read once for all lists; what failed fails for each of them, without being tried for each of them."""
        if name not in self._known:
            try:
                self._known[name] = read()
            except Exception as error:  # noqa: BLE001  # raised below, and to the next one who asks
                self._known[name] = _Failure(error)
        found = self._known[name]
        if isinstance(found, _Failure):
            # With its first traceback: each raise would make it longer.
            raise found.error.with_traceback(found.traceback)
        return found


class _Failure:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.traceback = error.__traceback__


class ListPage:
    """The page of one list among `Pages`; reads like `dbopt.pagination.Page`."""

    __slots__ = ("_key", "_pages")

    def __init__(self, pages: Pages, key: Any) -> None:
        self._pages = pages
        self._key = key

    @property
    def rows(self) -> list[Any]:
        """The rows, in the order of the list, backwards too."""
        pages = self._pages
        rows = pages.fetched(self._key)[: pages.size]
        return rows[::-1] if pages.is_backward else rows

    @property
    def has_next(self) -> bool:
        """Whether rows follow."""
        return self._pages.goes_on(self._key, is_backward=False)

    @property
    def has_previous(self) -> bool:
        """Whether rows come before."""
        return self._pages.goes_on(self._key, is_backward=True)

    def cursor(self, row: Any) -> str:
        """Return the cursor of a row."""
        return self._pages.cursor(row)

    def total(self) -> int:
        """Return how many rows the list has."""
        return self._pages.total(self._key)
