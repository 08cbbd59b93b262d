"""Single values that msgpack does not know itself, as its extension types, and the packing around them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers of extension types are part of the stored format: never give one a new meaning.
_TUPLE, _SET, _FROZENSET, _DECIMAL, _UUID, _INTEGER = 2, 3, 4, 5, 6, 7
_DATETIME, _DATE, _TIME, _DURATION, _ZONED, _RANGE = 8, 9, 10, 11, 12, 13

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


class UnencodableError(Exception):
    """The result holds something that is neither a plain value nor an instance of a model."""


def write_plain(value: Any) -> Any:
    """Encode what msgpack does not know; called by it for each such value.

    Raises:
        UnencodableError: the value is of a type that is not stored.
    """
    kind = type(value)
    writer = _WRITERS.get(kind) or _range_writer(kind)
    if writer is None:
        raise UnencodableError(f"a value of type {kind.__module__}.{kind.__qualname__}")
    return writer(value)


def read_plain(code: int, data: bytes) -> Any:
    """Decode what :func:`write_plain` encoded; foreign bytes raise whatever the constructors raise."""
    if code in NESTED_READERS:
        return NESTED_READERS[code](unpack(data))
    return _READERS[code](data)


@cache
def _msgpack() -> Any:
    return require_extra("msgpack", "redis")


def ext(code: int, data: bytes) -> Any:
    """Return an extension value of msgpack."""
    return _msgpack().ExtType(code, data)


def pack(value: object, hook: Callable[[Any], Any] = write_plain) -> bytes:
    """Return a value as bytes; the hook gets what msgpack does not know."""
    # strict_types: subclasses of str or int come to the hook instead of losing their type in silence.
    packed: bytes = _msgpack().packb(value, default=hook, use_bin_type=True, strict_types=True)
    return packed


def unpack(data: bytes, hook: Callable[[int, bytes], Any] = read_plain) -> Any:
    """Return the value; the hook gets the number and the bytes of each extension value."""
    # timestamp=3: moments in UTC are made by msgpack itself.
    return _msgpack().unpackb(data, ext_hook=hook, raw=False, strict_map_key=False, timestamp=3)


def utc_moment(value: datetime) -> Any:
    """Return a moment in UTC as msgpack's own timestamp, which it reads without our help."""
    since = value - _EPOCH
    seconds = since // _SECOND
    # Not Timestamp.from_datetime(): that goes through a float.
    return _msgpack().Timestamp(seconds, (since - seconds * _SECOND) // _MICROSECOND * 1000)


def _write_nested(code: int) -> Callable[[Any], Any]:
    return lambda value: ext(code, pack(list(value)))


def _writer(code: int, write: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    return lambda value: ext(code, write(value))


def _write_moment(value: datetime) -> Any:
    if value.tzinfo is UTC and not value.fold:
        return utc_moment(value)
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        data = [value.replace(tzinfo=None).isoformat(), value.fold, value.tzinfo.key]
        return ext(_ZONED, pack(data))
    if value.tzinfo is not None and type(value.tzinfo).__module__ != "datetime":
        raise UnencodableError(f"a time zone of type {type(value.tzinfo).__qualname__}")
    return ext(_DATETIME, value.isoformat().encode())


def _read_zoned(data: bytes) -> datetime:
    text, fold, zone = unpack(data)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=ZoneInfo(zone))


def _range_writer(kind: type) -> Callable[[Any], Any] | None:
    """Return how to write one of psycopg's ranges, which Django's range fields give."""
    if kind not in range_types():
        return None
    number = range_types().index(kind)
    return lambda value: ext(_RANGE, pack([number, value.lower, value.upper, value.bounds or None]))


def _read_range(data: bytes) -> Any:
    number, lower, upper, bounds = unpack(data)
    return range_types()[number](lower, upper, bounds or "[)", empty=bounds is None)


@cache
def range_types() -> tuple[type, ...]:
    """Return the types that Django's range fields give; none without psycopg."""
    try:
        from django.db.backends.postgresql import psycopg_any as found
    except ImportError:
        return ()
    # Places in this list are part of the stored format.
    return (found.NumericRange, found.DateRange, found.DateTimeRange, found.DateTimeTZRange)


NESTED: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
NESTED_READERS: dict[int, Callable[[list[Any]], Any]] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}

_WRITERS: dict[type, Callable[[Any], Any]] = {
    **{kind: _write_nested(code) for kind, code in NESTED.items()},
    Decimal: _writer(_DECIMAL, lambda value: str(value).encode()),
    UUID: _writer(_UUID, lambda value: value.bytes),
    int: _writer(_INTEGER, lambda value: str(value).encode()),
    datetime: _write_moment,
    date: _writer(_DATE, lambda value: value.isoformat().encode()),
    time: _writer(_TIME, lambda value: value.isoformat().encode()),
    timedelta: _writer(_DURATION, lambda value: f"{value.days}:{value.seconds}:{value.microseconds}".encode()),
}

_READERS: dict[int, Callable[[bytes], Any]] = {
    _DECIMAL: lambda data: Decimal(data.decode()),
    _UUID: lambda data: UUID(bytes=data),
    _INTEGER: int,
    _DATETIME: lambda data: datetime.fromisoformat(data.decode()),
    _DATE: lambda data: date.fromisoformat(data.decode()),
    _TIME: lambda data: time.fromisoformat(data.decode()),
    _DURATION: lambda data: timedelta(*map(int, data.decode().split(":"))),
    _ZONED: _read_zoned,
    _RANGE: _read_range,
}
