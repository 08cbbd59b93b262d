"""One record a request; natively synchronous and asynchronous."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest

from dbopt.monitoring.n_plus_one import repetitions
from dbopt.monitoring.records import RequestRecord, track_request

if TYPE_CHECKING:
    from django.http.response import HttpResponseBase

# Which of the two comes back is settled once, when Django builds the chain.
Respond = Callable[[HttpRequest], Any]


class MonitoringMiddleware:
    """Count what each request asks of the databases.

    Place it outside all middleware that asks something (sessions, authentication).
    Staff, and everybody under DEBUG, see the sums in the header ``Server-Timing`` (a browser's network panel shows it).
    What a streaming response asks while it is sent is counted for the process, not for the request.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Respond) -> None:
        self._respond = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer the request, counting."""
        if self._is_async:
            return self._acall(request)
        with track_request(request=request) as record:
            response: HttpResponseBase = self._respond(request)
        _show(request, response, record)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        with track_request(request=request) as record:
            response: HttpResponseBase = await self._respond(request)
        _show(request, response, record)
        return response


def server_timing(record: RequestRecord) -> str:
    """Return the value of the header ``Server-Timing``: sums only, no statement."""
    repeated = len(repetitions(record))
    told = f"{record.statements} statements" + (f", {repeated} repeated" if repeated else "")
    parts = [f'db;dur={record.seconds * 1000:.1f};desc="{told}"']
    if record.cypher:
        parts.append(f'graph;dur={record.cypher_seconds * 1000:.1f};desc="{record.cypher} statements"')
    if record.hits or record.misses:
        parts.append(f'cache;desc="{record.hits} hits, {record.misses} misses"')
    if record.batches:
        parts.append(f'loaders;desc="{record.batches} batches, {record.loads} keys"')
    return ", ".join(parts)


def _show(request: HttpRequest, response: HttpResponseBase, record: RequestRecord) -> None:
    if settings.DEBUG or _is_staff(request):
        own = server_timing(record)
        response["Server-Timing"] = f"{response['Server-Timing']}, {own}" if "Server-Timing" in response else own


def _is_staff(request: HttpRequest) -> bool:
    # Only a user that somebody has loaded already: looking one up here would cost every request a statement.
    user = getattr(request, "_cached_user", None) or getattr(request, "_acached_user", None)
    return bool(user is not None and user.is_active and user.is_staff)
