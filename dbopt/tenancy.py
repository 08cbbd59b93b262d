"""Who the current tenant is: a context variable, a middleware that sets it, a manager that filters by it.

A project's settings.py and models.py may import this module: it imports neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.db import models
from django.utils.module_loading import import_string

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, TenantRequiredError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

_tenant: ContextVar[Any] = ContextVar("dbopt_tenant", default=None)
M = TypeVar("M", bound=models.Model)


def current_tenant() -> Any | None:
    """Return the primary key of the current tenant, or None.

    Threads start without a tenant; asyncio tasks inherit the one of their creator and change only their own.
    """
    return _tenant.get()


def require_tenant() -> Any:
    """Return the primary key of the current tenant.

    Raises:
        TenantRequiredError: there is none.
    """
    tenant = _tenant.get()
    if tenant is None:
        raise TenantRequiredError(
            "No tenant is set. In a request the TenantMiddleware sets it; elsewhere use: with tenant_context(pk): ..."
        )
    return tenant


@contextmanager
def tenant_context(tenant: Any | None) -> Iterator[None]:
    """Make this the current tenant inside the block, or inside a decorated function; None: no tenant.

    Args:
        tenant: the tenant's primary key, or a saved model instance.
    """
    token = _tenant.set(tenant.pk if isinstance(tenant, models.Model) else tenant)
    try:
        yield
    finally:
        _tenant.reset(token)


@lru_cache(maxsize=8)
def _resolver(path: str) -> Callable[[HttpRequest], Any]:
    try:
        resolver = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f'DBOPT["TENANCY"]["RESOLVER"] names {path!r}, which cannot be imported.') from error
    if not callable(resolver):
        raise ConfigurationError(f'DBOPT["TENANCY"]["RESOLVER"] names {path!r}, which is not a function.')
    return resolver  # type: ignore[no-any-return]


class TenantMiddleware:
    """Set the tenant that ``DBOPT["TENANCY"]["RESOLVER"]`` finds in the request, for as long as the view runs.

    Place it after AuthenticationMiddleware. The resolver takes the request and returns a primary key or None;
    what it raises is the request's error. Sync and async.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request inside its tenant."""
        if self.is_async:
            return self._answer_async(request)
        with tenant_context(self._find(request)):
            return self.get_response(request)  # type: ignore[no-any-return]

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        path = dbopt_settings.tenancy.resolver
        if path is None:
            tenant = None
        else:
            resolver = _resolver(path)
            # A plain resolver may query, so it runs where Django's ORM may.
            tenant = await (resolver(request) if iscoroutinefunction(resolver) else sync_to_async(resolver)(request))
        with tenant_context(tenant):
            return await self.get_response(request)  # type: ignore[no-any-return]

    @staticmethod
    def _find(request: HttpRequest) -> Any | None:
        path = dbopt_settings.tenancy.resolver
        return None if path is None else _resolver(path)(request)


class TenantQuerySet(models.QuerySet[M], Generic[M]):
    """A queryset that can be narrowed to a tenant."""

    def of_tenant(self, tenant: Any, *, field: str = "tenant") -> TenantQuerySet[M]:
        """Keep the rows of this tenant."""
        return self.filter(**{field: tenant})


class TenantManager(models.Manager[M], Generic[M]):
    """A manager that shows only the current tenant's rows; opt-in, never a model's base manager.

    Without a tenant it raises TenantRequiredError where ``DBOPT["TENANCY"]["REQUIRED"]`` is on, else it shows all.

    Args:
        field: the model's field that holds the tenant.
    """

    def __init__(self, field: str = "tenant") -> None:
        super().__init__()
        self.field = field

    def get_queryset(self) -> TenantQuerySet[M]:
        """Return the current tenant's rows."""
        if current_tenant() is None and not dbopt_settings.tenancy.required:
            return self.unscoped()
        return self.unscoped().of_tenant(require_tenant(), field=self.field)

    def unscoped(self) -> TenantQuerySet[M]:
        """Return the rows of all tenants: for maintenance, never for a request."""
        return TenantQuerySet(self.model, using=self._db)
