"""One call of a cached function: look, and when there is nothing valid, run it under observation and store.

1. One round trip brings the value and the current tokens of what it depends on.
2. The value is valid when the tokens it was made under are the current ones.
3. Otherwise one caller runs the function, and the others wait for it. Each table's token is read before the first
   statement that reads the table.
4. The result is stored under those tokens; a write that came between makes it invalid from the start.
"""

from __future__ import annotations

import math
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dbopt.cache.counters import HIT, MISS, OLD, STALE
from dbopt.cache.functions.fills import Fill
from dbopt.cache.functions.specs import STRICT, Place, Spec
from dbopt.cache.functions.turns import Pause, Turn
from dbopt.cache.names.keys import value_key
from dbopt.cache.names.tokens import is_pending, vector_hash
from dbopt.cache.observation.recordings import running
from dbopt.cache.values.codec import UndecodableError, UnencodableError
from dbopt.cache.values.entries import Entry, is_marker, unpack_entry
from dbopt.cache.values.envelopes import Envelope, opened
from dbopt.cache.values.moulds import Mould, mould_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbopt.cache.server.exchange import CacheServer, Look


class _Ready(NamedTuple):
    """What is kept with a look in the local copy: its entry, found to be valid, and what makes copies of the result."""

    entry: Entry
    mould: Mould | None
    circumstances: tuple[float, bytes, str | None]


