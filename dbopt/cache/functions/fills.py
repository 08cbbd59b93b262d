"""One run of a cached function whose result may be stored: what it reads is observed, tokens before rows."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from dbopt.cache.functions.specs import STRICT, TTL, Spec
from dbopt.cache.names.tokens import vector_hash
from dbopt.cache.observation.recordings import Recording, recorded, running
from dbopt.cache.values.codec import UnencodableError
from dbopt.cache.values.entries import Entry, is_marker, pack_entry
from dbopt.cache.values.envelopes import Envelope, is_negative, sealed
from dbopt.conf import dbopt_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dbopt.cache.server.exchange import CacheServer

logger = logging.getLogger(__name__)

# Values may end up to a tenth before their timeout, see CacheServer.store(); early refreshes come before that.
_SURE_SHARE = 0.9

# What is to live for longer lives for ten years: the server counts milliseconds in 64 bits.
_LONGEST_SECONDS = 3.2e8

# What changes without a write that can be seen is bounded by the timeout alone; metrics are made for that.
_BOUNDED_BY_TIMEOUT = frozenset({"volatile", "unknown_table", "inner_ttl", "inner_stale", "inner_volatile"})

# Reasons that say nothing about the next run.
_TRANSIENT = frozenset({"moved", "unreachable", "pending"})


class _Recording(Recording):
    """Depends on what can be observed; what the function leaves to a number of seconds does not forbid storing."""

    def __init__(self, spec: Spec, *, server: CacheServer, ahead: Mapping[str, bytes]) -> None:
        super().__init__(server=server, follows_tables=spec.level != TTL, ahead=ahead, is_strict=spec.level == STRICT)
        self.accepts_volatile = bool(spec.volatile_ok)
        self.reasons: set[str] = set()
        self._bounded = _BOUNDED_BY_TIMEOUT if spec.behind else {"volatile"} if spec.volatile_ok else frozenset()

    def refuse(self, reason: str) -> None:
        self.reasons.add(reason)
        if reason not in self._bounded:
            super().refuse(reason)


class Fill:
    """One run: its recording, the tokens it starts with, and the way into the cache.

    Attributes:
        key: under which the result is stored; whoever learns only from the run what belongs into it, changes it.
        timeout: seconds the result may live; None means those of its function.
    """

    def __init__(  # noqa: PLR0913 - what one call knows, by keyword
        self,
        spec: Spec,
        *,
        server: CacheServer,
        key: str,
        head: Mapping[str, bytes],
        ahead: Mapping[str, bytes],
        data: bytes | None,
        arguments: Mapping[str, Any],
    ) -> None:
        self.recording = _Recording(spec, server=server, ahead=ahead)
        self._spec = spec
        self._server = server
        self.key = key
        self.timeout: float | None = None
        self._head = head
        self._ahead = ahead
        self._data = data
        self._arguments = arguments
        self._made = time.time()
        self._started = time.perf_counter()

    @property
    def head_vector(self) -> bytes:
        """The hash of the tokens of epoch, tenant, function and own tags."""
        return vector_hash(self._head.values())

    def vector(self, tags: Iterable[str]) -> bytes:
        """Return the hash of the tokens that are known now: those of the head and of these tags."""
        return vector_hash([*self._head.values(), *(self._ahead[tag] for tag in tags if tag in self._ahead)])

    def finish(self, value: Any, *, absent: str | None = None) -> tuple[str | None, int]:
        """Store what the function returned, or whose absence it raised, and tell the functions around it.

        Returns:
            Why it was not stored, and the bytes that were.
        """
        spec, recording = self._spec, self.recording
        spec.seconds = time.perf_counter() - self._started
        reason, size_bytes = recording.refusal or self._independent(), 0
        if reason is None:
            reason, size_bytes = self._store(value, absent=absent, seconds=spec.seconds)
        self.pass_on()
        spec.storable = reason is None or reason in _TRANSIENT
        if reason == "pending":
            # The next caller sees the marks at its first look, and need not run to find out.
            spec.learn([tag for tag in recording.tokens if tag not in self._head], self._arguments)
        return reason, size_bytes

    def pass_on(self) -> None:
        """Let the functions around depend on what this one depends on, also when it failed."""
        for outer in running():
            outer.adopt({**self._head, **self.recording.tokens})

    def _independent(self) -> str | None:
        known = self.recording.tokens or self._spec.tags or self._spec.behind or self._is_volatile
        return "no_dependencies" if self.recording.follows_tables and not known else None

    @property
    def is_shareable(self) -> bool:
        """Whether the result is not stored for no other reason than that somebody may be committing."""
        return self.recording.reasons == {"pending"}

    @property
    def _is_volatile(self) -> bool:
        return self.recording.accepts_volatile and "volatile" in self.recording.reasons

    def _store(self, value: Any, *, absent: str | None, seconds: float) -> tuple[str | None, int]:
        spec, recording = self._spec, self.recording
        result = sealed(Envelope(value, self._made, self.head_vector, absent)) if spec.sealed else value
        try:
            # What pickle evaluates, such as a QuerySet inside a list, is part of the run.
            with nullcontext() if spec.is_plain else recorded(recording):
                payload = spec.encode(result)
        except UnencodableError as error:
            _log_once(spec.path, str(error))
            return "unencodable", 0
        if recording.refusal is not None:
            return recording.refusal, 0
        followed = recording.tokens if recording.follows_tables else {}
        # Inner functions bring tags that every value of this one is checked against anyway.
        tags = tuple(sorted(tag for tag in followed if tag not in self._head))
        spec.learn(tags, self._arguments)
        tokens = {**self._head, **{tag: recording.tokens[tag] for tag in tags}}
        negative = absent is not None or (spec.negative_timeout is not None and is_negative(value))
        timeout = spec.timeout if self.timeout is None else self.timeout
        if negative and spec.negative_timeout is not None:
            timeout = spec.negative_timeout
        if self._is_volatile:
            timeout = min(timeout, spec.volatile_ok)
        timeout = min(timeout, _LONGEST_SECONDS)
        soft = self._made + (timeout if spec.behind else timeout * _SURE_SHARE)
        data = pack_entry(Entry(vector_hash(tokens.values()), tags, payload, int(soft * 1000), seconds))
        if len(data) > dbopt_settings.cache.max_value_bytes:
            return "too_large", 0
        life = min(timeout + spec.stale, _LONGEST_SECONDS) if spec.behind else timeout
        stored = self._send(data, tokens=tokens, seconds=life)
        if not stored:
            return ("unreachable" if stored is None else "moved"), 0
        return None, len(data)

    def _send(self, data: bytes, *, tokens: Mapping[str, bytes], seconds: float) -> bool | None:
        seen = self._data if is_marker(self._data) else None
        stored = self._server.store(self.key, data, tokens=tokens, seconds=seconds, seen=seen)
        if stored is False and self._spec.stale:
            # A write overtook it. It may be served stale, unless somebody stored something newer meanwhile.
            found = self._server.look(self.key, ())
            if found is not None and found.data == self._data:
                return self._server.store(self.key, data, tokens={}, seconds=seconds, seen=seen)
        return stored


_logged: set[str] = set()


def _log_once(path: str, what: str) -> None:
    if path not in _logged:
        _logged.add(path)
        logger.warning("The result of %s is never cached: it holds %s.", path, what)
