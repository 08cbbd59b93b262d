"""The asynchronous view: the same executor in a thread, and awaitables of resolvers together on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync, sync_to_async

from dbopt.graphql.execution.awaitables import Outcome, close, outcomes
from dbopt.graphql.execution.deadlines import Deadline, TimedExecutionContext, TimedRun, time_limit
from dbopt.graphql.views import GraphQLView

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from graphql import ExecutionContext, FieldNode, GraphQLObjectType

    from dbopt.graphql.execution.batches import Cell, FieldColumn


class AwaitingRun(TimedRun):
    """A run that awaits: when nothing else is left, all awaitables that were returned until then, together."""

    def __init__(self, context: ExecutionContext) -> None:
        super().__init__(context)
        self._waiting: list[tuple[Cell | FieldColumn, Awaitable[Any]]] = []

    def accept(self, awaitable: Awaitable[Any], waiter: Cell | FieldColumn) -> Exception | None:
        """Keep an awaitable until nothing else is left."""
        self._waiting.append((waiter, awaitable))
        return None

    def wait(self) -> bool:
        """Await what was kept. Coroutines may call back into this thread: it runs their `sync_to_async` meanwhile."""
        waiting = [pair for pair in self._waiting if not self._drop_lost(*pair)]
        self._waiting = []
        if not waiting:
            return False
        awaitables = [awaitable for _, awaitable in waiting]
        try:
            results = async_to_sync(_results)(awaitables, self.deadline)
        finally:
            for awaitable in awaitables:
                close(awaitable)
        for (waiter, _), (value, error) in zip(waiting, results, strict=True):
            if error is not None and not isinstance(error, Exception):
                # SystemExit and the like end the operation, as in a resolver that is no coroutine.
                raise error
            waiter.settle(value, error)
        return True

    def _drop_lost(self, waiter: Cell | FieldColumn, awaitable: Awaitable[Any]) -> bool:
        is_lost = self.has_nulls and waiter.is_lost
        if is_lost:
            close(awaitable)
            self.pending -= 1
        return is_lost

    def execute(
        self, root_type: GraphQLObjectType, fields: dict[str, list[FieldNode]], *, root_value: Any, serially: bool
    ) -> dict[str, Any]:
        """Execute; what is still kept when an operation ends early is never started."""
        try:
            return super().execute(root_type, fields, root_value=root_value, serially=serially)
        finally:
            for _, awaitable in self._waiting:
                close(awaitable)
            self._waiting = []


class AwaitingExecutionContext(TimedExecutionContext):
    """The asynchronous view's: works in a thread that `sync_to_async` entered."""

    run_class = AwaitingRun


class AsyncGraphQLView(GraphQLView):
    """`GraphQLView` with resolvers that may be ``async def``, under ASGI and WSGI.

    Everything synchronous runs in the request's thread, as Django's own views do; so do transactions.
    A client that closes the connection ends the operation: its statement is cancelled, what it awaits is, too.
    """

    execution_context_class = AwaitingExecutionContext
    view_is_async = True

    _deadline: Deadline | None = None
    _is_abandoned = False

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        """Answer a request."""
        try:
            return await sync_to_async(super().dispatch, thread_sensitive=True)(request, *args, **kwargs)
        except asyncio.CancelledError:
            # The thread knows nothing of it, unless it was waiting for the event loop.
            self._is_abandoned = True
            if self._deadline is not None:
                self._deadline.abandon()
            raise

    @contextmanager
    def limited_time(self, request: HttpRequest) -> Iterator[None]:
        """Limit the time of an operation, which may end earlier than that: when nobody waits for it any more."""
        seconds = self.get_options(request).time_limit
        with time_limit(inf if seconds is None else seconds) as self._deadline:
            # The other thread writes and reads these two in the opposite order: one of the two sees both.
            if self._is_abandoned and self._deadline is not None:
                self._deadline.abandon()
            yield


async def _results(awaitables: list[Awaitable[Any]], deadline: Deadline | None) -> list[Outcome]:
    if deadline is None:
        found = await outcomes(awaitables, seconds=None)
        return [result for result in found if result is not None]
    try:
        found = await outcomes(awaitables, seconds=None if deadline.remaining == inf else deadline.remaining)
    except asyncio.CancelledError:
        # A statement that one of them sent holds the operation's thread.
        deadline.abandon()
        raise
    return [(None, deadline.error()) if result is None else result for result in found]
