"""A cluster: every slot of keys lies on one of several primaries, which may change at any time."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from dbopt.cache.server.roads import Command


class Cluster:
    """The nodes of a cluster, found out when the first key is asked for. Thread-safe."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self._lock = Lock()
        self._client: Any = None

    def by_place(self, keys: Sequence[str]) -> dict[Hashable, Sequence[int]]:
        """Return the positions of keys by the primaries that hold them."""
        client = self._connected()
        found: dict[Hashable, list[int]] = {}
        for number, key in enumerate(keys):
            found.setdefault(client.get_node_from_key(key).name, []).append(number)
        return dict(found)

    def new_connection(self, place: Any, **options: Any) -> Any:
        """Return a connection to a node that is not connected yet."""
        client = self._connected()
        node = client.get_node(node_name=place)
        if node is None:
            raise ConnectionError(f"{place} has left the cluster.")
        pool = client.get_redis_connection(node).connection_pool
        return pool.connection_class(**{**pool.connection_kwargs, **options})

    def look_again(self) -> None:
        """Ask the nodes that are left which of them holds what."""
        if self._client is not None:
            self._client.nodes_manager.initialize()

    def redirected(self, command: Command, answer: Exception) -> Any:
        """Have the client follow: it learns where the slot lies now."""
        return self._connected().execute_command(*command.words)

    def places(self) -> list[Any]:
        """Return all primaries, as far as they are known; connects nowhere."""
        return [] if self._client is None else [node.name for node in self._client.get_primaries()]

    def _connected(self) -> Any:
        # Built here and not at once: a client of a cluster connects when it is made.
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._build()
        return self._client


def by_slot(keys: Sequence[str]) -> list[list[int]]:
    """Return the positions of keys, grouped by what stands in their braces; the group of the first key comes first."""
    groups: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        groups.setdefault(key[key.index("{") : key.index("}")], []).append(number)
    return list(groups.values())
