"""New copies of a decoded result without decoding it again: what hits of a local copy return.

The caller of each hit may change what it gets, so nothing that can be changed is handed out twice. Values that cannot
be changed are shared; lists, dictionaries and instances around them are made anew. Results of other shapes (instances
with related ones, nested lists) have no such short way and are decoded at each hit.
"""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db.models import Model

from dbopt.cache.values.instances import is_unwatched

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models.base import ModelState

_IMMUTABLE = frozenset({str, int, float, bool, bytes, type(None), Decimal, UUID, datetime, date, time, timedelta})

# What an object takes beside its values: measured, rounded up.
_OBJECT_BYTES = 200


class Mould(NamedTuple):
    """Makes new copies of one result.

    Attributes:
        cast: returns a copy; only while :meth:`is_usable`.
        size: about how many bytes it takes.
        model: of the instances in the result, if any.
    """

    cast: Callable[[], Any]
    size: int
    model: type[Model] | None = None

    def is_usable(self) -> bool:
        """Tell whether nobody could notice that instances are copied: somebody may have begun to watch."""
        return self.model is None or is_unwatched(self.model)


def mould_of(result: Any) -> Mould | None:
    """Return what makes copies of a result, which must be nobody else's; None where it has to be decoded anew."""
    if _is_fixed(result):
        return Mould(lambda: result, _size(result))
    if isinstance(result, Model):
        return _mould_of_instances([result], lambda copies: copies[0])
    if type(result) is not list:
        return None
    if all(map(_is_fixed, result)):
        return Mould(result.copy, _size(result))
    if all(type(row) is dict and all(map(_is_fixed, row.values())) for row in result):
        return Mould(lambda: [row.copy() for row in result], sum(map(_size, result)))
    return _mould_of_instances(result, lambda copies: copies)


def _is_fixed(value: Any) -> bool:
    kind = type(value)
    return kind in _IMMUTABLE or (kind is tuple and all(map(_is_fixed, value)))


def _mould_of_instances(found: list[Any], shaped: Callable[[list[Any]], Any]) -> Mould | None:
    """Instances of one model that hold nothing but fixed values."""
    kind = type(found[0])
    # One instance at two places would have to be one in the copy as well.
    if not issubclass(kind, Model) or not is_unwatched(kind) or len(set(map(id, found))) < len(found):
        return None
    like = found[0]._state
    if not all(type(each) is kind and _is_bare(each, like) for each in found):
        return None
    database, state_kind = like.db, type(like)
    rows = [each.__dict__ for each in found]
    new = object.__new__

    def cast() -> Any:
        copies = []
        for row in rows:
            state = state_kind()
            state.adding = False
            state.db = database
            held = row.copy()
            held["_state"] = state
            instance = new(kind)
            instance.__dict__ = held
            copies.append(instance)
        return shaped(copies)

    return Mould(cast, sum(map(_size, rows)), kind)


def _is_bare(instance: Model, like: ModelState) -> bool:
    """Tell whether an instance, with a state like another, is its attributes alone: nothing related or prefetched."""
    state = instance._state
    return (
        type(state) is type(like)
        and vars(state) == {"adding": False, "db": like.db}
        and all(_is_fixed(value) for name, value in vars(instance).items() if name != "_state")
    )


def _size(value: Any) -> int:
    """Return about how many bytes a value takes, with what it holds."""
    parts = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return sys.getsizeof(value) + _OBJECT_BYTES * bool(parts) + sum(map(_size, parts))
