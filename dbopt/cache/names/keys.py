"""Names in the cache: what a call's arguments, a tenant and a tag look like as a key.

::

    NS:v:{tenant}:name:digest     a value; the digest covers the arguments, typed
    NS:g:{tenant}:tag             a generation token

The kind stands before the braces, so that a client may track tokens by prefix; the braces keep one tenant's keys
in one slot of a cluster. Tokens of tables belong to no tenant (``_``): a statement does not show whose rows it wrote.
"""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

import dataclasses
import enum
import hashlib
import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models

from dbopt.cache.values.plain import range_types
from dbopt.exceptions import UncacheableArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_TENANT = "_"

_SPLIT = struct.Struct(">I")


class _NoCanonicalFormError(Exception):
    """Some part of an argument cannot be encoded; carries what it is, never its value."""


def tenant_slug(tenant: object) -> str:
    """Return a tenant's primary key as text without braces; None is ``_``, and no other key can be.

    Raises:
        UncacheableArgumentError: the key is neither a number, text nor UUID, nor another value with a canonical form.
    """
    if tenant is None:
        return NO_TENANT
    if type(tenant) is int:
        return str(tenant)
    if isinstance(tenant, UUID):
        return f"u.{tenant.hex}"
    if type(tenant) is str:
        return f"s.{quote(tenant, safe='')}"
    return f"h.{digest(encode_argument('tenant', tenant, function='current_tenant'))}"


def value_key(namespace: str, tenant: str, *, name: str, call: str) -> str:
    """Return the key of a stored result; ``call`` is the digest of the call."""
    return f"{namespace}:v:{{{tenant}}}:{name}:{call}"


def token_key(namespace: str, tag: str) -> str:
    """Return the key of a scoped tag's token."""
    return f"{namespace}:g:{tag}"


def scoped(tenant: str, tag: str) -> str:
    """Return a tag with its tenant in front, as it stands in keys and in stored dependency lists."""
    return f"{{{tenant}}}:{tag}"


