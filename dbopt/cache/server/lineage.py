"""Which server answers: one that took another's place may not know of renewals that the other had taken.

Replication is asynchronous, and a server that restarts from a file has forgotten what came after it. So every new
connection asks its server for the identity of its process and of its history. One that nobody has met before renews
the token that everything depends on, once for all processes: the identities that were met lie in the cache itself.
A process that goes on renewing at the old server while others have left it renews once more when it comes after them.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from dbopt.cache.names.keys import NO_TENANT, scoped, token_key
from dbopt.cache.names.tokens import EPOCH, new_token
from dbopt.cache.server.roads import Command
from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# What to ask a server in order to know it.
IDENTITY = (("INFO", "server"), ("INFO", "replication"))
_FIELDS = (b"run_id", b"master_replid", b"role")

# KEYS: identities met, each with the moment of its last renewal; the token to renew.
# ARGV: an identity, the new token, its life in ms, and the age in ms of what the caller renewed last, if anything.
_MEET = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local met = redis.call('HGET', KEYS[1], ARGV[1])
if not met or (ARGV[4] ~= '' and tonumber(met) <= now - tonumber(ARGV[4])) then
  if redis.call('HLEN', KEYS[1]) >= 64 then redis.call('DEL', KEYS[1]) end
  redis.call('HSET', KEYS[1], ARGV[1], now)
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return redis.call('HKEYS', KEYS[1])
"""


class Lineage:
    """The servers that one process has met. Thread-safe."""

    def __init__(self, namespace: str, *, token_ms: int, is_cluster: bool) -> None:
        self.strangers: frozenset[bytes] = frozenset()
        self._keys = (f"{namespace}:s:{scoped(NO_TENANT, 'servers')}", token_key(namespace, EPOCH))
        self._token_ms = token_ms
        self._is_cluster = is_cluster
        self._lock = Lock()
        self._known: frozenset[bytes] = frozenset()
        self._renewed_at: float | None = None

    def renewed(self) -> None:
        """Note that this process renewed tokens, or tried to."""
        self._renewed_at = time.monotonic()

    def met(self, connection: Any) -> None:
        """Ask a new connection whose it is.

        Raises:
            redis.ReadOnlyError: a replica's, whose tokens are those of a moment ago.
        """
        identity = self.identity(_answers(connection))
        if not self.is_known(identity):
            with self._lock:
                self.strangers |= {identity}

    def identity(self, answers: Iterable[bytes]) -> bytes:
        """Return whose the answers to `IDENTITY` are.

        Raises:
            redis.ReadOnlyError: a replica's, whose tokens are those of a moment ago.
        """
        lines = (line.partition(b":") for answer in answers for line in answer.splitlines())
        facts = {name: value for name, _, value in lines if name in _FIELDS}
        if facts.get(b"role") == b"slave":
            raise require_extra("redis.exceptions", "redis").ReadOnlyError("The cache server is a replica.")
        return b":".join(facts.get(field, b"") for field in _FIELDS[:2])

    def is_known(self, identity: bytes) -> bool:
        """Tell whether this server was met. One that does not tell, or may not, is taken for the one it was."""
        return identity == b":" or identity in self._known

    def question(self, stranger: bytes) -> Command:
        """Return the command that renews everything if this is the first meeting."""
        age = ""
        if self._known and self._renewed_at is not None:
            age = str(int(1000 * (time.monotonic() - self._renewed_at)))
        return Command(self._keys[0], ("EVAL", _MEET, 2, *self._keys, stranger, new_token(), self._token_ms, age))

    def settled(self, strangers: Collection[bytes], answers: Iterable[Collection[bytes]]) -> bool:
        """Note that the question was answered for strangers; True where they replaced a server."""
        with self._lock:
            self.strangers -= frozenset(strangers)
            had, self._known = self._known, frozenset(strangers)
            if self._is_cluster:
                # All its nodes answer at the same time; the others were met by other processes.
                self._known = had.union(strangers, *answers)
        return bool(had) and not self._is_cluster


def _answers(connection: Any) -> list[bytes]:
    connection.send_packed_command(connection.pack_commands(IDENTITY), check_health=False)
    answers: list[bytes] = []
    for _ in IDENTITY:
        try:
            answers.append(connection.read_response())
        except require_extra("redis.exceptions", "redis").ResponseError:
            continue
    return answers
