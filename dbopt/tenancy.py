"""Who the current tenant is: a context variable, a middleware that sets it, a manager that filters by it.

A project's settings.py and models.py may import this module: it reads no settings and imports no models.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from functools import lru_cache, wraps
from inspect import iscoroutinefunction, isgeneratorfunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async
from asgiref.sync import iscoroutinefunction as is_marked_async
from django.db import models
from django.utils.module_loading import import_string

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, TenantRequiredError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

_tenant: ContextVar[Any] = ContextVar("dbopt_tenant", default=None)
M = TypeVar("M", bound=models.Model)
P = ParamSpec("P")
R = TypeVar("R")


def current_tenant() -> Any | None:
    """Return the primary key of the current tenant, or None.

    A new thread starts without a tenant. A new asyncio task starts with that of its creator and changes only its own;
    ``sync_to_async`` takes it along.
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
            "No tenant is set. In a request, dbopt.tenancy.TenantMiddleware sets it; "
            "in a command, task or thread use: with tenant_context(pk): ..."
        )
    return tenant


class tenant_context:  # noqa: N801 - reads like the function that it is used as
    """Make this the current tenant inside a block, or of a decorated function (plain or async).

    Blocks nest, and one object may be entered several times, also by several threads or tasks at once.

    Args:
        tenant: the tenant's primary key or a saved model instance; None: no tenant.

    Raises:
        TypeError: it decorates a generator function, whose body runs in its caller's contexts: use a block inside.
        ValueError: the model instance is not saved yet.
    """

    def __init__(self, tenant: Any | None) -> None:
        if isinstance(tenant, models.Model):
            if tenant.pk is None:
                raise ValueError(f"This {type(tenant).__name__} has no primary key yet. Save it first.")
            tenant = tenant.pk
        self._pk = tenant
        # Per context, so that threads and tasks that share the object leave only what they entered.
        self._entered: ContextVar[tuple[Token[Any], ...]] = ContextVar("dbopt_tenant_entered", default=())

    def __enter__(self) -> None:
        self._entered.set((*self._entered.get(), _tenant.set(self._pk)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        *outer, token = self._entered.get()
        self._entered.set(tuple(outer))
        _tenant.reset(token)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function."""
        if isgeneratorfunction(function):
            raise TypeError(
                f"tenant_context cannot decorate the generator function {function.__qualname__!r}. "
                "Put the with statement around what the generator reads."
            )
        pk = self._pk
        if iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with tenant_context(pk):
                    return await cast("Awaitable[Any]", function(*args, **kwargs))

            return cast("Callable[P, R]", run_async)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with tenant_context(pk):
                return function(*args, **kwargs)

        return run


@lru_cache(maxsize=8)
def _resolver(path: str) -> Callable[[HttpRequest], Any]:
    try:
        resolver = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f'DBOPT["TENANCY"]["RESOLVER"] names {path!r}, which cannot be imported: {error}. '
            "Name a function that takes the request and returns the tenant's primary key or None."
        ) from error
    if not callable(resolver):
        raise ConfigurationError(
            f'DBOPT["TENANCY"]["RESOLVER"] names {path!r}, which is {type(resolver).__name__}, not a function. '
            "Name a function that takes the request and returns the tenant's primary key or None."
        )
    return resolver  # type: ignore[no-any-return]


class TenantMiddleware:
    """Set the tenant that ``DBOPT["TENANCY"]["RESOLVER"]`` finds in the request, for as long as the view runs.

    Place it after AuthenticationMiddleware. The resolver, a plain or async function, takes the request and returns a
    primary key, a model instance or None. It may raise what views may raise: PermissionDenied becomes 403, Http404
    becomes 404, SuspiciousOperation becomes 400; any other error is a 500, and the view does not run.
    A streaming response is produced after the view: its generator must use ``tenant_context`` itself.

    Raises:
        ConfigurationError: at the first request, the resolver cannot be imported.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = is_marked_async(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request inside its tenant."""
        if self.is_async:
            return self._answer_async(request)
        with tenant_context(self._find(request)):
            return cast("HttpResponseBase", self.get_response(request))

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        path = dbopt_settings.tenancy.resolver
        resolver = _resolver(path) if path is not None else None
        if resolver is None:
            tenant = None
        elif iscoroutinefunction(resolver):
            tenant = await resolver(request)
        else:
            # A plain resolver may query, so it runs where Django's ORM may.
            tenant = await sync_to_async(resolver)(request)
        with tenant_context(tenant):
            return cast("HttpResponseBase", await self.get_response(request))

    @staticmethod
    def _find(request: HttpRequest) -> Any | None:
        path = dbopt_settings.tenancy.resolver
        if path is None:
            return None
        resolver = _resolver(path)
        if iscoroutinefunction(resolver):
            # Under WSGI an async resolver would hand out a coroutine as the tenant.
            return async_to_sync(resolver)(request)
        return resolver(request)


class TenantQuerySet(models.QuerySet[M], Generic[M]):
    """A queryset that can be narrowed to a tenant."""

    def of_tenant(self, tenant: Any, *, field: str = "tenant") -> TenantQuerySet[M]:
        """Keep the rows of this tenant."""
        return self.filter(**{field: tenant})


class TenantManager(models.Manager[M], Generic[M]):
    """A manager that shows only the current tenant's rows, as they are when the queryset is made.

    Opt-in, and never a model's base manager: Django follows relations and deletes through that one, unfiltered.
    Without a tenant it raises TenantRequiredError where ``DBOPT["TENANCY"]["REQUIRED"]`` is on, else it shows all rows.
    It filters what is read, updated and deleted; ``create()`` still takes the tenant from its arguments.

    Args:
        field: the model's field that holds the tenant; "tenant" unless told.
    """

    def __init__(self, field: str | None = None) -> None:
        super().__init__()
        # Not `field`: the managers of relations keep the relation's own field under that name.
        self._tenant_field = field

    @property
    def tenant_field(self) -> str:
        """The model's field that holds the tenant."""
        if self._tenant_field is not None:
            return self._tenant_field
        # Django makes the managers of relations from the class of the default manager, and drops its arguments.
        default = self.model._default_manager if self.model is not None else None  # noqa: SLF001 - Django's own name
        return getattr(default, "_tenant_field", None) or "tenant"

    def get_queryset(self) -> TenantQuerySet[M]:
        """Return the current tenant's rows."""
        if current_tenant() is None and not dbopt_settings.tenancy.required:
            return self.unscoped()
        return self.unscoped().of_tenant(require_tenant(), field=self.tenant_field)

    def unscoped(self) -> TenantQuerySet[M]:
        """Return the rows of all tenants: for maintenance, never for a request."""
        return TenantQuerySet(self.model, using=self._db, hints=self._hints)  # type: ignore[attr-defined]  # a gap of the stubs
