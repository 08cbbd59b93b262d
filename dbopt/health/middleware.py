"""Answers probes before anything else can: host checks, redirects, sessions, tenants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse

from dbopt.conf import dbopt_settings
from dbopt.health import views

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

# Which of the two comes back is settled once, when Django builds the chain.
Respond = Callable[[HttpRequest], Any]
_PROBES = {"live": views.live, "startup": views.startup, "ready": views.ready}


class HealthMiddleware:
    """Answer ``live``, ``startup`` and ``ready`` below ``DBOPT["HEALTH"]["PREFIX"]``, and ``DBOPT["METRICS"]["PATH"]``.

    Place it first. A probe comes with a pod's address as its host, over plain HTTP: ALLOWED_HOSTS would answer 400
    and SECURE_SSL_REDIRECT 301, and the orchestrator would restart a healthy process.
    All with and without a slash at the end.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Respond) -> None:
        self._respond = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer a probe, or pass the request on."""
        view = view_of(request.path_info)
        if self._is_async:
            return self._acall(request, view)
        response: HttpResponseBase = self._respond(request) if view is None else view(request)
        return response

    async def _acall(self, request: HttpRequest, view: views.View | None) -> HttpResponseBase:
        if view is None:
            response: HttpResponseBase = await self._respond(request)
            return response
        if view is views.live:
            return view(request)
        # Not the one thread that all synchronous code of the request shares: a probe may wait for its deadline.
        return await sync_to_async(view, thread_sensitive=False)(request)


def view_of(path: str) -> Callable[[HttpRequest], HttpResponse] | None:
    """Return what answers a path here, or None."""
    path = path.rstrip("/")
    if path == dbopt_settings.metrics.path.rstrip("/"):
        return _metrics_view()
    head, _, name = path.rpartition("/")
    return _PROBES.get(name) if head == dbopt_settings.health.prefix.rstrip("/") else None


def _metrics_view() -> Callable[[HttpRequest], HttpResponse] | None:
    if find_spec("prometheus_client") is None:
        return None
    from dbopt.metrics.views import metrics

    return metrics
