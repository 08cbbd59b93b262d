"""What comes after a position, as ranges that an index answers one by one.

With keys of one direction that are never NULL, all rows after a position are one range: ``(a, b, c) > (x, y, z)``.
Where the direction changes, or NULLs have a place of their own, they are several: for ``a, b DESC``
those with ``a = x AND b < y``, then those with ``a > x``, then, where a may be NULL and NULLs come last, ``a IS NULL``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from django.db.models import Lookup, Q, Value
from django.db.models.lookups import IsNull

from dbopt.pagination.comparison import Operator, RowCompare

if TYPE_CHECKING:
    from dbopt.pagination.keys import Key

Condition = Q | Lookup


def ranges(keys: Sequence[Key], values: Sequence[Any], *, is_backward: bool, is_inclusive: bool) -> list[Condition]:
    """Return disjoint conditions, in the order in which their rows come.

    Args:
        keys: of a total order: the last is never NULL.
        values: of the position, one for each key.
        is_backward: what comes after it in the order from the end, which is before it.
        is_inclusive: the position's own row is counted in.
    """
    key = keys[0]
    if values[0] is None:
        rests = ranges(keys[1:], values[1:], is_backward=is_backward, is_inclusive=is_inclusive)
        same: list[Condition] = [IsNull(key.column, True) & rest for rest in rests]
        return same if key.nulls_come_last(is_backward=is_backward) else [*same, IsNull(key.column, False)]
    length = _run(keys)
    run, position = keys[:length], values[:length]
    is_last = length == len(keys)
    found: list[Condition] = [
        _compare(run, _operator(key, is_backward=is_backward, or_equal=is_inclusive and is_last), position)
    ]
    if not is_last:
        equal = _compare(run, "=", position)
        rests = ranges(keys[length:], values[length:], is_backward=is_backward, is_inclusive=is_inclusive)
        found = [*(equal & rest for rest in rests), *found]
    if key.nulls_come_last(is_backward=is_backward):
        found.append(IsNull(key.column, True))
    return found


def one_condition(keys: Sequence[Key], values: Sequence[Any], *, is_backward: bool, is_inclusive: bool) -> Condition:
    """Return the same rows as one condition.

    An alternative of ranges is a filter for PostgreSQL; a bound of the first key is where its index starts.
    """
    found = ranges(keys, values, is_backward=is_backward, is_inclusive=is_inclusive)
    if len(found) == 1:
        return found[0]
    condition = reduce(or_, found)
    key = keys[0]
    if values[0] is None or key.nulls_come_last(is_backward=is_backward):
        return condition
    return _compare([key], _operator(key, is_backward=is_backward, or_equal=True), values[:1]) & condition


def _run(keys: Sequence[Key]) -> int:
    """Count the keys that one row comparison takes: of one direction and, but for the first, never NULL."""
    for number, key in enumerate(keys[1:], start=1):
        if key.is_nullable or key.is_descending != keys[0].is_descending:
            return number
    return len(keys)


def _operator(key: Key, *, is_backward: bool, or_equal: bool) -> Operator:
    operators: tuple[Operator, Operator] = ("<", "<=") if key.is_descending != is_backward else (">", ">=")
    return operators[or_equal]


def _compare(keys: Sequence[Key], operator: Operator, values: Sequence[Any]) -> RowCompare:
    return RowCompare(
        [key.column for key in keys],
        operator,
        [Value(value, output_field=key.field) for key, value in zip(keys, values, strict=True)],
    )
