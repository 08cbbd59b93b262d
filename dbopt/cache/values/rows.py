"""Rows of plain values, kept column by column: a column of dates becomes one list of texts and one call of `map`.

What msgpack knows itself stays as it is. A column of one other type is stored as a column of something that it knows,
with a number that tells how to come back. Everything else is left to the hook that packs single values.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dbopt.cache.values.plain import utc_moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NATIVE = frozenset({str, int, float, bool, bytes, type(None)})
_NONE = type(None)

# Numbers are part of the stored format: never give one a new meaning. A column with gaps has the negative number.
_AS_IS, _DECIMALS, _DATES, _UUIDS, _MOMENTS, _LOCAL_MOMENTS, _DURATIONS = 0, 1, 2, 3, 4, 5, 6

_MICROSECOND = timedelta(microseconds=1)


def to_columns(rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
    """Return rows of equal length as columns: pairs of a number and the list of values."""
    return [_packed(list(column)) for column in zip(*rows, strict=True)]


def to_rows(columns: Iterable[Sequence[Any]]) -> Iterable[tuple[Any, ...]]:
    """Return the rows again, as tuples."""
    return zip(*[_unpacked(number, column) for number, column in columns], strict=True)


def _packed(column: list[Any]) -> list[Any]:
    kinds = set(map(type, column))
    if kinds <= _NATIVE:
        return [_AS_IS, column]
    has_gaps = _NONE in kinds
    if has_gaps:
        kinds.remove(_NONE)
    kind = kinds.pop()
    if kinds or kind not in _NUMBERS:
        return [_AS_IS, column]
    if kind is datetime:
        number = _number_of_moments(column)
        if number is None:
            return [_AS_IS, column]
    else:
        number = _NUMBERS[kind]
    write = _WRITERS[number]
    if has_gaps:
        return [-number, [None if value is None else write(value) for value in column]]
    return [number, list(map(write, column))]


def _number_of_moments(column: list[datetime | None]) -> int | None:
    zones = {value.tzinfo for value in column if value is not None}
    # A repeated hour of a clock change is told by `fold`, which neither way of writing keeps.
    if len(zones) > 1 or any(value is not None and value.fold for value in column):
        return None
    (zone,) = zones
    if zone is UTC:
        return _MOMENTS
    return _LOCAL_MOMENTS if zone is None else None


def _unpacked(number: int, column: Sequence[Any]) -> Iterable[Any]:
    if number == _AS_IS:
        return column
    read = _READERS[abs(number)]
    if read is None:
        return column
    if number < 0:
        return [None if value is None else read(value) for value in column]
    return map(read, column)


_NUMBERS: dict[type, int] = {
    Decimal: _DECIMALS,
    date: _DATES,
    UUID: _UUIDS,
    datetime: _MOMENTS,
    timedelta: _DURATIONS,
}

_WRITERS: dict[int, Callable[[Any], Any]] = {
    _DECIMALS: str,
    _DATES: date.isoformat,
    _UUIDS: lambda value: value.bytes,
    _MOMENTS: utc_moment,
    _LOCAL_MOMENTS: datetime.isoformat,
    _DURATIONS: lambda value: value // _MICROSECOND,
}

_READERS: dict[int, Callable[[Any], Any] | None] = {
    _DECIMALS: Decimal,
    _DATES: date.fromisoformat,
    _UUIDS: lambda value: UUID(bytes=value),
    _MOMENTS: None,
    _LOCAL_MOMENTS: datetime.fromisoformat,
    _DURATIONS: lambda value: timedelta(microseconds=value),
}
