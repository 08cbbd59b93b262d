"""What an answer may depend on beside the database, as bytes for its key: the user, the session, headers, a role.

An object that came with the request was read before any token: a later write to its row could not be noticed. So its
columns are part of the key, and an object with more loaded on it than that cannot be told.
"""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_backends
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import Model
from django.db.models.fields.files import FieldFile
from django.http import QueryDict
from django.http.request import HttpHeaders
from django.utils.functional import LazyObject, empty

from dbopt.cache import cached_query
from dbopt.cache.names.keys import encode_argument
from dbopt.exceptions import UncacheableArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "user"

# What stands before the names of other things than attributes of a context: no attribute has such a name.
OTHER = "*"

# The name noted for a context that cannot be watched.
EVERYTHING = f"{OTHER}everything"

# Under these names Django keeps the user, too.
_ALIASES = {"auser": USER, "_cached_user": USER, "_acached_user": USER}

# Of the server's own variables, only text came from the client.
_VARIABLES = frozenset({"META", "environ"})

_PERMISSIONS = ("_perm_cache", "_user_perm_cache", "_group_perm_cache")
_HARMLESS = frozenset({"_state", "backend", "_password"})

_ABSENT = b"absent"

_is_telling: ContextVar[bool] = ContextVar("dbopt_graphql_telling", default=False)


def is_telling() -> bool:
    """Whether this code runs only to tell what an answer depends on."""
    return _is_telling.get()


def told_name(name: str) -> str:
    """Return the name under which an attribute of a context is told."""
    return _ALIASES.get(name, name)


def tell(context: Any, name: str) -> bytes | None:
    """Return the value of an attribute of a context as bytes; None when it has no form that tells everything."""
    with _telling():
        try:
            value = _unwrapped(getattr(context, name))
            if name in _VARIABLES:
                value = {key: item for key, item in value.items() if isinstance(item, str)}
            return encode_argument(name, plain(value), function="GraphQL")
        except AttributeError:
            return _ABSENT
        except (UncacheableArgumentError, SynchronousOnlyOperation):
            # The second: a coroutine looks at a user that nobody has loaded yet.
            return None


def tell_role(context: Any) -> bytes | None:
    """Return what the user of a context may do, as bytes."""
    with _telling():
        user = _unwrapped(getattr(context, USER, None))
        if not hasattr(user, "get_all_permissions"):
            return None
        flags = [
            bool(getattr(user, name, False)) for name in ("is_authenticated", "is_active", "is_staff", "is_superuser")
        ]
        permissions = _permissions_of(user) if isinstance(user, Model) else sorted(user.get_all_permissions())
        return encode_argument("role", [flags, permissions], function="GraphQL")


def plain(value: Any) -> Any:
    """Return a value that came with a request, or a parent object, as one whose canonical form tells all of it.

    Raises:
        UncacheableArgumentError: there is none.
    """
    value = _unwrapped(value)
    for kind, convert in _PLAIN.items():
        if isinstance(value, kind):
            return convert(value)
    return ["anonymous"] if getattr(value, "is_anonymous", False) is True else value


def _row(instance: Model) -> list[Any]:
    held = instance.__dict__
    columns = {field.attname for field in instance._meta.concrete_fields}
    for name in _PERMISSIONS:
        # What is asked for again is noticed.
        held.pop(name, None)
    if instance.pk is None or held.keys() - columns - _HARMLESS or instance._state.__dict__.get("fields_cache"):
        raise UncacheableArgumentError(f"More than its columns is loaded on this {instance._meta.label}.")
    values = {name: held[name] for name in columns if name in held}
    files = {name: value.name for name, value in values.items() if isinstance(value, FieldFile)}
    return [instance._meta.label_lower, instance._state.db or "", {**values, **files}]


def _session(session: SessionBase) -> list[Any]:
    if session.modified:
        raise UncacheableArgumentError("The session was changed.")
    return [session.session_key, dict(session.items())]


_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    Model: _row,
    SessionBase: _session,
    QueryDict: lambda value: dict(value.lists()),
    HttpHeaders: dict,
}


def _unwrapped(value: Any) -> Any:
    if isinstance(value, LazyObject) and issubclass(type(value), LazyObject):
        if value._wrapped is empty:
            value._setup()
        return value._wrapped
    return value


def _permissions_of(user: Any) -> list[str]:
    # A copy: those that were looked up earlier in this request may be out of date.
    user = copy.copy(user)
    for name in _PERMISSIONS:
        user.__dict__.pop(name, None)
    return _permissions(user) if _looks_only_here() else _permissions.uncached(user)


def _looks_only_here() -> bool:
    """Whether permissions come from the database alone; where a backend looks elsewhere, nobody would notice a change."""
    if not apps.is_installed("django.contrib.auth"):
        return False
    # It imports models, which there are only with the app.
    from django.contrib.auth.backends import ModelBackend

    return all(isinstance(backend, ModelBackend) for backend in get_backends())


@cached_query(name="graphql:permissions")
def _permissions(user: Any) -> list[str]:
    return sorted(user.get_all_permissions())


@contextmanager
def _telling() -> Iterator[None]:
    token = _is_telling.set(True)
    try:
        yield
    finally:
        _is_telling.reset(token)
