"""Instances of models that came from the cache: copies that may be older than their rows.

Saving one writes every column back as it was when the copy was made, so it may undo what others wrote meanwhile. Each
copy has a state of its own class; saving or deleting it unread warns, once a place in the code.
"""

# ruff: noqa: SLF001  Django's _state

from __future__ import annotations

import sys
import warnings
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asgiref
import django
from django.db.models import Model
from django.db.models.base import ModelState

from dbopt.exceptions import CachedInstanceWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# What stands between the project's own line and the row.
_BETWEEN = tuple(str(Path(found).parent) + "/" for found in (django.__file__, asgiref.__file__, __file__))


class CopiedState(ModelState):
    """Django's state of an instance, of one that came from the cache.

    Attributes:
        is_copy: False again once the row was read.
    """

    is_copy = True


def install() -> None:
    """Have copies tell when they are saved or deleted. Idempotent.

    There are signals, but a receiver of `pre_delete` makes Django fetch every row that it deletes.
    """
    if hasattr(Model.delete, "tells_of_copies"):
        return
    Model.save_base = _telling(Model.save_base, "saved")  # type: ignore[method-assign]
    Model.delete = _telling(Model.delete, "deleted")  # type: ignore[method-assign]
    Model.refresh_from_db = _refreshing(Model.refresh_from_db)  # type: ignore[method-assign]


def _telling(method: Callable[..., Any], done: str) -> Callable[..., Any]:
    @wraps(method)
    def telling(self: Model, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self._state, CopiedState) and self._state.is_copy and not self._state.adding:
            _warn(self, done)
        return method(self, *args, **kwargs)

    telling.tells_of_copies = True  # type: ignore[attr-defined]
    return telling


def _refreshing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def refreshing(self: Model, using: str | None = None, fields: Any = None, *args: Any, **kwargs: Any) -> None:
        method(self, using, fields, *args, **kwargs)
        # Not when some columns were read: Django does that for a deferred one.
        if fields is None and isinstance(self._state, CopiedState):
            self._state.is_copy = False

    return refreshing


def _warn(instance: Model, done: str) -> None:
    warnings.warn(
        f"A cached {instance._meta.label} was {done}, which may undo what others wrote since it was cached. Read the row "
        "first: refresh_from_db(), or select_for_update() in a transaction.",
        CachedInstanceWarning,
        stacklevel=_distance(instance, sys._getframe(1)),
    )


def _distance(instance: Model, frame: FrameType | None) -> int:
    """Return how far up the caller stands: outside of Django, and of methods of the model's own."""
    distance = 2
    while frame is not None and (
        frame.f_code.co_filename.startswith(_BETWEEN) or frame.f_locals.get("self") is instance
    ):
        frame, distance = frame.f_back, distance + 1
    return distance
