"""One call of a cached function: look, and when there is nothing valid, run it under observation and store.

1. One round trip brings the value and the current tokens of what it depends on.
2. The value is valid when the tokens it was made under are the current ones.
3. Otherwise the function runs. Each table's token is read before the first statement that reads the table.
4. The result is stored under those tokens; a write that came between makes it invalid from the start.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections

from dbopt.cache.codec import UndecodableError, UnencodableError, decode, encode
from dbopt.cache.counters import HIT, MISS, STALE, FunctionCounters
from dbopt.cache.entries import Entry, is_marker, pack_entry, unpack_entry
from dbopt.cache.keys import value_key
from dbopt.cache.recordings import Recording, running
from dbopt.cache.specs import COMMIT, Place, Spec
from dbopt.cache.tokens import vector_hash
from dbopt.cache.transactions import state_of
from dbopt.conf import dbopt_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbopt.cache.servers import CacheServer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A valid value."""

    value: Any


class Call:
    """One call that may use the cache."""

    def __init__(self, spec: Spec, place: Place, *, server: CacheServer, counters: FunctionCounters) -> None:
        self.outcome = MISS
        self.reason: str | None = None
        self.recording: Recording | None = None
        self._spec = spec
        self._place = place
        self._server = server
        self._counters = counters
        self._key = value_key(server.namespace, place.tenant, name=spec.name, call=place.call)
        self._head: dict[str, bytes] = {}
        self._seen: bytes | None = None
        self._started = 0.0

    def look(self, *, accept: bool = True) -> Found | None:
        """Return a valid value, or None and be ready to run: `recording` is None while the server is out of reach.

        With ``accept=False`` a value that is there is not used.
        """
        head, ahead = self._place.head, self._spec.ahead
        look = self._server.look(self._key, (*head, *ahead))
        if look is None:
            return None
        self._seen = look.data if is_marker(look.data) else None
        if accept and look.data is not None and self._seen is None:
            found = self._validate(look.data, look.tokens)
            if found is not None:
                return found
        self._prepare(look.tokens)
        return None

    def finish(self, result: Any) -> None:
        """Store what the function returned, if that is allowed, and tell the functions around it."""
        recording = self.recording
        if recording is None:
            return
        for outer in running():
            outer.adopt({**self._head, **recording.tokens})
        reason = recording.refusal or self._independent(recording)
        if reason is None:
            reason = self._store(result, recording)
        if reason is not None:
            self.reason = reason
            self._counters.refused(reason)

    def remove(self, *, fallback: str) -> bool:
        """Remove the value; False while the server is out of reach, when `fallback` is owed instead."""
        return self._server.remove(self._key, fallback=fallback)

    def _validate(self, data: bytes, tokens: Mapping[str, bytes | None]) -> Found | None:
        entry = unpack_entry(data)
        if entry is None:
            self.reason = "undecodable"
            return None
        absent = [tag for tag in entry.tags if tag not in tokens]
        if absent:
            # Not known yet in this process what the function reads: one round trip more, this once.
            self._spec.learn(entry.tags)
            tokens = {**tokens, **(self._server.peek(absent) or {})}
        vector = [tokens.get(tag) for tag in (*self._place.head, *entry.tags)]
        current = [token for token in vector if token is not None]
        if len(current) < len(vector) or vector_hash(current) != entry.vector:
            self.outcome = STALE
            return None
        try:
            value = decode(entry.payload)
        except UndecodableError:
            self.reason = "undecodable"
            return None
        self.outcome = HIT
        for outer in running():
            outer.adopt({tag: token for tag, token in tokens.items() if token and tag in self._depended(entry)})
        return Found(value)

    def _depended(self, entry: Entry) -> frozenset[str]:
        return frozenset((*self._place.head, *entry.tags))

    def _prepare(self, found: Mapping[str, bytes | None]) -> None:
        tokens = {tag: token for tag, token in found.items() if token is not None}
        absent = [tag for tag in found if tag not in tokens]
        if absent:
            created = self._server.create(absent)
            if created is None:
                return
            tokens.update(created)
        self._head = {tag: tokens.pop(tag) for tag in self._place.head}
        self.recording = Recording(server=self._server, follows_tables=self._spec.level == COMMIT, ahead=tokens)
        self._started = time.perf_counter()

    def _independent(self, recording: Recording) -> str | None:
        if recording.follows_tables and not recording.tokens and not self._spec.tags:
            return "no_dependencies"
        return None

    def _store(self, result: Any, recording: Recording) -> str | None:
        seconds = time.perf_counter() - self._started
        try:
            payload = encode(result)
        except UnencodableError as error:
            _log_once(self._spec.path, str(error))
            return "unencodable"
        followed = recording.tokens if recording.follows_tables else {}
        # Inner functions bring tags that every value of this one is checked against anyway.
        tags = tuple(sorted(tag for tag in followed if tag not in self._head))
        tokens = {**self._head, **{tag: recording.tokens[tag] for tag in tags}}
        timeout = self._spec.timeout
        entry = Entry(vector_hash(tokens.values()), tags, payload, int((time.time() + timeout) * 1000), seconds)
        data = pack_entry(entry)
        if len(data) > dbopt_settings.cache.max_value_bytes:
            return "too_large"
        stored = self._server.store(self._key, data, tokens=tokens, seconds=timeout, seen=self._seen)
        if not stored:
            return "unreachable" if stored is None else "moved"
        self._spec.learn(tags)
        self._counters.stored(len(data))
        return None


def reading_obstacle() -> str | None:
    """Return why no cached value may be used in this thread now: one of its transactions sees rows of its own."""
    for connection in connections.all(initialized_only=True):
        state = state_of(connection)
        reason = state.obstacle() if state is not None else None
        if reason is not None:
            return reason
    return None


_logged: set[str] = set()


def _log_once(path: str, what: str) -> None:
    if path not in _logged:
        _logged.add(path)
        logger.warning("The result of %s is never cached: it holds %s.", path, what)
