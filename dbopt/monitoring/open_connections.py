"""The connections that Django has open in this process, over all threads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Weak: a thread that ends takes its connections with it.
_known: WeakSet[BaseDatabaseWrapper] = WeakSet()


def remember(connection: BaseDatabaseWrapper) -> None:
    """Note a connection that was opened."""
    _known.add(connection)


def count_open(alias: str) -> int:
    """Return how many connections to `alias` are open in this process, without touching any."""
    return sum(1 for wrapper in list(_known) if wrapper.alias == alias and wrapper.connection is not None)
