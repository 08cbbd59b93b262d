"""Decorators of resolvers: for a whole column at once, and for the columns that one reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from dbopt.exceptions import LoaderContractError

F = TypeVar("F", bound=Callable[..., Any])


def batch(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a resolver of a whole column: called once with all parents that reached the field together.

    ``function(parents, info, **arguments)`` returns one value a parent, in their order; a value that is an exception is
    an error of its parent only. It may be ``async def`` in `AsyncGraphQLView`.
    Under another executor it gets one parent a call.
    """
    column, single = (_awaited if iscoroutinefunction(function) else _called)(function)
    single.batch_resolve = column  # type: ignore[attr-defined]
    return single


def _called(function: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def column(parents: Sequence[Any], info: Any, _column: Any, **arguments: Any) -> list[Any]:
        return _checked(function, function(parents, info, **arguments), len(parents))

    @wraps(function)
    def single(parent: Any, info: Any, **arguments: Any) -> Any:
        return _only(column([parent], info, None, **arguments))

    return column, single


def _awaited(function: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    async def column(parents: Sequence[Any], info: Any, _column: Any, **arguments: Any) -> list[Any]:
        return _checked(function, await function(parents, info, **arguments), len(parents))

    @wraps(function)
    async def single(parent: Any, info: Any, **arguments: Any) -> Any:
        return _only(await column([parent], info, None, **arguments))

    return column, single


def _checked(function: Callable[..., Any], values: Any, count: int) -> list[Any]:
    if not isinstance(values, (list, tuple)) or len(values) != count:
        got = f"{len(values)} values" if isinstance(values, (list, tuple)) else type(values).__name__
        raise LoaderContractError(
            f"{function.__qualname__} is a @batch resolver: it must return a list of {count} values, "
            f"one a parent, not {got}."
        )
    return list(values)


def _only(values: list[Any]) -> Any:
    (value,) = values
    if isinstance(value, Exception):
        raise value
    return value


def requires(*names: str) -> Callable[[F], F]:
    """Say which fields of its own row a resolver reads, so that other columns may stay unread.

    Args:
        names: of the model's fields; a foreign key means its column, not the row behind it.

    A resolver without it makes operations that select its field read whole rows of the type.
    """

    def decorate(function: F) -> F:
        function.requires = names  # type: ignore[attr-defined]
        return function

    return decorate
