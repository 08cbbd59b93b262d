"""Where the loaders of an operation live: on its context, until its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Protocol

_NAME = "_dbopt_loaders"


class Clearable(Protocol):
    """What a registry asks of a loader."""

    def clear_all(self) -> object:
        """Forget what was loaded."""

    def close(self) -> object:
        """Load nothing any more."""


class LoaderRegistry:
    """The loaders of one context; thread is that of the operation that runs."""

    __slots__ = ("loaders", "operations", "thread")

    def __init__(self) -> None:
        self.loaders: dict[object, Clearable] = {}
        # An operation may execute another one on the same context: only the outermost one clears.
        self.operations = 0
        self.thread: int | None = None


def registry_of(context: Any) -> LoaderRegistry:
    """Return the registry of a context (request, dict or object), making it at first use.

    Raises:
        TypeError: the context can hold no attribute.
    """
    if isinstance(context, dict):
        held: LoaderRegistry | None = context.get(_NAME)
        if held is None:
            held = context[_NAME] = LoaderRegistry()
        return held
    registry: LoaderRegistry | None = getattr(context, _NAME, None)
    if registry is None:
        registry = LoaderRegistry()
        try:
            setattr(context, _NAME, registry)
        except AttributeError as error:
            raise TypeError(
                f"Loaders cannot live on a context of type {type(context).__name__}: it takes no attributes. "
                "Use a request, a dictionary, or an object with attributes."
            ) from error
    return registry


def clear_loaders(context: Any) -> None:
    """Make all loaders of a context forget what they have loaded: call it after a write in a resolver.

    Between the fields of a mutation the executor does it itself.
    """
    registry = context.get(_NAME) if isinstance(context, dict) else getattr(context, _NAME, None)
    if registry is not None:
        for loader in registry.loaders.values():
            loader.clear_all()


def clear_registry(context: Any) -> None:
    """Close all loaders of a context and forget them; nothing happens where there are none."""
    if isinstance(context, dict):
        registry = context.pop(_NAME, None)
    else:
        registry = getattr(context, _NAME, None)
        if registry is not None:
            delattr(context, _NAME)
    if registry is not None:
        for loader in registry.loaders.values():
            loader.close()
        registry.loaders.clear()


@contextmanager
def loaders_of_operation(context: Any) -> Iterator[None]:
    """Close the context's loaders when its outermost operation ends.

    Request, loader and rows refer to each other: left alone they would wait for the garbage collector.
    """
    if context is None or not _can_hold(context):
        yield
        return
    registry = registry_of(context)
    if not registry.operations:
        registry.thread = get_ident()
    registry.operations += 1
    try:
        yield
    finally:
        registry.operations -= 1
        if not registry.operations:
            clear_registry(context)


def _can_hold(context: Any) -> bool:
    return isinstance(context, dict) or hasattr(context, "__dict__") or hasattr(context, _NAME)
