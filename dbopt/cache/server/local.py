"""A copy of hot values and tokens in the process: a hit asks nobody.

The server tells over a connection of its own which tokens were replaced (RESP3 client tracking), and the copy drops
them. What it was told is complete up to the last PING that was answered: the copy is used only while that was sent
less than two seconds ago, so no answer is older, whatever happens to the connection.

A token is kept only when nobody said meanwhile that it was replaced: a placeholder is put in its place before it is
fetched, and must still be there afterwards.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from dbopt.cache.server.trackers import SILENCE_SECONDS, Tracker

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable

    from dbopt.cache.server.exchange import Look
    from dbopt.cache.server.lineage import Lineage
    from dbopt.cache.server.roads import Network

# A server that lost a connection without a word, and a cluster that moved slots, are noticed sooner.
LOCAL_SECONDS = 5.0

_REMOVED = "}:V:"

# What an item takes beside its bytes, and a look for each of its tokens: measured, rounded up.
_ITEM_BYTES = 500
_TOKEN_BYTES = 100


class LocalCopy:
    """The newest items up to a number of bytes, each for a few seconds. Thread-safe; belongs to one process."""

    def __init__(self, network: Network, lineage: Lineage, namespace: str, *, max_bytes: int) -> None:
        self._network = network
        self._lineage = lineage
        self._prefix = f"{namespace}:g:"
        self._values = f"{namespace}:v:"
        self._limit = max_bytes
        self._lock = Lock()
        # Looks by the key of their value, tokens and placeholders by tag; the least recently used come first.
        self._held: OrderedDict[str, tuple[Any, int, float]] = OrderedDict()
        self._bytes = 0
        self._trackers: dict[Hashable, Tracker] = {}
        self._closed = False

    def look(self, key: str) -> Look | None:
        """Return what was kept, while none of its tokens was replaced."""
        now = time.monotonic()
        if not self._is_told(now):
            return None
        with self._lock:
            look = self._get(key, now)
            if look is None:
                return None
            # All of them, whatever this caller knows to ask for: another one may know more about the same value.
            for tag, token in look.tokens.items():
                if self._get(tag, now) != token:
                    return None
        return cast("Look", look)

    def expect(self, tags: Iterable[str]) -> object | None:
        """Announce that tokens are about to be fetched; None while nobody would tell that they were replaced."""
        now = time.monotonic()
        if not self._is_told(now):
            self._track()
            return None
        mark = object()
        with self._lock:
            for tag in tags:
                if self._get(tag, now) is None:
                    self._put(tag, mark, size=0, now=now)
        return mark

    def fetched(self, mark: object, tags: Iterable[str], look: Look | None) -> None:
        """Keep the tokens that a look brought, if any, where the placeholders are still there."""
        with self._lock:
            for tag in tags:
                token = look.tokens[tag] if look is not None else None
                thing, _, began = self._held.get(tag, (None, 0, 0.0))
                if thing is mark:
                    self._pop(tag)
                    if token is not None:
                        self._put(tag, token, size=len(token), now=began)
                elif isinstance(thing, bytes) and look is not None and thing != token:
                    # The message about it is still under way.
                    self._pop(tag)

    def keep(self, key: str, look: Look) -> bool:
        """Keep a look whose value was found to be valid; True where it was kept before."""
        now = time.monotonic()
        if look.data is None or None in look.tokens.values() or not self._is_told(now):
            return False
        with self._lock:
            held = self._held.get(key)
            if held is not None and held[0] is look:
                return True
            self._put(key, look, size=len(look.data) + _TOKEN_BYTES * len(look.tokens), now=now)
        return False

    def make_ready(self, key: str, look: Look, ready: object, *, size: int) -> None:
        """Keep something beside a look, in its place and no longer than it."""
        with self._lock:
            thing, held, began = self._held.get(key, (None, 0, 0.0))
            if thing is look:
                self._put(key, look._replace(ready=ready), size=held - _ITEM_BYTES + size, now=began)

    def drop(self, names: Iterable[str]) -> None:
        """Forget tags and values, also those that are being fetched."""
        if not self._held:
            # Whoever begins to fetch now gets what was told to the server before.
            return
        with self._lock:
            for name in names:
                self._pop(name)

    def restart(self) -> None:
        """Forget everything, and listen anew where the next look leads: another server took the place of the last."""
        with self._lock:
            trackers, self._trackers = self._trackers, {}
        for tracker in trackers.values():
            tracker.close()
        self._told(None)

    def close(self) -> None:
        """Stop listening and forget everything."""
        self._closed = True
        self.restart()

    def _is_told(self, now: float) -> bool:
        trackers = self._trackers
        return bool(trackers) and all(tracker.is_told(now) for tracker in trackers.values())

    def _track(self) -> None:
        """Listen at every place where tokens lie, and nowhere else."""
        places = set(self._network.places())
        with self._lock:
            if self._closed or places == set(self._trackers):
                return
            begun = {place: self._tracker(place) for place in places.difference(self._trackers)}
            ended = [tracker for place, tracker in self._trackers.items() if place not in places]
            self._trackers = {place: tracker for place, tracker in self._trackers.items() if place in places} | begun
        for tracker in ended:
            tracker.close()
        for tracker in begun.values():
            tracker.start()
        self._told(None)

    def _tracker(self, place: Hashable) -> Tracker:
        def connected() -> Any:
            connection = self._network.new_connection(place, protocol=3, socket_timeout=SILENCE_SECONDS)
            connection.connect()
            self._lineage.met(connection)
            return connection

        return Tracker(connected, self._prefix, told=self._told, beat=self._track)

    def _told(self, keys: Collection[bytes] | None) -> None:
        if keys is None:
            with self._lock:
                self._held.clear()
                self._bytes = 0
            return
        tags = [key[len(self._prefix) :].decode(errors="replace") for key in keys]
        self.drop([*tags, *(self._values + tag.replace(_REMOVED, "}:", 1) for tag in tags if _REMOVED in tag)])

    def _get(self, name: str, now: float) -> Any:
        held = self._held.get(name)
        if held is None:
            return None
        if now - held[2] >= LOCAL_SECONDS:
            self._pop(name)
            return None
        self._held.move_to_end(name)
        return held[0]

    def _put(self, name: str, thing: object, *, size: int, now: float) -> None:
        self._pop(name)
        size += _ITEM_BYTES
        self._held[name] = (thing, size, now)
        self._bytes += size
        while self._bytes > self._limit:
            self._pop(next(iter(self._held)))

    def _pop(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._bytes -= held[1]


def removal_tag(namespace: str, key: str) -> str:
    """Return the tag that tells local copies to forget a value: tokens are all that they are told of."""
    return key[len(f"{namespace}:v:") :].replace("}:", _REMOVED, 1)
