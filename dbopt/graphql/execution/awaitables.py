"""Awaitables that resolvers return: awaited together on an event loop, or closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any

# What a cancelled coroutine may take to clean up, in seconds; one that takes longer is left to the event loop.
_GRACE = 1.0

Outcome = tuple[Any, BaseException | None]


def close(awaitable: Any) -> None:
    """Close a coroutine that nobody will start: Python warns of each that is left. Others are left alone."""
    if isinstance(awaitable, CoroutineType) and getcoroutinestate(awaitable) == CORO_CREATED:
        awaitable.close()


async def outcomes(awaitables: list[Awaitable[Any]], *, seconds: float | None) -> list[Outcome | None]:
    """Await all together; return (value, error) of each, None for one that was not ready in time and was cancelled.

    The first that raises what is no `Exception` ends the others.
    """
    tasks = [asyncio.ensure_future(_outcome(awaitable)) for awaitable in awaitables]
    late: set[asyncio.Future[Outcome]] = set()
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        late.update(task for task in tasks if not task.done())
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_GRACE)
    return [None if task in late else _result(task) for task in tasks]


class _FatalError(Exception):
    """Carries SystemExit and the like to the operation's thread: as themselves they would end the event loop."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__()


def _result(task: asyncio.Future[Outcome]) -> Outcome:
    error = task.exception()
    return (None, error.cause) if isinstance(error, _FatalError) else task.result()


async def _outcome(awaitable: Awaitable[Any]) -> Outcome:
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None, RuntimeError("What the resolver awaited was cancelled.")
    except Exception as error:  # noqa: BLE001  # user code: an error of its field
        return None, error
    except BaseException as error:  # noqa: BLE001  # SystemExit too
        raise _FatalError(error) from None
