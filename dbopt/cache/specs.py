"""What a decorator said about a cached function, and the key that one call of it has."""

from __future__ import annotations

import difflib
import inspect
import math
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from dbopt.cache.entries import ROWS
from dbopt.cache.keys import NO_TENANT, digest, encode_argument, encode_arguments, tenant_slug
from dbopt.cache.tokens import EPOCH, function_tag, own_tag, tenant_tag
from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, TenantRequiredError
from dbopt.tenancy import current_tenant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMMIT = "commit"
TTL = "ttl"

_LEVELS = (COMMIT, TTL)

_SHORTEST_SECONDS = 0.001

# So many tables may be read ahead with a value; a function that reads more learns the others as it runs.
_MAX_AHEAD = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where one call's result lies: its tenant, the digest of its arguments, and the tags it always depends on."""

    tenant: str
    call: str
    head: tuple[str, ...]


class Spec:
    """The options of one cached function, and the tables it read so far. Thread-safe."""

    def __init__(  # noqa: PLR0913 - what the decorator took, by keyword
        self,
        function: Callable[..., Any],
        *,
        timeout: float | str | None,
        name: str | None,
        level: str | None,
        tags: tuple[str, ...],
        version: int,
        shared: bool,
    ) -> None:
        self.path = f"{function.__module__}.{function.__qualname__}"
        self.name = name if name is not None else self.path
        self.tags = tags
        self.shared = shared
        self._function = function
        self._signature = inspect.signature(function)
        self._timeout = timeout
        self._level = level
        self._version = version
        self._ahead: tuple[str, ...] = ()
        self._check()

    def _check(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError(f"cached_query(name={self.name!r}) on {self.path}: a name is text, not empty.")
        if self._level is not None and self._level not in _LEVELS:
            raise ConfigurationError(
                f"cached_query(level={self._level!r}) on {self.path}: choose one of {', '.join(map(repr, _LEVELS))}."
            )
        if isinstance(self.tags, str) or not all(isinstance(tag, str) and tag for tag in self.tags):
            raise ConfigurationError(f"cached_query(tags={self.tags!r}) on {self.path}: tags are a list of text.")
        timeout = self._timeout
        if isinstance(timeout, (int, float)) and (
            isinstance(timeout, bool) or not _SHORTEST_SECONDS <= timeout < math.inf
        ):
            raise ConfigurationError(
                f"cached_query(timeout={timeout!r}) on {self.path}: give seconds, at least 0.001, or a name in TIMEOUTS."
            )

    @property
    def timeout(self) -> float:
        """Seconds that a result may live.

        Raises:
            ConfigurationError: the decorator names an entry that TIMEOUTS does not have.
        """
        section = dbopt_settings.cache
        if self._timeout is None:
            return section.timeout
        if not isinstance(self._timeout, str):
            return float(self._timeout)
        try:
            return section.timeouts[self._timeout]
        except KeyError:
            near = difflib.get_close_matches(self._timeout, section.timeouts, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"cached_query(timeout={self._timeout!r}) on {self.path}: "
                f'DBOPT["CACHE"]["TIMEOUTS"] has no such entry.{hint}'
            ) from None

    @property
    def level(self) -> str:
        """The consistency level: the decorator's, else that of the settings."""
        return self._level or dbopt_settings.cache.level

    @property
    def ahead(self) -> tuple[str, ...]:
        """Tags that earlier results depended on: their tokens are read together with the value."""
        return self._ahead

    def learn(self, tags: tuple[str, ...]) -> None:
        """Remember tags that a result depended on."""
        if not set(tags).issubset(self._ahead):
            # A new tuple each time: another thread may be reading the old one.
            self._ahead = tuple(dict.fromkeys((*self._ahead, *tags)))[:_MAX_AHEAD]

    def tenant(self) -> str | None:
        """Return the tenant part of keys; None when a tenant is needed and there is none.

        Raises:
            TenantRequiredError: there is none, and TENANCY requires one.
        """
        tenancy = dbopt_settings.tenancy
        if self.shared or tenancy.resolver is None:
            return NO_TENANT
        tenant = current_tenant()
        if tenant is not None:
            return tenant_slug(tenant)
        if tenancy.required:
            raise TenantRequiredError(
                f"{self.path} is cached for a tenant, and no tenant is set. Call it inside tenant_context(pk), "
                "or declare it with shared=True when its result belongs to no tenant."
            )
        return None

    def place(self, tenant: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Place:
        """Return where the result of a call lies.

        Raises:
            TypeError: the arguments do not fit the function.
            UncacheableArgumentError: an argument has no canonical form.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        # Translated texts and dates cut in the current time zone are part of a result.
        surroundings = (
            self.name,
            self._version,
            self.level,
            ROWS,
            self.tags,
            get_language(),
            get_current_timezone_name(),
        )
        data = encode_argument("settings", surroundings, function=self.path)
        data += encode_arguments(bound.arguments, function=self.path) + self._encode_closure()
        return Place(tenant, digest(data), self._head(tenant))

    def _head(self, tenant: str) -> tuple[str, ...]:
        of_tenant = () if tenant == NO_TENANT else (tenant_tag(tenant),)
        return (EPOCH, *of_tenant, function_tag(self.name), *map(own_tag, self.tags))

    def _encode_closure(self) -> bytes:
        """Two closures of one function are told apart by what they hold."""
        cells = self._function.__closure__ or ()
        held = dict(zip(self._function.__code__.co_freevars, cells, strict=True))
        return encode_arguments(
            {name: _closed_over(cell) for name, cell in held.items() if name != "__class__"}, function=self.path
        )


def _closed_over(cell: Any) -> object:
    try:
        value = cell.cell_contents
    except ValueError:
        return None
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, (types.FunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    return value
