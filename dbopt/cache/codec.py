"""Results as bytes and back, without pickle: plain values, rows, and instances of models.

An instance is stored as its row (model, columns, values) and comes back through ``Model.from_db``, with what was
loaded beside it: deferred columns stay deferred; annotations, ``select_related`` and ``prefetch_related`` are kept.
A model whose columns changed since does not read its old rows: that is a miss.
"""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

import hashlib
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.apps import apps
from django.db import models
from django.db.models.fields.files import FieldFile

from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Numbers of extension types are part of the stored format: never give one a new meaning.
_INSTANCE, _TUPLE, _SET, _FROZENSET, _DECIMAL, _UUID, _INTEGER = 1, 2, 3, 4, 5, 6, 7
_DATETIME, _DATE, _TIME, _DURATION, _ZONED = 8, 9, 10, 11, 12


class UnencodableError(Exception):
    """The result holds something that is neither a plain value nor an instance of a model."""


class UndecodableError(Exception):
    """The stored bytes cannot become a result here: damaged, foreign, or of a model that changed."""


def encode(result: object) -> bytes:
    """Return a result as bytes.

    Raises:
        UnencodableError: naming the type that cannot be stored, never a value.
    """
    try:
        return _Encoder().encode(result)
    except UnencodableError:
        raise
    except (TypeError, ValueError, OverflowError, UnicodeError, RecursionError) as error:
        raise UnencodableError(f"a part that msgpack refuses ({type(error).__name__})") from error


def decode(payload: bytes) -> Any:
    """Return the result; every call builds new objects, which the caller may change.

    Raises:
        UndecodableError: the bytes are not a result of this version of the code.
    """
    try:
        return _Decoder().decode(payload)
    except Exception as error:
        # Foreign bytes reach every constructor behind this line, and each has errors of its own.
        raise UndecodableError(type(error).__name__) from error


@cache
def model_fingerprint(model: type[models.Model]) -> bytes:
    """Return 8 bytes that change when a column of the model comes, goes, moves or becomes another type."""
    columns = ",".join(f"{field.attname}:{field.get_internal_type()}" for field in model._meta.concrete_fields)
    return hashlib.blake2b(f"{model._meta.label_lower}|{columns}".encode(), digest_size=8).digest()


def _plain(value: Any) -> Any:
    """Encode what msgpack does not know; called by it for each such value."""
    kind = type(value)
    writer = _WRITERS.get(kind)
    if writer is None:
        raise UnencodableError(f"a value of type {kind.__module__}.{kind.__qualname__}")
    code, data = writer(value)
    return _ext(code, data)


class _Encoder:
    def __init__(self) -> None:
        self._instances: list[models.Model] = []
        self._numbers: dict[int, int] = {}
        self._groups: dict[tuple[object, ...], int] = {}

    def encode(self, result: object) -> bytes:
        root = self._pack(result)
        rows: list[list[Any]] = []
        links: dict[int, bytes] = {}
        # Packing the links of one instance may find further instances, which join the end of the list.
        for number, instance in enumerate(self._instances):
            rows.append(self._row(instance))
            linked = _links(instance)
            if linked:
                links[number] = self._pack(linked)
        groups = [list(group) for group in self._groups]
        return _packb([groups, _packb(rows, _plain), links, root], _plain)

    def _pack(self, value: object) -> bytes:
        return _packb(value, self._hook)

    def _hook(self, value: Any) -> Any:
        if isinstance(value, models.Model):
            return _ext(_INSTANCE, str(self._number(value)).encode())
        if type(value) in _NESTED:
            code, items = _NESTED[type(value)], list(value)
            return _ext(code, self._pack(items))
        return _plain(value)

    def _number(self, instance: models.Model) -> int:
        number = self._numbers.get(id(instance))
        if number is None:
            number = self._numbers[id(instance)] = len(self._instances)
            self._instances.append(instance)
        return number

    def _row(self, instance: models.Model) -> list[Any]:
        model = type(instance)
        if instance._state.adding:
            raise UnencodableError(f"an unsaved {model._meta.label}")
        held = instance.__dict__
        names = tuple(field.attname for field in model._meta.concrete_fields if field.attname in held)
        key = (model._meta.label_lower, model_fingerprint(model), instance._state.db, names)
        group = self._groups.setdefault(key, len(self._groups))
        values = [held[name] for name in names]
        return [group, *(value.name if isinstance(value, FieldFile) else value for value in values)]


def _links(instance: models.Model) -> list[dict[str, Any]] | None:
    """Return what hangs on an instance beside its row: related objects, prefetched lists, annotations."""
    columns = _columns(type(instance))
    related = instance._state.fields_cache
    extras = {name: value for name, value in instance.__dict__.items() if name not in columns}
    prefetched = extras.pop("_prefetched_objects_cache", {})
    if not (related or prefetched or extras):
        return None
    for name in prefetched:
        if _manager_name(type(instance), name) is None:
            raise UnencodableError(f"a prefetched {name!r} that is no relation of {type(instance)._meta.label}")
    return [dict(related), {name: list(queryset) for name, queryset in prefetched.items()}, extras]


