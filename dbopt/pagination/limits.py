"""Page sizes: how many rows, from which end."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dbopt.exceptions import ConfigurationError, PageSizeError

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
# No more digits than any size has: reading a million of them would take its time.
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")


def page_arguments(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments first, after, last and before of a query string, for ``keyset_page``.

    Args:
        query: ``request.GET``, or what a framework calls it; other names are left alone.

    Raises:
        PageSizeError: first or last is no whole number; its code is BAD_PAGINATION.
    """
    arguments: dict[str, Any] = {name: query[name] for name in ("after", "before") if name in query}
    for name in ("first", "last"):
        if name in query:
            if not _WHOLE_NUMBER.fullmatch(query[name]):
                raise PageSizeError(
                    f"`{name}` must be a whole number, not {query[name][:20]!r}.", code="BAD_PAGINATION"
                )
            arguments[name] = int(query[name])
    return arguments


def page_size(
    *,
    first: int | None = None,
    last: int | None = None,
    default_size: int | None = None,
    max_size: int | None = None,
    required: bool | None = None,
) -> tuple[int, bool]:
    """Return (rows, whether they are counted from the end); a size is never silently cut.

    Args:
        first: rows from the start.
        last: rows from the end.
        default_size: rows when neither first nor last is given; None means 100, or max_size where that is less.
        max_size: None means 1,000.
        required: refuse a page without first or last.

    Raises:
        PageSizeError: with the code BAD_PAGINATION, PAGE_TOO_LARGE or PAGINATION_REQUIRED.
        ConfigurationError: default_size is more than max_size, or either is negative.
    """
    maximum = MAX_PAGE_SIZE if max_size is None else max_size
    default = min(DEFAULT_PAGE_SIZE, maximum) if default_size is None else default_size
    if not 0 <= default <= maximum:
        raise ConfigurationError(f"default_size is {default}; it must be between 0 and max_size, which is {maximum}.")
    if first is not None and last is not None:
        raise PageSizeError("Give `first` or `last`, not both.", code="BAD_PAGINATION")
    if first is None and last is None:
        if required:
            raise PageSizeError(
                f"This list must be paginated: give `first` or `last`, at most {maximum}.", code="PAGINATION_REQUIRED"
            )
        return default, False
    if first is not None:
        return _checked("first", first, maximum), False
    return _checked("last", last, maximum), True


def _checked(argument: str, size: int | None, maximum: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool):
        raise PageSizeError(f"`{argument}` must be a whole number, not {type(size).__name__}.", code="BAD_PAGINATION")
    if size < 0:
        raise PageSizeError(f"`{argument}` is {size}; it must not be negative.", code="BAD_PAGINATION")
    if size > maximum:
        raise PageSizeError(
            f"`{argument}` is {size}; at most {maximum} rows can be asked for at once.", code="PAGE_TOO_LARGE"
        )
    return size
