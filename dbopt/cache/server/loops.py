"""The way to the cache server from event loops: connections that each belong to one loop, for looks alone.

A loop waits for its own connection while others of its tasks go on; everything that writes takes the thread's road.
A connection is used only while its server is one that the thread's road has met, see :mod:`dbopt.cache.server.lineage`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dbopt.cache.server.lineage import IDENTITY
from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from dbopt.cache.server.clients import OneServer
    from dbopt.cache.server.lineage import Lineage


class Loops:
    """The connections of all event loops of a process, which close when their loop ends."""

    def __init__(self, network: OneServer, lineage: Lineage, *, seconds: float) -> None:
        self._network = network
        self._lineage = lineage
        self._seconds = seconds
        self.round_trips = 0
        self._held: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()

    async def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Read keys in one round trip; None where this loop has no connection that may be asked.

        Raises:
            redis.RedisError, OSError: the answer is missing, or an error.
        """
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            # A loop that lives for one call, as under WSGI, is not worth a connection: the second look makes it.
            self._held[loop] = _Loop()
            return None
        found = held.idle.pop() if held.idle else await self._connect(held)
        if found is None:
            return None
        connection, identity = found
        if not self._lineage.is_known(identity):
            await connection.disconnect(nowait=True)
            return None
        try:
            self.round_trips += 1
            async with asyncio.timeout(self._seconds):
                await connection.send_command("MGET", *keys)
                answer: list[bytes | None] = await connection.read_response()
        except BaseException:
            # Also when the task is cancelled: what was not read would be taken for the next answer.
            await connection.disconnect(nowait=True)
            raise
        held.idle.append(found)
        return answer

    async def _connect(self, held: _Loop) -> tuple[Any, bytes] | None:
        await held.begin()
        connection = self._network.new_async_connection()
        if connection is None:
            return None
        try:
            async with asyncio.timeout(2 * self._seconds):
                await connection.connect()
                await connection.send_packed_command(connection.pack_commands(IDENTITY))
                answers = [await connection.read_response() for _ in IDENTITY]
            identity = self._lineage.identity(answers)
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, require_extra("redis.exceptions", "redis").ResponseError):
                return None
            raise
        return connection, identity


class _Loop:
    """What one loop has open."""

    def __init__(self) -> None:
        self.idle: list[tuple[Any, bytes]] = []
        self._life: AsyncIterator[None] | None = None

    async def begin(self) -> None:
        """Have the connections closed when the loop is shut down."""
        if self._life is None:
            self._life = self._lives()
            await anext(self._life)

    async def _lives(self) -> AsyncIterator[None]:
        # asyncio.run() ends generators that were begun and not finished, while the loop still runs.
        try:
            yield
        finally:
            idle, self.idle = self.idle, []
            for connection, _ in idle:
                await connection.disconnect(nowait=True)
