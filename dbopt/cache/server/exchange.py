"""All traffic with the cache server: bounded, never raising for the server's faults, paying debts first."""

from __future__ import annotations

import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dbopt.cache.names.declared import needs_server_clock
from dbopt.cache.names.keys import token_key
from dbopt.cache.names.tokens import EPOCH, TOKEN_SECONDS, new_token
from dbopt.cache.server.breaker import Breaker
from dbopt.cache.server.clients import OneServer, build_network, key_namespace, uses_cluster
from dbopt.cache.server.cluster import by_slot
from dbopt.cache.server.debt import Debt, Payer
from dbopt.cache.server.lineage import Lineage
from dbopt.cache.server.local import LocalCopy, removal_tag
from dbopt.cache.server.loops import Loops
from dbopt.cache.server.packing import reading, renewals
from dbopt.cache.server.roads import Command, Road, Script
from dbopt.cache.server.strict import CREATE, MARK, REAP, RENEW, token_commands
from dbopt.cache.values.entries import new_marker
from dbopt.conf import CacheSettings, dbopt_settings
from dbopt.signals import announce, cache_invalidated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# How long a removed entry refuses fills that began before it was removed.
MARKER_SECONDS = 600.0

# One value out of its key, unless a token moved meanwhile or the entry was removed by hand: flag 8 of the header.
_STORE = Script("""
local held = redis.call('GET', KEYS[1])
if held and #held == 24 and held ~= ARGV[3] and math.floor(string.byte(held, 4) / 8) % 2 == 1 then return 0 end
if #KEYS > 1 then
    local current = redis.call('MGET', unpack(KEYS, 2))
    for i = 1, #KEYS - 1 do
        if current[i] ~= ARGV[3 + i] then return 0 end
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")

# Only who holds a lease may end it: it may have run out, and be another's by now.
_RELEASE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")


class Look(NamedTuple):
    """What one round trip brought: the bytes under a value's key, and tokens (None where there is none).

    ``ready`` is what a caller kept with it in the local copy: of use while all of these tokens are the current ones.
    """

    data: bytes | None
    tokens: Mapping[str, bytes | None]
    ready: Any = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer to a request for a lease: its token, None where another holds it, and what the value's key holds."""

    token: bytes | None
    data: bytes | None


class CacheServer:
    """One process's road to the cache server. Thread-safe; a forked child gets its own from :func:`~dbopt.cache.server.servers.server`."""

    def __init__(self, section: CacheSettings, *, debt: Debt | None = None) -> None:
        self.namespace = key_namespace(section)
        self.breaker = Breaker(alias=section.alias, failures=section.breaker_failures, seconds=section.breaker_seconds)
        self.debt = debt if debt is not None else Debt(section.max_debt)
        self._token_ms = int(
            1000 * max(TOKEN_SECONDS, 2 * section.timeout, *(2 * s for s in section.timeouts.values()), 0)
        )
        self._is_cluster = uses_cluster(section)
        self._lineage = Lineage(self.namespace, token_ms=self._token_ms, is_cluster=self._is_cluster)
        network = build_network(section)
        self._local = LocalCopy(network, self._lineage, self.namespace, max_bytes=section.local_bytes)
        self._road = Road(network, self._lineage, replaced=self._local.restart)
        self._loops = (
            Loops(network, self._lineage, seconds=section.socket_timeout) if isinstance(network, OneServer) else None
        )
        self._payer = Payer(self.debt, self.pay, seconds=max(section.breaker_seconds, 0.05))

    @property
    def round_trips(self) -> int:
        """How often this process asked the server since it began; near enough when several threads ask at once."""
        return self._road.round_trips + (self._loops.round_trips if self._loops is not None else 0)

    def look(self, key: str, tags: Sequence[str], *, local: bool = False) -> Look | None:
        """Read a value and tokens in one round trip, or in none; None while the server is out of reach.

        Args:
            key: the value's key.
            tags: whose tokens to read.
            local: whether a copy in this process will do; what comes from the server may then be kept for it.
        """
        if self.debt and not self.pay():
            return None
        if not local:
            return self._look(key, tags)
        look = self._local.look(key)
        if look is not None:
            return look
        mark = self._local.expect(tags)
        look = self._look(key, tags)
        if mark is not None:
            self._local.fetched(mark, tags, look)
        return look

    def look_many(self, keys: Sequence[str], tags: Sequence[str]) -> tuple[list[bytes | None], Look] | None:
        """Read values and tokens in one round trip: the values, and a look with all tokens; None while out of reach."""
        if self.debt and not self.pay():
            return None
        found = self._read([*keys, *self._token_keys(tags)])
        if found is None:
            return None
        return found[: len(keys)], Look(None, dict(zip(tags, found[len(keys) :], strict=True)))

    async def look_async(self, key: str, tags: Sequence[str]) -> Look | None:
        """Look in this event loop, without a copy; None where :meth:`look` has to do it, in a thread."""
        # While the breaker is open, the thread's road finds out whether the server is back.
        if self._loops is None or self.debt or self.breaker.is_open:
            return None
        try:
            found = await self._loops.read([key, *self._token_keys(tags)])
        except self._road.faults as error:
            self.breaker.failed(error, refused=isinstance(error, self._road.refusals))
            return None
        if found is None:
            return None
        self.breaker.succeeded(wrote=False)
        return Look(found[0], dict(zip(tags, found[1:], strict=True)))

    def keep(self, key: str, look: Look) -> bool:
        """Keep a look whose value is valid, for later ones with ``local=True``; True where it was kept before.

        All that the value depends on must be among the look's tokens.
        """
        return self._local.keep(key, look)

    def make_ready(self, key: str, look: Look, ready: object, *, size: int) -> None:
        """Keep something beside a look that the local copy returned: ``ready``, of about so many bytes."""
        self._local.make_ready(key, look, ready, size=size)

    def peek(self, tags: Sequence[str]) -> dict[str, bytes | None] | None:
        """Read tokens without creating any; None while the server is out of reach."""
        found = self._read(self._token_keys(tags))
        return None if found is None else dict(zip(tags, found, strict=True))

    def tokens(self, tags: Sequence[str]) -> dict[str, bytes] | None:
        """Read tokens, creating those that are absent; None when that did not succeed for all of them."""
        if not tags:
            return {}
        if self.debt and not self.pay():
            return None
        keys = self._token_keys(tags)
        found = self._read(keys)
        if found is None:
            return None
        if None in found:
            found = self._create(keys, [key for key, token in zip(keys, found, strict=True) if token is None])
        return _complete(tags, found)

    def create(self, tags: Sequence[str]) -> dict[str, bytes] | None:
        """Create the tokens of tags that have none, and return them all."""
        keys = self._token_keys(tags)
        return _complete(tags, self._create(keys, keys))

    def store(
        self, key: str, data: bytes, *, tokens: Mapping[str, bytes], seconds: float, seen: bytes | None
    ) -> bool | None:
        """Store a value unless one of its tokens moved; None while the server is out of reach.

        Args:
            key: the value's key.
            data: the packed entry.
            tokens: by tag, as they were read before the query.
            seconds: how long it may live; up to a tenth less, so that values of one moment do not end together.
            seen: the bytes that were under the key before.
        """
        answers = self._ask(self._storing(key, data, tokens=tokens, seconds=seconds, seen=seen))
        return None if answers is None else bool(answers[0])

    def store_many(self, entries: Iterable[tuple[str, bytes, Mapping[str, bytes]]], *, seconds: float) -> None:
        """Store values under their keys, each unless one of its tokens moved, in one round trip."""
        commands = [
            self._storing(key, data, tokens=tokens, seconds=seconds, seen=None) for key, data, tokens in entries
        ]
        if commands:
            self._ask(*commands)

    def _storing(
        self, key: str, data: bytes, *, tokens: Mapping[str, bytes], seconds: float, seen: bytes | None
    ) -> Command:
        life_ms = max(1, int(seconds * random.uniform(0.9, 1.0) * 1000))  # noqa: S311 - spreads load, guards nothing
        keys = [key, *self._token_keys(list(tokens))]
        current = list(tokens.values())
        if self._is_cluster:
            # A script sees the keys of its own slot. What moved elsewhere makes the value invalid all the same.
            own = by_slot(keys)[0]
            keys, current = [keys[number] for number in own], [current[number - 1] for number in own[1:]]
        return _STORE.command(keys, (data, life_ms, seen or b"", *current))

    def lease(self, key: str, *, seconds: float, beside: str) -> Lease | None:
        """Ask to be the only one, in all processes, for so long; None while the server is out of reach.

        The value under `beside` is read after the lease is granted: who had it before has stored by then.
        """
        token = secrets.token_bytes(16)
        answers = self._ask(
            Command(key, ("SET", key, token, "NX", "PX", max(1, int(seconds * 1000)))),
            # Not the answer to SET: carried out twice, it would say that somebody else has the lease.
            Command(key, ("GET", key)),
            Command(beside, ("GET", beside)),
        )
        return None if answers is None else Lease(token if answers[1] == token else None, answers[2])

    def release(self, key: str, token: bytes) -> None:
        """End a lease, unless it ran out; while the server is out of reach, it will."""
        self.run(_RELEASE, [key], token)

    def remove(self, key: str, *, fallback: str) -> bool:
        """Remove a value, also for fills that began before; False while the server is out of reach.

        Args:
            key: the value's key.
            fallback: the tag that is owed instead when the server does not take it.
        """
        told = token_key(self.namespace, removal_tag(self.namespace, key))
        answers = self._ask(
            Command(key, ("SET", key, new_marker(), "PX", int(MARKER_SECONDS * 1000))),
            Command(told, ("SET", told, "", "PX", 1)),
        )
        self._local.drop([key])
        if answers is not None:
            return True
        self.debt.owe({fallback})
        self._payer.start()
        return False

    def renew(self, tags: Iterable[str], *, writer: bytes = b"", position: int | None = None) -> bool:
        """Replace the tokens of tags in one round trip; what cannot be delivered is owed. Never raises for the server.

        Args:
            tags: of what was written.
            writer: who marked them before, see :mod:`dbopt.cache.server.strict`.
            position: how far the log of their primary reaches, see :mod:`dbopt.cache.observation.replicas`.

        Returns:
            Whether the server took it now.
        """
        started = time.perf_counter()
        wanted = set(tags)
        owed = self.debt.owed() if self.debt else {}
        # What is owed may be of another primary.
        delivered = self._deliver(wanted.union(owed), writer=writer, position=None if owed else position)
        if delivered:
            self.debt.settle(owed)
        else:
            self.debt.owe(wanted)
            self._payer.start()
        announce(
            cache_invalidated,
            sender=CacheServer,
            tags=len(wanted),
            delivered=delivered,
            seconds=time.perf_counter() - started,
        )
        return delivered

    def mark(self, tags: Sequence[str], *, writer: bytes) -> None:
        """Announce that a writer may commit what it wrote to strict tables; owed as a renewal if it does not succeed."""
        if self._ask(*self._token_commands(MARK, self._token_keys(tags), writer=writer)) is None:
            self.debt.owe(tags)
            self._payer.start()

    def reap(self, tags: Sequence[str]) -> dict[str, bytes] | None:
        """Remove the marks of writers that are dead, and return the tokens; None while the server is out of reach."""
        answers = self._ask(*self._token_commands(REAP, self._token_keys(tags)))
        return None if answers is None else _complete(tags, answers[0])

    def now_ms(self) -> int | None:
        """Return the server's clock, in ms since 1970; None while it is out of reach."""
        answers = self._ask(Command(token_key(self.namespace, EPOCH), ("TIME",)))
        return None if answers is None else int(answers[0][0]) * 1000 + int(answers[0][1]) // 1000

    def pay(self) -> bool:
        """Renew what is owed; True when nothing is owed any more."""
        owed = self.debt.owed()
        if not owed:
            return True
        if not self._deliver(owed):
            return False
        self.debt.settle(owed)
        return True

    def run(self, script: Script, keys: Sequence[str], *arguments: object) -> Any:
        """Run a script over keys, on a cluster of one slot, and return its answer; None while out of reach."""
        answers = self._ask(script.command(keys, arguments))
        return None if answers is None else answers[0]

    def close(self) -> None:
        """Close the connections and stop paying debts in the background; debts stay known."""
        self._payer.close()
        self._local.close()
        self._road.close()

    def _look(self, key: str, tags: Sequence[str]) -> Look | None:
        found = self._read([key, *self._token_keys(tags)])
        return None if found is None else Look(found[0], dict(zip(tags, found[1:], strict=True)))

    def _token_keys(self, tags: Sequence[str]) -> list[str]:
        return [token_key(self.namespace, tag) for tag in tags]

    def _reading(self, keys: Sequence[str]) -> list[Command]:
        if not self._is_cluster:
            return [reading(keys)]
        return [reading([keys[number] for number in numbers]) for numbers in by_slot(keys)]

    def _read(self, keys: Sequence[str], *before: Command) -> list[bytes | None] | None:
        """Read keys, after other commands of the same round trip."""
        commands = self._reading(keys)
        answers = self._ask(*before, *commands)
        if answers is None:
            return None
        if len(commands) == 1:
            return cast("list[bytes | None]", answers[-1])
        found: dict[str, bytes | None] = {}
        for command, answer in zip(commands, answers[len(before) :], strict=True):
            found.update(zip(command.words[1:], answer, strict=True))
        return [found[key] for key in keys]

    def _create(self, keys: Sequence[str], absent: Sequence[str]) -> list[bytes | None] | None:
        # NX: whoever creates it first, all readers use that one.
        creating = (
            self._token_commands(CREATE, absent)
            if needs_server_clock()
            else [Command(key, ("SET", key, new_token(), "NX", "PX", self._token_ms)) for key in absent]
        )
        return self._read(keys, *creating)

    def _deliver(self, tags: Iterable[str], *, writer: bytes = b"", position: int | None = None) -> bool:
        wanted = list(tags)
        keys = self._token_keys(wanted)
        if needs_server_clock():
            commands = self._token_commands(RENEW, keys, writer=writer, position=position)
        else:
            commands = renewals(keys, token_ms=self._token_ms)
        try:
            return self._ask(*commands) is not None
        finally:
            self._lineage.renewed()
            # After the server has the new ones: a fetch that began before it had them keeps nothing either.
            self._local.drop(wanted)

    def _token_commands(
        self, operation: str, keys: Sequence[str], *, writer: bytes = b"", position: int | None = None
    ) -> list[Command]:
        hold_off = dbopt_settings.cache.replica_lag
        return token_commands(
            operation, keys, writer=writer, hold_off=hold_off, token_ms=self._token_ms, position=position
        )

    def _ask(self, *commands: Command) -> list[Any] | None:
        if not self.breaker.permits():
            return None
        try:
            answers = self._road.exchange(commands)
        except self._road.faults as error:
            self.breaker.failed(error, refused=isinstance(error, self._road.refusals))
            return None
        self.breaker.succeeded(wrote=commands[0].words[0] != "MGET")
        return answers


def _complete(tags: Sequence[str], found: Sequence[bytes | None] | None) -> dict[str, bytes] | None:
    tokens = {tag: token for tag, token in zip(tags, found or (), strict=False) if token is not None}
    # One may be missing even so: evicted in the same moment.
    return tokens if len(tokens) == len(tags) else None