def digest(data: bytes) -> str:
    """Return the 32 hexadecimal digits that stand for canonical bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def encode_arguments(arguments: Mapping[str, object], *, function: str) -> bytes:
    """Encode bound arguments so that equal bytes mean equal values of equal types.

    Raises:
        UncacheableArgumentError: naming the argument and the function; nothing falls back to str() or repr().
    """
    return b"".join(
        _part(b"a", _framed(name.encode()) + encode_argument(name, value, function=function))
        for name, value in arguments.items()
    )


def encode_argument(name: str, value: object, *, function: str) -> bytes:
    """Encode one argument.

    Raises:
        UncacheableArgumentError: it has no canonical form.
    """
    try:
        return _encode(value)
    except _NoCanonicalFormError as error:
        raise UncacheableArgumentError(
            f"Argument `{name}` of {function} {error}, so no cache key can be made of it. "
            "Pass a primary key or plain values, or define __cache_key__() on its class."
        ) from None
    except RecursionError:
        raise UncacheableArgumentError(
            f"Argument `{name}` of {function} is nested too deeply or holds itself, so no cache key can be made of it."
        ) from None


def _framed(data: bytes) -> bytes:
    return _SPLIT.pack(len(data)) + data


def _part(kind: bytes, data: bytes) -> bytes:
    return kind + _framed(data)


def _encode(value: Any) -> bytes:
    encoder = _EXACT.get(type(value)) or _encoder_of(value)
    if encoder is None:
        raise _NoCanonicalFormError(f"is of type {type(value).__qualname__}")
    return encoder(value)


def _encoder_of(value: Any) -> Callable[[Any], bytes] | None:
    for fits, encoder in _OTHERS:
        if fits(value):
            return encoder
    return None


def _path(cls: type) -> bytes:
    return _framed(f"{cls.__module__}.{cls.__qualname__}".encode())


def _encode_class(value: type) -> bytes:
    if issubclass(value, models.Model):
        return _part(b"M", value._meta.label_lower.encode())
    if hasattr(value, "__cache_key__"):
        # A class whose instances may be arguments may be one itself, as that of a classmethod.
        return _part(b"c", _path(value))
    raise _NoCanonicalFormError(f"is the class {value.__qualname__}")


def _encode_instance(value: models.Model) -> bytes:
    if value.pk is None:
        raise _NoCanonicalFormError(f"is an unsaved {value._meta.label}")
    database = value._state.db or DEFAULT_DB_ALIAS
    return _part(b"m", _framed(value._meta.label_lower.encode()) + _framed(database.encode()) + _encode(value.pk))


def _encode_fields(value: Any) -> bytes:
    kind = type(value)
    # Only where the decorator made __eq__: then the compared fields are what makes two of them equal.
    if not kind.__dataclass_params__.eq or "__eq__" not in vars(kind):
        raise _NoCanonicalFormError(f"is of type {kind.__qualname__}, a dataclass that is not compared by its fields")
    held = {item.name: getattr(value, item.name) for item in dataclasses.fields(value) if item.compare}
    return _encode_mapping(held)


def _encode_text(value: str) -> bytes:
    return _part(b"s", str.encode(value, "utf-8", "surrogatepass"))


def _encode_float(value: float) -> bytes:
    # Adding zero turns -0.0 into 0.0: equal numbers, one key. All NaN share one as well.
    return b"f" + (b"nan....." if math.isnan(value) else struct.pack(">d", float(value) + 0.0))


def _encode_decimal(value: Decimal) -> bytes:
    if not value.is_finite():
        return _part(b"d", str(value).encode())
    sign, digits, exponent = value.as_tuple()
    # Not normalize(): that rounds to the context's precision and would merge different numbers.
    number = "".join(map(str, digits)).lstrip("0")
    stripped = number.rstrip("0")
    if not stripped:
        return _part(b"d", b"0")
    return _part(b"d", f"{'-' if sign else ''}{stripped}E{int(exponent) + len(number) - len(stripped)}".encode())


def _encode_moment(value: datetime) -> bytes:
    if value.utcoffset() is None:
        return _part(b"n", value.replace(fold=0).isoformat().encode())
    return _part(b"z", value.astimezone(UTC).isoformat().encode())


def _encode_time(value: time) -> bytes:
    offset = value.utcoffset()
    if offset is None:
        return _part(b"h", value.replace(fold=0).isoformat().encode())
    # Equal in Python when the distance to the same day's midnight in UTC is equal.
    since = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second) - offset
    return _part(b"H", f"{since.days}:{since.seconds}:{value.microsecond}".encode())


def _encode_sequence(kind: bytes) -> Callable[[Any], bytes]:
    return lambda value: _part(kind, b"".join(map(_encode, value)))


def _encode_set(kind: bytes) -> Callable[[Any], bytes]:
    return lambda value: _part(kind, b"".join(sorted(map(_encode, value))))


def _encode_mapping(value: Mapping[Any, Any]) -> bytes:
    return _part(b"D", b"".join(sorted(_framed(_encode(key)) + _encode(item) for key, item in value.items())))


_EXACT: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: _part(b"i", b"%d" % value),
    float: _encode_float,
    str: _encode_text,
    bytes: lambda value: _part(b"b", value),
    Decimal: _encode_decimal,
    datetime: _encode_moment,
    date: lambda value: _part(b"y", value.isoformat().encode()),
    time: _encode_time,
    timedelta: lambda value: _part(b"o", f"{value.days}:{value.seconds}:{value.microseconds}".encode()),
    UUID: lambda value: _part(b"u", value.bytes),
    list: _encode_sequence(b"L"),
    tuple: _encode_sequence(b"P"),
    set: _encode_set(b"S"),
    frozenset: _encode_set(b"Z"),
    dict: _encode_mapping,
    range: lambda value: _part(b"r", b"".join(map(_encode, (*value[:2], *value[-1:])))),
}

# Named tuples, safe strings and the like: equal to their base type, but not the same argument. Not dict: a
# QueryDict shows only a part of what it holds.
_SUBCLASSED: tuple[tuple[type, Callable[[Any], bytes]], ...] = (
    (str, _encode_text),
    (int, lambda value: _part(b"i", b"%d" % int(value))),
    (float, _encode_float),
    (tuple, _encode_sequence(b"P")),
)


def _typed(kind: bytes, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """What stands behind the path of the value's own type."""
    return lambda value: _part(kind, _path(type(value)) + encode(value))


# Tried in this order.
_OTHERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], bytes]], ...] = (
    (lambda value: isinstance(value, enum.Enum), _typed(b"E", lambda value: _encode(value.value))),
    (lambda value: isinstance(value, models.Model), _encode_instance),
    (lambda value: isinstance(value, type), _encode_class),
    (lambda value: hasattr(type(value), "__cache_key__"), _typed(b"K", lambda value: _encode(value.__cache_key__()))),
    (dataclasses.is_dataclass, _typed(b"X", _encode_fields)),
    # Two empty ranges are equal whatever their bounds were.
    (
        lambda value: type(value) in range_types(),
        _typed(b"R", lambda value: _encode((value.lower, value.upper, value.bounds or None))),
    ),
    *((lambda value, base=base: isinstance(value, base), _typed(b"C", encode)) for base, encode in _SUBCLASSED),
)
