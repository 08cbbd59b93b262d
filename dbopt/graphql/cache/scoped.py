"""Cached functions of one request, whose results may depend on who asks."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

from dbopt.cache.counters import BYPASS
from dbopt.cache.functions.decorator import CachedFunction
from dbopt.cache.functions.specs import Spec
from dbopt.cache.names.keys import value_key
from dbopt.cache.names.tokens import is_row
from dbopt.cache.observation.recordings import refuse_all
from dbopt.cache.server.servers import server
from dbopt.exceptions import TenantRequiredError
from dbopt.graphql.cache.watching import Watch

if TYPE_CHECKING:
    from dbopt.cache.functions.calls import Call
    from dbopt.cache.functions.fills import Fill
    from dbopt.cache.values.envelopes import Envelope
    from dbopt.graphql.cache.identities import Identity

# Keys of which this process remembers what rows their results depend on, for each function.
_MOST_PLACES = 1024


class ScopedSpec(Spec):
    """What was learned of a field or an operation, for all requests. Thread-safe.

    Attributes:
        names: attributes of the context that results depended on, beside what the scope says.
    """

    def forget(self) -> None:
        """Forget what was learned: be as in a new process."""
        super().forget()
        self.names: frozenset[str] = frozenset()
        self._rows: OrderedDict[tuple[Any, ...], tuple[str, ...]] = OrderedDict()
        self._lock = Lock()

    def rows_ahead(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return the rows that the last result of this very call depended on."""
        return list(self._rows.get(tuple(arguments.values()), ()))

    def learn(self, tags: Iterable[str], arguments: Mapping[str, Any]) -> None:
        """Remember what the result of a call depended on: tables for all calls, rows for this one."""
        tags = set(tags)
        rows = {tag for tag in tags if is_row(tag)}
        super().learn(tags - rows, arguments)
        if rows:
            with self._lock:
                self._rows[tuple(arguments.values())] = tuple(sorted(rows))
                while len(self._rows) > _MOST_PLACES:
                    self._rows.popitem(last=False)


def placed(question: str, whose: str) -> None:
    """Stand for what is cached: its parameters are what keys are made of."""


class ScopedCall(CachedFunction[..., Any]):
    """One question that one request asks. What is learned from it lives in its spec.

    Attributes:
        identity: who asks.
        watch: what the answer looked at, as far as it was computed here.
        is_kept: whether the answer came from the cache, or may be stored there.
    """

    def __init__(self, spec: ScopedSpec, produce: Callable[[], Any], *, question: str, identity: Identity) -> None:
        def run(question: str, whose: str) -> Any:
            return produce()

        super().__init__(run, spec)
        self.watch = Watch()
        self.is_kept = False
        self.identity = identity
        self._scoped = spec
        self._question = question

    def value(self) -> Any:
        """Return the stored answer, or produce one and store it."""
        if not self.identity.read(self._scoped.names):
            refuse_all("nested_bypass")
            self._counters.count(BYPASS, reason="context", seconds=0.0)
            return self._function(*self._arguments())
        return self._run(self._arguments(), {}).value

    def refusal(self) -> str | None:
        """Return why what was produced must not be stored. For subclasses."""
        return None

    def _arguments(self) -> tuple[str, str]:
        return self._question, self.identity.key()

    def _begin(self, args: Any, kwargs: Any, *, accept: bool, started: float) -> Call | None:
        try:
            return super()._begin(args, kwargs, accept=accept, started=started)
        except TenantRequiredError:
            refuse_all("nested_bypass")
            self._counters.count(BYPASS, reason="tenant", seconds=time.perf_counter() - started)
            return None

    def _end(self, call: Call, result: Any, *, accept: bool, started: float, absent: str | None = None) -> None:
        if call.fill is not None:
            reason = self.refusal() or self._move(call.fill)
            if reason is not None:
                call.fill.recording.refuse(reason)
            self.is_kept = call.fill.recording.refusal is None
        super()._end(call, result, accept=accept, started=started, absent=absent)

    def _found(self, call: Call, found: Envelope, *, args: Any, kwargs: Any, started: float) -> Envelope:
        self.is_kept = True
        return super()._found(call, found, args=args, kwargs=kwargs, started=started)

    def _move(self, fill: Fill) -> str | None:
        """Store under a key that holds all that was looked at; return why that cannot be."""
        tenant, is_told = self._spec.tenant(), self.identity.widen(self.watch)
        # Also what could not be told: the next call tries it before it runs, in a thread that may load a user.
        self._scoped.names |= self.identity.names
        if tenant is None or not is_told:
            return "context"
        place = self._spec.place(tenant, self._arguments(), {})
        fill.key = value_key(server().namespace, tenant, name=self._spec.name, call=place.call)
        return None
