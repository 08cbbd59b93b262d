"""Results as bytes and back, without pickle: plain values, rows, and instances of models.

An instance is stored as its row (model, columns, values) and comes back through ``Model.from_db``, with what was
loaded beside it: deferred columns stay deferred; annotations, ``select_related`` and ``prefetch_related`` are kept.
A model whose columns changed since does not read its old rows: that is a miss.
"""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models.fields.files import FieldFile

from dbopt.cache.values.compression import compress, decompress
from dbopt.cache.values.copies import CopiedState
from dbopt.cache.values.instances import build
from dbopt.cache.values.plain import (
    NESTED,
    NESTED_READERS,
    UnencodableError,
    ext,
    pack,
    read_plain,
    unpack,
    write_plain,
)
from dbopt.cache.values.rows import to_columns, to_rows

__all__ = ["UndecodableError", "UnencodableError", "decode", "encode", "model_fingerprint"]

# Beside the numbers of plain values in the same space: never give one a new meaning.
_INSTANCE, _INSTANCES, _ROWS, _RECORDS = 1, 14, 15, 16


class UndecodableError(Exception):
    """The stored bytes cannot become a result here: damaged, foreign, or of a model that changed."""


def encode(result: object) -> bytes:
    """Return a result as bytes.

    Raises:
        UnencodableError: naming the type that cannot be stored, never a value.
    """
    try:
        return compress(_Encoder().encode(result))
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
        return _Decoder().decode(decompress(payload))
    except Exception as error:
        # Foreign bytes reach every constructor behind this line, and each has errors of its own.
        raise UndecodableError(type(error).__name__) from error


@cache
def model_fingerprint(model: type[models.Model]) -> bytes:
    """Return 8 bytes that change when a column of the model comes, goes, moves or becomes another type."""
    columns = ",".join(f"{field.attname}:{field.get_internal_type()}" for field in model._meta.concrete_fields)
    return hashlib.blake2b(f"{model._meta.label_lower}|{columns}".encode(), digest_size=8).digest()


class _Encoder:
    """Instances get numbers as they are found; their rows are kept by model, column by column."""

    def __init__(self) -> None:
        self._instances: list[models.Model] = []
        self._numbers: dict[int, int] = {}

    def encode(self, result: object) -> bytes:
        root = self._pack(self._arranged(result))
        groups: dict[tuple[Any, ...], list[int]] = {}
        links: dict[int, bytes] = {}
        # Packing the links of one instance may find further instances, which join the end of the list.
        for number, instance in enumerate(self._instances):
            groups.setdefault(_shape(instance), []).append(number)
            linked = _links(instance)
            if linked:
                links[number] = self._pack(linked)
        tables = [
            [*shape[:-1], list(shape[-1]), numbers, to_columns([_row(self._instances[n], shape[-1]) for n in numbers])]
            for shape, numbers in groups.items()
        ]
        return pack([pack(tables), links, root])

    def _arranged(self, value: Any) -> Any:
        """Turn what queries return, lists of instances, tuples or dictionaries, into one part each."""
        if type(value) is dict:
            return {key: self._arranged(item) for key, item in value.items()}
        if type(value) is not list or not value:
            return value
        first = value[0]
        if isinstance(first, models.Model) and all(isinstance(item, models.Model) for item in value):
            return ext(_INSTANCES, pack([self._number(item) for item in value]))
        if type(first) is tuple and first and all(type(row) is tuple and len(row) == len(first) for row in value):
            return ext(_ROWS, self._pack(to_columns(value)))
        if type(first) is dict and first and all(type(row) is dict and list(row) == list(first) for row in value):
            return ext(_RECORDS, self._pack([list(first), to_columns(row.values() for row in value)]))
        return value

    def _pack(self, value: object) -> bytes:
        return pack(value, self._hook)

    def _hook(self, value: Any) -> Any:
        if isinstance(value, models.Model):
            return ext(_INSTANCE, b"%d" % self._number(value))
        if type(value) in NESTED:
            return ext(NESTED[type(value)], self._pack([self._arranged(item) for item in value]))
        return write_plain(value)

    def _number(self, instance: models.Model) -> int:
        number = self._numbers.get(id(instance))
        if number is None:
            number = self._numbers[id(instance)] = len(self._instances)
            self._instances.append(instance)
        return number


def _shape(instance: models.Model) -> tuple[Any, ...]:
    """Return what instances share that are stored together: model, its columns, database, loaded columns."""
    model = type(instance)
    if instance._state.adding:
        raise UnencodableError(f"an unsaved {model._meta.label}")
    names = tuple(filter(instance.__dict__.__contains__, _attributes(model)))
    return model._meta.label_lower, model_fingerprint(model), instance._state.db, names


def _row(instance: models.Model, names: tuple[str, ...]) -> list[Any]:
    held = instance.__dict__
    return [value.name if isinstance(value := held[name], FieldFile) else value for name in names]


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
def _attributes(model: type[models.Model]) -> tuple[str, ...]:
    return tuple(field.attname for field in model._meta.concrete_fields)


@cache
def _columns(model: type[models.Model]) -> frozenset[str]:
    return frozenset({"_state", *_attributes(model)})


@cache
def _manager_name(model: type[models.Model], cache_name: str) -> str | None:
    # Many-to-many managers keep prefetched rows under the query name, "book", and are reached as "book_set".
    for name in (cache_name, f"{cache_name}_set"):
        if hasattr(getattr(model, name, None), "related_manager_cls") or hasattr(getattr(model, name, None), "rel"):
            return name
    return None


class _Decoder:
    def __init__(self) -> None:
        self._instances: list[Any] = []

    def decode(self, payload: bytes) -> Any:
        tables, links, root = unpack(payload)
        self._build(unpack(tables))
        for number, linked in links.items():
            self._attach(self._instances[number], *unpack(linked, self._hook))
        return unpack(root, self._hook)

    def _build(self, tables: list[list[Any]]) -> None:
        self._instances = [None] * sum(len(table[-2]) for table in tables)
        for label, fingerprint, database, names, numbers, columns in tables:
            model: type[models.Model] = apps.get_model(label)
            if model_fingerprint(model) != fingerprint or not _columns(model).issuperset(names):
                raise UndecodableError(f"columns of {label} changed")
            built = build(model, database=database, names=tuple(names), rows=to_rows(columns), kind=CopiedState)
            for number, instance in zip(numbers, built, strict=True):
                self._instances[number] = instance

    def _hook(self, code: int, data: bytes) -> Any:
        if code == _ROWS:
            return list(to_rows(unpack(data, self._hook)))
        if code == _INSTANCES:
            return list(map(self._instances.__getitem__, unpack(data)))
        if code == _INSTANCE:
            return self._instances[int(data)]
        if code == _RECORDS:
            names, columns = unpack(data, self._hook)
            return [dict(zip(names, row, strict=True)) for row in to_rows(columns)]
        if code in NESTED_READERS:
            return NESTED_READERS[code](unpack(data, self._hook))
        return read_plain(code, data)

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
