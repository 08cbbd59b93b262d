"""What sessions of the database are set to: a search path, a role, the variable of a row-level policy.

The same statement finds other rows where it is set to something else. What a project declares in
``DBOPT["TENANCY"]["SESSION_VARIABLES"]`` becomes part of every key; anything else that is set keeps its connection away
from the cache. Followed by statements: the server is never asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import connections

from dbopt.cache.observation.assignments import ALL, ANY, AUTHORIZATION, DISCARDED, ROLE, Assignment, Special
from dbopt.conf import dbopt_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

    Value = str | Special

# What RESET ALL leaves, and what only DISCARD ALL or a new session makes certain again.
_KEPT_BY_RESET = frozenset({ROLE, AUTHORIZATION, ANY})


class Scope:
    """What one session is set to, as far as it is not as it was opened."""

    def __init__(self) -> None:
        self._session: dict[str, Value] = {}
        # Inside a transaction: what is set now, and what will be after its COMMIT.
        self._now: dict[str, Value] = {}
        self._then: dict[str, Value] = {}

    @property
    def is_open(self) -> bool:
        """Whether a transaction set something, whose end was not seen yet."""
        return bool(self._now)

    def assign(self, assignment: Assignment, *, in_transaction: bool) -> None:
        """Follow an assignment that succeeded."""
        name, value, is_local = assignment
        if name == DISCARDED:
            self._session.clear()
        elif name == ALL:
            for other in set(self.values()) - _KEPT_BY_RESET:
                self._set(other, Special.DEFAULT, is_local=False, in_transaction=in_transaction)
        else:
            self._set(name, value, is_local=is_local, in_transaction=in_transaction)
            if name == AUTHORIZATION:
                # Whoever becomes another user is in no role.
                self._set(ROLE, Special.DEFAULT, is_local=is_local, in_transaction=in_transaction)

    def values(self) -> Mapping[str, Value]:
        """Return what is set, by name."""
        return _without_defaults({**self._session, **self._now})

    def undone_in_part(self) -> None:
        """Follow the rollback of a savepoint: of what the transaction set, nobody knows what is left."""
        self._now = dict.fromkeys(self._now, Special.UNKNOWN)
        self._then = dict.fromkeys(self._then, Special.UNKNOWN)

    def ended(self, *, committed: bool | None) -> None:
        """Follow the end of the transaction; None: nobody saw which."""
        if committed is None:
            self._then = dict.fromkeys(self._then, Special.UNKNOWN)
        if committed is not False:
            self._session = dict(_without_defaults({**self._session, **self._then}))
        self._now.clear()
        self._then.clear()

    def _set(self, name: str, value: Value, *, is_local: bool, in_transaction: bool) -> None:
        if in_transaction:
            self._now[name] = value
            if not is_local:
                self._then[name] = value
        elif not is_local:
            self._session = dict(_without_defaults({**self._session, name: value}))


def _without_defaults(values: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in values.items() if value is not Special.DEFAULT}


# By the driver's connection: a pool hands it on as it is set.
_scopes: WeakKeyDictionary[Any, Scope] = WeakKeyDictionary()

# Whether there ever was one: most projects set nothing, and each of their statements asks.
_ever: list[bool] = []


def assign(connection: BaseDatabaseWrapper, assigned: Iterable[Assignment], *, in_transaction: bool) -> None:
    """Follow what a statement set on a connection that is open."""
    _ever[:] = [True]
    scope = _scopes.setdefault(connection.connection, Scope())
    for assignment in assigned:
        scope.assign(assignment, in_transaction=in_transaction)


def scope_of(connection: BaseDatabaseWrapper) -> Scope | None:
    """Return what a connection is set to; None where nothing ever was."""
    if not _ever:
        return None
    raw = connection.connection
    return None if raw is None or connection.vendor != "postgresql" else _scopes.get(raw)


def is_shared_scope(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a connection is set to nothing but values that are part of keys."""
    scope = scope_of(connection)
    return scope is None or (
        Special.UNKNOWN not in (values := scope.values()).values() and _declared().issuperset(values)
    )


def session_scope() -> tuple[tuple[str, str, str], ...]:
    """Return what this thread's connections are set to, for keys: alias, name and value of each setting."""
    if not _ever:
        return ()
    return tuple(
        (alias, name, str(value))
        for alias in connections
        if (scope := scope_of(connections[alias])) is not None
        for name, value in sorted(scope.values().items(), key=_name)
    )


def _name(item: tuple[str, Value]) -> str:
    return item[0]


def _declared() -> frozenset[str]:
    return frozenset(name.lower() for name in dbopt_settings.tenancy.session_variables)
