"""Statements that a cursor of the driver runs itself: COPY, callproc() and stream() pass no execute wrapper.

The driver lets each connection choose the class of its cursors, so connections get a subclass that tells.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from django.db.backends.base.base import BaseDatabaseWrapper

    Watch = Callable[[object], AbstractContextManager[None]]

# By the driver's connection: one that lies in a pool goes from thread to thread.
_watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()


def watch_cursors(connection: BaseDatabaseWrapper, watch: Watch) -> None:
    """Have `watch(sql)` entered around each such statement of a connection that is open. Idempotent."""
    raw = connection.connection
    factory: Any = getattr(raw, "cursor_factory", None)
    # Where a project's factory is a function, its cursors stay as they are.
    if connection.vendor != "postgresql" or not isinstance(factory, type):
        return
    if not issubclass(factory, _Watched):
        raw.cursor_factory = _watched(cast("Any", factory))
    _watches[raw] = watch


class _Watched:
    """Mixed into the connection's own class of cursors."""

    connection: Any

    @contextmanager
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._watched(statement), super().copy(statement, *args, **kwargs) as copy:  # type: ignore[misc]  # mixin
            yield copy

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._watched(query):
            yield from super().stream(query, *args, **kwargs)  # type: ignore[misc]  # mixin

    def callproc(self, name: Any, *args: Any) -> Any:
        known = getattr(name, "as_string", None)
        called = known(self.connection) if known else '"{}"'.format(str(name).replace('"', '""'))
        with self._watched(f"SELECT {called}()"):
            return super().callproc(name, *args)  # type: ignore[misc]  # mixin

    @contextmanager
    def _watched(self, statement: Any) -> Iterator[None]:
        watch = _watches.get(self.connection)
        if watch is None:
            yield
        else:
            with watch(statement):
                yield


@cache
def _watched(factory: Any) -> type:
    return type(f"Watched{factory.__name__}", (_Watched, factory), {})