class Call:
    """One call that may use the cache.

    Attributes:
        fill: what the function runs under when this call has to run it; None while the server is out of reach.
        outcome: what the look came to.
        behind: whether what was found is old and should be computed anew behind the caller's back.
    """

    def __init__(self, spec: Spec, place: Place, *, server: CacheServer, accept: bool = True) -> None:
        self.outcome = MISS
        self.reason: str | None = None
        self.fill: Fill | None = None
        self.behind = False
        self.key = value_key(server.namespace, place.tenant, name=spec.name, call=place.call)
        self._spec = spec
        self._place = place
        self._rows = spec.rows_ahead(place.arguments)
        self._server = server
        self._accept = accept
        self._turn: Turn | None = None
        self._entry: Entry | None = None
        self._asked_at = 0.0

    def look(self) -> Look | None:
        """Ask the server for the value and its tokens, in one round trip; None while it is out of reach."""
        # Only the first look: who waits for what another process computes has to ask for it.
        local = self._accept and not self._asked_at and self._spec.local and self._spec.level != STRICT
        self._asked_at = time.monotonic()
        return self._server.look(self.key, (*self._place.head, *self._spec.ahead, *self._rows), local=local)

    async def look_async(self) -> Look | None:
        """Look in this event loop; None where :meth:`look` has to do it, in a thread."""
        if not self._accept or self._spec.local or self._asked_at:
            return None
        asked_at = time.monotonic()
        look = await self._server.look_async(self.key, (*self._place.head, *self._spec.ahead, *self._rows))
        self._asked_at = asked_at if look is not None else 0.0
        return look

    def hit(self, look: Look) -> Envelope | None:
        """Return a valid value where nothing else is to do; neither waits nor asks anybody."""
        found = self._valid(look.data, look.tokens) if self._accept and look.data is not None else None
        return None if found is None or self._is_due() else found

    def step(self, look: Look | None) -> Envelope | Pause | None:
        """Return what the caller gets, or how long to wait before the next look; None: run the function now."""
        self.fill = None
        if look is None:
            return None
        found = self._found(look)
        if found is not None and not self._is_due():
            return found
        self.fill = self._prepare(look)
        if self.fill is None or not self._accept:
            return found
        return self._settle(look, found)

    def claim(self) -> bool:
        """Take the turn to compute what is not there or due; False when another has it, or nothing is to do."""
        look = self.look()
        if look is None or (self._found(look) is not None and not self._is_due()):
            return False
        self.fill = self._prepare(look)
        return self.fill is not None and self._take(look) is None and self._turn is not None and self._turn.leads

    @property
    def turn(self) -> Turn:
        """This call's way to the computation; whoever steps must leave it in the end."""
        if self._turn is None:
            self._turn = Turn(
                self._server, self.key, f"{self._server.namespace}:l:{{{self._place.tenant}}}:{self._place.call}"
            )
        return self._turn

    def leave(self) -> None:
        """Let others go on. Idempotent."""
        if self._turn is not None:
            self._turn.leave()

    @property
    def holds_lease(self) -> bool:
        """Whether leaving needs a round trip."""
        return self._turn is not None and self._turn.holds_lease

    def remove(self, *, fallback: str) -> bool:
        """Remove the value; False while the server is out of reach, when `fallback` is owed instead."""
        return self._server.remove(self.key, fallback=fallback)

    def _prepare(self, look: Look) -> Fill | None:
        """Make ready to run: every tag gets a token before the first statement."""
        tokens = {tag: token for tag, token in look.tokens.items() if token is not None}
        absent = [tag for tag in look.tokens if tag not in tokens]
        if absent:
            created = self._server.create(absent)
            if created is None:
                return None
            tokens.update(created)
        head = {tag: tokens.pop(tag) for tag in self._place.head}
        return Fill(
            self._spec,
            server=self._server,
            key=self.key,
            head=head,
            ahead=tokens,
            data=look.data,
            arguments=self._place.arguments,
        )

    def _settle(self, look: Look, found: Envelope | None) -> Envelope | Pause | None:
        """Decide between what was found, if anything, and computing anew or waiting for who does."""
        shared = self._turn.shared if self._turn is not None else None
        if found is None and shared is not None:
            return self._received(shared)
        old = self._old() if found is None else None
        if self._spec.behind and (found or old):
            # What is written all the time is computed anew during half of the time, not always.
            made = (found or old or Envelope(None)).made
            self.behind = time.time() - made >= 2 * (self._entry.seconds if self._entry is not None else 0.0)
            return found or self._served(old)
        if not self._spec.storable:
            return found
        pause = self._take(look)
        # What is valid is computed early only by who keeps the others from doing so too.
        if pause is None and (found is None or self.turn.leads):
            self.outcome = MISS if found is not None else self.outcome
            return None
        if found is None and old is None:
            return pause
        self.turn.leave()
        return found or self._served(old)

    def hand_over(self, value: Any) -> None:
        """Give a result that could not be stored to those who wait for it, unless it is for nobody else either."""
        if self.fill is None or self._turn is None or not self._turn.is_awaited or not self.fill.is_shareable:
            return
        with suppress(UnencodableError):
            self._turn.share(self._spec.encode(value))

    def _received(self, payload: bytes) -> Envelope:
        for outer in running():
            # What it depends on is known to the one who computed it.
            outer.refuse("pending")
        return Envelope(self._spec.decode(payload), time.time())

    def _served(self, old: Envelope | None) -> Envelope | None:
        self.outcome = OLD
        for outer in running():
            outer.refuse("inner_stale")
        return old

    def _take(self, look: Look) -> Pause | None:
        if self.fill is None:
            return None
        if self._spec.level == STRICT and any(token and is_pending(token) for token in look.tokens.values()):
            return self.turn.gather(expected=self._spec.seconds)
        expected = self._entry.seconds if self._entry is not None else self._spec.seconds
        vector = self.fill.vector(self._entry.tags if self._entry is not None else (*self._spec.ahead, *self._rows))
        return self.turn.take(vector, data=look.data, expected=expected)

    def _found(self, look: Look) -> Envelope | None:
        if not self._accept or look.data is None:
            return None
        if look.ready is not None:
            return self._recast(look.ready, look.tokens)
        found = self._valid(look.data, look.tokens)
        absent = [] if self._entry is None else [tag for tag in self._entry.tags if tag not in look.tokens]
        if not absent or self._entry is None:
            if found is not None and self._spec.local and self._server.keep(self.key, look):
                return self._kept(look, found)
            return found
        # Not known yet in this process what the function reads: one round trip more, this once.
        self._spec.learn(self._entry.tags, self._place.arguments)
        return self._valid(look.data, {**look.tokens, **(self._server.peek(absent) or {})})

    def _valid(self, data: bytes, tokens: Mapping[str, bytes | None]) -> Envelope | None:
        self._entry = None
        if is_marker(data):
            return None
        entry = self._entry = unpack_entry(data)
        if entry is None:
            self.reason = "undecodable"
            return None
        tags = (*self._place.head, *entry.tags)
        current = [tokens.get(tag) for tag in tags]
        if None in current or vector_hash(cast("list[bytes]", current)) != entry.vector:
            self.outcome = STALE
            return None
        found = self._read(entry)
        return None if found is None else self._used(found, entry, tokens)

    def _used(self, found: Envelope, entry: Entry, tokens: Mapping[str, bytes | None]) -> Envelope:
        self.outcome = HIT
        if self._spec.stale:
            self._spec.sightings.note(self.key, self._asked_at)
        for outer in running():
            tags = (*self._place.head, *entry.tags)
            outer.adopt({tag: cast("bytes", tokens[tag]) for tag in tags})
        return found

    def _kept(self, look: Look, found: Envelope) -> Envelope:
        """Have what the second hit decoded ready for the third: the caller gets a copy as well."""
        entry = cast("Entry", self._entry)
        mould = mould_of(found.value) if self._spec.is_plain else None
        size = 0 if mould is None else mould.size
        self._server.make_ready(self.key, look, _Ready(entry, mould, found[1:]), size=size)
        return found if mould is None else Envelope(mould.cast(), *found[1:])

    def _recast(self, ready: _Ready, tokens: Mapping[str, bytes | None]) -> Envelope | None:
        """Return a value that was found to be valid under these tokens, as far as it can be read."""
        entry, mould = ready.entry, ready.mould
        self._entry = entry
        if mould is not None and mould.is_usable():
            return self._used(Envelope(mould.cast(), *ready.circumstances), entry, tokens)
        found = self._read(entry)
        return None if found is None else self._used(found, entry, tokens)

    def _read(self, entry: Entry) -> Envelope | None:
        try:
            value = self._spec.decode(entry.payload)
            return opened(value) if self._spec.sealed else Envelope(value)
        except (UndecodableError, ValueError, TypeError, LookupError):
            self.reason = "undecodable"
            return None

    def _is_due(self) -> bool:
        """Tell whether to compute a valid value early: the slower, the sooner before its end (XFetch)."""
        if self._entry is None:
            return False
        lead = -self._entry.seconds * math.log(1.0 - random.random())  # noqa: S311 - spreads load, guards nothing
        return (time.time() + lead) * 1000 >= self._entry.soft_expiry_ms

    def _old(self) -> Envelope | None:
        """Return what a write has made wrong, if it may still be served."""
        entry, spec = self._entry, self._spec
        if entry is None or self.fill is None or not spec.stale or spec.level == STRICT:
            return None
        found = self._read(entry)
        if found is None or found.head != self.fill.head_vector:
            return None
        age = time.time() - found.made
        if not spec.behind:
            age = min(age, spec.sightings.seconds_since(self.key))
        if age > spec.stale + (spec.timeout if spec.behind else 0):
            return None
        return found
