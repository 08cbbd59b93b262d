"""Sessions in Redis: one signed text each, an index a user, and the marks that removed sessions leave.

::

    NS:session:key      a session as its store signed it; empty for some minutes after it was removed
    NS:sessions:user    a sorted set: the keys of a user's sessions, by the second at which they end

Each script touches one key, so a Redis Cluster runs them, too. A session is put into the index before it exists and
stays there until it ended, and a mark refuses what comes late: nobody's sessions can be removed with one left over.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings

from dbopt.cache.names.keys import digest
from dbopt.cache.server.breaker import Breaker
from dbopt.cache.server.clients import build_client, key_namespace, uses_redis
from dbopt.conf import CacheSettings, dbopt_settings
from dbopt.exceptions import ConfigurationError, SessionUnavailableError, require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# What a removed session leaves. It must outlive every request that has seen the session, or its row, alive.
MARK = b""
MARK_SECONDS = 600

# An entry of an index may outlive its session, never the other way round.
_INDEX_SLACK_SECONDS = 60

_LIST = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('EXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
"""

# Returns what stood in the way: nothing, the other record, or an empty text where the session is gone.
_REPLACE = """
local held = redis.call('GET', KEYS[1]) or ''
if held == '' or (ARGV[3] ~= '' and string.sub(held, -#ARGV[3]) ~= ARGV[3]) then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""

# DEL comes first: a script that has begun to write may go on, on a server that is full, too.
_REMOVE = """
local held = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], '', 'EX', ARGV[1])
return held
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A session to be stored: its signed text, how long it lives, and whose it is (None: nobody's)."""

    data: bytes
    seconds: int
    user: str | None


def signature(data: bytes) -> bytes:
    """Return the end of a signed text, which differs whenever the text does; empty for an empty one."""
    return data.rpartition(b":")[2]


class SessionRecords:
    """One process's road to the sessions' server: a round trip a method, bounded in time, without retries.

    Thread-safe; a forked child gets its own from :func:`records`. All methods raise SessionUnavailableError when the
    server does not answer in time or refuses; a write that failed so may or may not have happened.
    """

    def __init__(self, section: CacheSettings) -> None:
        self._namespace = key_namespace(section)
        self._breaker = Breaker(
            alias=section.alias,
            failures=section.breaker_failures,
            seconds=section.breaker_seconds,
            meanwhile="sessions that are kept there raise SessionUnavailableError",
        )
        self._section = section
        self._client: Any = None
        self._errors = errors = require_extra("redis.exceptions", "redis")
        self._faults = (errors.RedisError, errors.RedisClusterException, OSError)

    def read(self, key: str) -> bytes | None:
        """Return a session's signed text, MARK where it was removed, None where there is none."""
        answer: bytes | None = self._ask(lambda client: client.get(self._key(key)))
        return answer

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read several sessions, in the order of keys."""
        return self._pipe(lambda pipeline: [pipeline.get(self._key(key)) for key in keys])

    def create(self, key: str, record: Record) -> bool:
        """Store a new session; False when the key is taken, or was removed before."""
        return bool(self._pipe(lambda pipeline: self._add(pipeline, key, record))[-1])

    def replace(self, key: str, record: Record, *, seen: bytes) -> bytes | None:
        """Store a session that is still there, unless it is not what was seen.

        Args:
            key: the session's key.
            record: what to store.
            seen: the signed text that the change was made to; empty: whatever is there is replaced.

        Returns:
            What stood in the way: None if nothing did, MARK if the session is gone, else what others stored meanwhile.
        """

        def commands(pipeline: Any) -> None:
            self._list(pipeline, key, record)
            data, seconds = _stored(record)
            pipeline.execute_command("EVAL", _REPLACE, 1, self._key(key), data, seconds, signature(seen))

        held: bytes | None = self._pipe(commands)[-1]
        return held

    def move(self, old: str, new: str, record: Record) -> bytes:
        """Store a session under a new key and remove the old one.

        Returns:
            What the old key held last; MARK if the session was gone, or the new key refused because of a mark.
        """

        def commands(pipeline: Any) -> None:
            self._add(pipeline, new, record)
            # Not by the script: on a full server, which does not take the new one, the old one stays.
            pipeline.set(self._key(old), MARK, ex=MARK_SECONDS, get=True)

        *_, created, held = self._pipe(commands)
        return held if created and held else MARK

    def remove(self, keys: Sequence[str], *, user: str | None = None) -> list[bytes | None]:
        """Remove sessions for good, whether they exist yet or not, and take them out of a user's index.

        Returns:
            What they held last.
        """
        if not keys:
            return []

        def commands(pipeline: Any) -> None:
            for key in keys:
                pipeline.execute_command("EVAL", _REMOVE, 1, self._key(key), MARK_SECONDS)
            if user is not None:
                pipeline.zrem(self._index(user), *keys)

        return self._pipe(commands)[: len(keys)]

    def unlist(self, user: str, key: str) -> None:
        """Take a removed session out of a user's index."""
        self._ask(lambda client: client.zrem(self._index(user), key))

    def keys_of(self, user: str) -> list[tuple[str, float]]:
        """Return the keys in a user's index with the time they end (seconds since 1970), the first to end first.

        Some of the sessions may be gone, or belong to another user by now.
        """
        listed = self._ask(lambda client: client.zrange(self._index(user), 0, -1, withscores=True))
        return [(key.decode(), ends - _INDEX_SLACK_SECONDS) for key, ends in listed]

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _key(self, key: str) -> str:
        return f"{self._namespace}:session:{key}"

    def _index(self, user: str) -> str:
        # A digest: the primary key of a user may be a name or an address.
        return f"{self._namespace}:sessions:{digest(user.encode())}"

    def _list(self, pipeline: Any, key: str, record: Record) -> None:
        if record.user is not None and record.seconds > 0:
            # EVAL, not EVALSHA: one round trip also where the server does not know the script yet.
            pipeline.execute_command(
                "EVAL", _LIST, 1, self._index(record.user), key, record.seconds + _INDEX_SLACK_SECONDS
            )

    def _add(self, pipeline: Any, key: str, record: Record) -> None:
        self._list(pipeline, key, record)
        data, seconds = _stored(record)
        pipeline.set(self._key(key), data, ex=seconds, nx=True)

    def _pipe(self, commands: Callable[[Any], object]) -> list[Any]:
        def send(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            commands(pipeline)
            answers: list[Any] = pipeline.execute()
            return answers

        return self._ask(send)

    def _ask(self, command: Callable[[Any], T]) -> T:
        if not self._breaker.permits():
            raise SessionUnavailableError("The server of the sessions did not answer lately; it is left alone for now.")
        try:
            if self._client is None:
                # Not before: a client of a cluster connects at once.
                self._client = build_client(self._section)
            answer = command(self._client)
        except self._faults as error:
            # One that refuses a write, because it is full, still answers who reads.
            if not isinstance(error, self._errors.ResponseError):
                self._breaker.failed(error)
            if isinstance(error, self._errors.ReadOnlyError):
                # Made a replica: its address may lead to another server when it is asked anew.
                self.close()
            raise SessionUnavailableError(
                f"The server of the sessions failed ({type(error).__name__}). "
                f"Look after CACHES[{settings.SESSION_CACHE_ALIAS!r}]."
            ) from error
        self._breaker.succeeded()
        return answer


def _stored(record: Record) -> tuple[bytes, int]:
    # A session whose end lies in the past is a removed one.
    return (record.data, record.seconds) if record.seconds > 0 else (MARK, MARK_SECONDS)


_held: tuple[int, object, object, str, SessionRecords] | None = None


def records() -> SessionRecords:
    """Return this process's road to the sessions, made anew after a fork and when settings changed.

    Raises:
        MissingExtraError: the redis client is not installed.
        ConfigurationError: SESSION_CACHE_ALIAS does not name a cache on Redis.
    """
    global _held  # noqa: PLW0603 - one a process; two threads may build two at first, and one is dropped
    section, configured, alias = dbopt_settings.cache, settings.CACHES, settings.SESSION_CACHE_ALIAS
    held = _held
    if held is not None and held[0] == os.getpid():
        if held[1] is section and held[2] is configured and held[3] == alias:
            return held[4]
        held[4].close()
    require_extra("redis", "redis")
    if not uses_redis(alias):
        raise ConfigurationError(
            f"SESSION_CACHE_ALIAS is {alias!r}, which is not a cache on Redis. Name an entry of CACHES that is."
        )
    built = SessionRecords(replace(section, alias=alias))
    _held = (os.getpid(), section, configured, alias, built)
    return built


def forget() -> None:
    """Close this process's connections to the sessions; the next use opens new ones."""
    global _held
    held, _held = _held, None
    if held is not None and held[0] == os.getpid():
        held[4].close()
