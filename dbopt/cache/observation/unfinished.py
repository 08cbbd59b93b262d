"""What is asked for in the middle of a transaction counts at once, and once more after its COMMIT.

Until then others read what was there before, and may store it again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.db import connections

from dbopt.cache.observation.transactions import watch
from dbopt.cache.server.servers import server

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.db.backends.base.base import BaseDatabaseWrapper


def unfinished() -> list[BaseDatabaseWrapper]:
    """Return the connections of this thread that are in an atomic block."""
    return [connection for connection in connections.all(initialized_only=True) if connection.in_atomic_block]


def renew(tags: Collection[str], within: Collection[BaseDatabaseWrapper]) -> bool:
    """Renew tokens now, and when these atomic blocks are committed; False while the cache server is out of reach."""
    current = server()
    for connection in within:
        state = watch(connection)
        if state.is_open():
            # Before the hooks of others run, and also if the savepoint is rolled back.
            state.add_pending(tags)
        else:
            # What is pending while no statement has run yet would be taken for that of a transaction that is over.
            connection.on_commit(partial(current.renew, tags))
    return current.renew(tags)


def repeat(action: Callable[[], object]) -> None:
    """Do something again when the atomic blocks of this thread are committed."""
    for connection in unfinished():
        connection.on_commit(action)