@cache
def _columns(model: type[models.Model]) -> frozenset[str]:
    return frozenset({"_state", *(field.attname for field in model._meta.concrete_fields)})


@cache
def _manager_name(model: type[models.Model], cache_name: str) -> str | None:
    # Many-to-many managers keep prefetched rows under the query name, "book", and are reached as "book_set".
    for name in (cache_name, f"{cache_name}_set"):
        if hasattr(getattr(model, name, None), "related_manager_cls") or hasattr(getattr(model, name, None), "rel"):
            return name
    return None


class _Decoder:
    def __init__(self) -> None:
        self._instances: list[models.Model] = []

    def decode(self, payload: bytes) -> Any:
        groups, rows, links, root = _unpackb(payload, _read_plain)
        builders = [_builder(*group) for group in groups]
        self._instances = [builders[row[0]](row[1:]) for row in _unpackb(rows, _read_plain)]
        for number, linked in links.items():
            self._attach(self._instances[number], *_unpackb(linked, self._hook))
        return _unpackb(root, self._hook)

    def _hook(self, code: int, data: bytes) -> Any:
        if code == _INSTANCE:
            return self._instances[int(data)]
        if code in _NESTED_READERS:
            return _NESTED_READERS[code](_unpackb(data, self._hook))
        return _read_plain(code, data)

    def _attach(
        self, instance: models.Model, related: dict[str, Any], prefetched: dict[str, Any], extras: dict[str, Any]
    ) -> None:
        instance.__dict__.update(extras)
        instance._state.fields_cache.update(related)
        for name, objects in prefetched.items():
            manager = getattr(instance, _manager_name(type(instance), name) or name)
            queryset = manager.get_queryset()
            queryset._result_cache = objects
            queryset._prefetch_done = True
            if not hasattr(instance, "_prefetched_objects_cache"):
                instance._prefetched_objects_cache = {}  # type: ignore[attr-defined]  # Django's own name for it
            instance._prefetched_objects_cache[name] = queryset  # type: ignore[attr-defined]


def _builder(
    label: str, fingerprint: bytes, database: str | None, names: Sequence[str]
) -> Callable[[Sequence[Any]], models.Model]:
    model: type[models.Model] = apps.get_model(label)
    if model_fingerprint(model) != fingerprint:
        raise UndecodableError(f"columns of {label} changed")
    return lambda values: model.from_db(database, names, values)


def _read_plain(code: int, data: bytes) -> Any:
    if code in _NESTED_READERS:
        return _NESTED_READERS[code](_unpackb(data, _read_plain))
    return _READERS[code](data)


def _ext(code: int, data: bytes) -> Any:
    return require_extra("msgpack", "redis").ExtType(code, data)


def _packb(value: object, hook: Callable[[Any], Any]) -> bytes:
    # strict_types: subclasses of str or int come to the hook instead of losing their type in silence.
    packed: bytes = require_extra("msgpack", "redis").packb(value, default=hook, use_bin_type=True, strict_types=True)
    return packed


def _unpackb(data: bytes, hook: Callable[[int, bytes], Any]) -> Any:
    return require_extra("msgpack", "redis").unpackb(data, ext_hook=hook, raw=False, strict_map_key=False)


def _write_nested(code: int) -> Callable[[Any], tuple[int, bytes]]:
    return lambda value: (code, _packb(list(value), _plain))


def _write_moment(value: datetime) -> tuple[int, bytes]:
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key:
        data = [value.replace(tzinfo=None).isoformat(), value.fold, value.tzinfo.key]
        return _ZONED, _packb(data, _plain)
    if value.tzinfo is not None and type(value.tzinfo).__module__ != "datetime":
        raise UnencodableError(f"a time zone of type {type(value.tzinfo).__qualname__}")
    return _DATETIME, value.isoformat().encode()


def _read_zoned(data: bytes) -> datetime:
    text, fold, zone = _unpackb(data, _read_plain)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=ZoneInfo(zone))


_NESTED: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
_NESTED_READERS: dict[int, Callable[[list[Any]], Any]] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}

_WRITERS: dict[type, Callable[[Any], tuple[int, bytes]]] = {
    **{kind: _write_nested(code) for kind, code in _NESTED.items()},
    Decimal: lambda value: (_DECIMAL, str(value).encode()),
    UUID: lambda value: (_UUID, value.bytes),
    int: lambda value: (_INTEGER, str(value).encode()),
    datetime: _write_moment,
    date: lambda value: (_DATE, value.isoformat().encode()),
    time: lambda value: (_TIME, value.isoformat().encode()),
    timedelta: lambda value: (_DURATION, f"{value.days}:{value.seconds}:{value.microseconds}".encode()),
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
}
