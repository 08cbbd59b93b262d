"""Seeing what resolvers look at on the context of an operation, whatever they declared.

The context stays the very same object: while it is watched, its class is a subclass that notes which attributes are
read. So `isinstance` and `is` answer as always, and code that keeps the request elsewhere is seen, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

from dbopt.graphql.cache.telling import EVERYTHING, is_telling, tell, told_name

_WATCHES = "_dbopt_watches"
_OURS = "_dbopt_"


class Watch:
    """What was looked at: the name of each attribute, and its value as bytes before anybody could change it.

    None stands for a value that cannot be told. What was set while watching is no circumstance, and not noted.
    """

    def __init__(self) -> None:
        self.told: dict[str, bytes | None] = {}
        self.own: set[str] = set()

    def note(self, context: Any, name: str) -> None:
        """Take down that an attribute was read."""
        told = told_name(name)
        if told not in self.told and name not in self.own:
            self.told[told] = tell(context, told)


@contextmanager
def watching(context: Any) -> Iterator[Watch]:
    """Watch a context, also one that is watched already. One that cannot be watched counts as looked at all over."""
    watch = Watch()
    if context is None:
        yield watch
        return
    kind: Any = type(context)
    try:
        if not hasattr(kind, _OURS):
            context.__class__ = _watched(kind)
            _held(context)[_WATCHES] = []
    except (TypeError, AttributeError):
        watch.told[EVERYTHING] = None
        yield watch
        return
    watches = _held(context)[_WATCHES]
    watches.append(watch)
    try:
        yield watch
    finally:
        watches.remove(watch)
        if not watches:
            del _held(context)[_WATCHES]
            context.__class__ = type(context).__mro__[1]


def _held(context: Any) -> dict[str, Any]:
    held: dict[str, Any] = object.__getattribute__(context, "__dict__")
    return held


@cache
def _watched(kind: type) -> type:
    # Looked up on the class: a plain function of two and three arguments.
    getattribute: Any = kind.__getattribute__
    setattribute: Any = kind.__setattr__

    def read(self: Any, name: str) -> Any:
        if not (name.startswith(_OURS) or is_telling()):
            held = _held(self)
            if name in held or not _is_behaviour(kind, name):
                for watch in held.get(_WATCHES, ()):
                    watch.note(self, name)
        value: Any = getattribute(self, name)
        return value

    def write(self: Any, name: str, value: Any) -> None:
        for watch in _held(self).get(_WATCHES, ()):
            watch.own.add(name)
        setattribute(self, name, value)

    members = {"__getattribute__": read, "__setattr__": write, "__module__": kind.__module__, _OURS: True}
    return type(kind.__name__, (kind,), members)


@cache
def _is_behaviour(kind: type, name: str) -> bool:
    """Whether a name is a method: what that reads of the context is noted then. Python's own names are, but for one."""
    if name.startswith("__") and name.endswith("__"):
        return name != "__dict__"
    found = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    return isinstance(found, (FunctionType, classmethod, staticmethod))
