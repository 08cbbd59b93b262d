"""Who asks, as far as an answer depends on it: what a scope says, and what was looked at beside that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dbopt.cache.names.keys import digest, encode_argument
from dbopt.graphql.cache.hints import Scope
from dbopt.graphql.cache.telling import EVERYTHING, OTHER, USER, tell, tell_role

if TYPE_CHECKING:
    from dbopt.graphql.cache.watching import Watch

_ROLE = f"{OTHER}role"
_OF_SCOPE: Mapping[Scope, tuple[str, ...]] = {Scope.PUBLIC: (), Scope.ROLE: (_ROLE,), Scope.USER: (USER,)}


class Identity:
    """Who asks one question. ``tell_other`` knows what is no attribute of the context.

    Attributes:
        names: what was looked at beyond what the scope says, whether it could be told or not.
    """

    def __init__(self, scope: Scope, context: Any, *, tell_other: Callable[[str], bytes | None] | None = None) -> None:
        self.names: frozenset[str] = frozenset()
        self._scope = scope
        self._context = context
        self._tell_other = tell_other
        self._told: dict[str, bytes] = {}

    def read(self, names: Iterable[str]) -> bool:
        """Take in what the scope says and what earlier answers depended on; False where that cannot be told."""
        if self._scope is not Scope.PUBLIC and self._context is None:
            return False
        return self._take({name: self._tell(name) for name in (*names, *_OF_SCOPE[self._scope])})

    def widen(self, watch: Watch) -> bool:
        """Take in what was looked at; False where that cannot be told or has changed."""
        seen = watch.told
        told = {name: seen[name] if name in seen else self._tell(name) for name in self._beyond(seen)}
        self.names |= told.keys() - {EVERYTHING}
        has_changed = any(self._told.get(name, value) != value for name, value in told.items())
        return self._take(told) and not has_changed

    def is_anybody(self, watch: Watch) -> bool:
        """Whether the answer depends on nothing about who asks."""
        return not (self._told or self._beyond(watch.told))

    def key(self) -> str:
        """Return what stands for this identity in keys."""
        told = [[name, value] for name, value in sorted(self._told.items())]
        return digest(encode_argument("identity", [int(self._scope), told], function="GraphQL"))

    def _take(self, told: Mapping[str, bytes | None]) -> bool:
        self._told.update((name, value) for name, value in told.items() if value is not None)
        return None not in told.values()

    def _tell(self, name: str) -> bytes | None:
        if name.startswith(OTHER) and name != _ROLE:
            return self._tell_other(name) if self._tell_other is not None else None
        # For those who watch around this: what they store depends on it, too.
        getattr(self._context, USER if name == _ROLE else name, None)
        return tell_role(self._context) if name == _ROLE else tell(self._context, name)

    def _beyond(self, touched: Iterable[str]) -> frozenset[str]:
        """Return what was looked at beyond what the scope says; the answer is then at most for this user."""
        beyond = frozenset(touched) - ({USER} if self._scope is not Scope.PUBLIC else frozenset())
        return beyond | {USER} if any(not name.startswith(OTHER) for name in beyond) else beyond
