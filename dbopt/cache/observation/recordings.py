"""What a cached function reads while it runs: the tags it depends on, each with the token read before the statement."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

from dbopt.cache.names.tokens import is_of_database, is_pending
from dbopt.cache.observation.replicas import refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

    from dbopt.cache.server.exchange import CacheServer


class Recording:
    """One running call of a cached function.

    The first reason that forbids storing wins. Tokens that were read ahead (those of the last runs) wait in ``ahead``
    and count only when the function really depends on them.

    Attributes:
        accepts_volatile: whether statements that depend on the time or on chance are followed like others.
    """

    accepts_volatile = False

    def __init__(
        self, *, server: CacheServer, follows_tables: bool, ahead: Mapping[str, bytes], is_strict: bool = False
    ) -> None:
        self.server = server
        self.follows_tables = follows_tables
        self.is_strict = is_strict
        self.tokens: dict[str, bytes] = {}
        self.refusal: str | None = None
        self._ahead = dict(ahead)

    def refuse(self, reason: str) -> None:
        """Forbid storing the result of this call."""
        if self.refusal is None:
            self.refusal = reason

    def missing(self, tags: Collection[str]) -> list[str]:
        """Return those tags whose tokens must still be read before the statement runs."""
        return [tag for tag in tags if tag not in self.tokens and tag not in self._ahead]

    def depend(self, tags: Collection[str], tokens: Mapping[str, bytes]) -> None:
        """Depend on tags; ``tokens`` holds those that were not read ahead."""
        for tag in tags:
            if tag not in self.tokens:
                token = self._ahead.get(tag) or tokens.get(tag)
                if token is None:
                    self.refuse("unreachable")
                else:
                    self._add(tag, token)

    def adopt(self, tokens: Mapping[str, bytes]) -> None:
        """Depend on what the result of an inner cached function depends on."""
        for tag, token in tokens.items():
            # The first token stays: an older one can only make this result invalid too early.
            if tag not in self.tokens:
                self._add(tag, self._ahead.get(tag, token))

    def _add(self, tag: str, token: bytes) -> None:
        if self.is_strict and is_pending(token):
            token = (self.server.reap([tag]) or {}).get(tag, token)
            if is_pending(token):
                self.refuse("pending")
        self.tokens[tag] = token


_running: ContextVar[tuple[Recording, ...]] = ContextVar("dbopt_cache_recordings", default=())


running = _running.get
"""Return the recordings of the cached functions that are running here, outermost first."""


@contextmanager
def recorded(recording: Recording) -> Iterator[None]:
    """Have statements observed by a recording."""
    token = _running.set((*_running.get(), recording))
    try:
        yield
    finally:
        _running.reset(token)


@contextmanager
def unobserved() -> Iterator[None]:
    """Leave the functions that are running here: what the block does, in a copy of their context, is not theirs."""
    token = _running.set(())
    try:
        yield
    finally:
        _running.reset(token)


def refuse_all(reason: str) -> None:
    """Forbid storing for all functions that are running."""
    for recording in _running.get():
        recording.refuse(reason)


def depend_all(tags: Collection[str]) -> None:
    """Make all running functions depend on tables, reading tokens that nobody has yet in one round trip."""
    following = [recording for recording in _running.get() if recording.follows_tables and not recording.refusal]
    wanted = {tag for recording in following for tag in recording.missing(tags)}
    tokens = following[0].server.tokens(sorted(wanted)) or {} if wanted else {}
    for recording in following:
        recording.depend(tags, tokens)


def hold_off_all(connection: BaseDatabaseWrapper) -> None:
    """Forbid storing for functions that depend on what a replica may not show yet; asks for the time at most once."""
    now_ms = None
    for recording in _running.get():
        if recording.follows_tables and not recording.refusal:
            tokens = [token for tag, token in recording.tokens.items() if is_of_database(tag)]
            now_ms = now_ms or cache(recording.server.now_ms)
            reason = refusal(connection, tokens, now_ms=now_ms)
            if reason is not None:
                recording.refuse(reason)
