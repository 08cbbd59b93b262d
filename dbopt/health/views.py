"""The endpoints. None needs a session, a template or a pooled connection to answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from dbopt.conf import dbopt_settings
from dbopt.health import readiness
from dbopt.health.cache import cache_stats
from dbopt.health.gate import judge_reader, refusal
from dbopt.health.plain import as_lines
from dbopt.health.report import database_report
from dbopt.monitoring import reports
from dbopt.monitoring.aggregate import MAX_WINDOW

if TYPE_CHECKING:
    from dbopt.health.readiness import Verdict

View = Callable[[HttpRequest], HttpResponse]
_MAX_LIMIT = 1000


def endpoint(view: View) -> View:
    """Answer GET and HEAD only, and let nobody keep the answer."""

    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        response = view(request) if request.method in ("GET", "HEAD") else HttpResponseNotAllowed(["GET", "HEAD"])
        response["Cache-Control"] = "no-store"
        return response

    return answer


def protected(view: View) -> View:
    """Answer those whom ``DBOPT["HEALTH"]`` admits."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        access = judge_reader(request, dbopt_settings.health)
        return view(request) if access.is_granted else refusal(access)

    return answer


@endpoint
def live(request: HttpRequest) -> HttpResponse:
    """Answer: the process runs. Touches no server; a restart would mend none."""
    return respond(request, {"status": "pass"})


@endpoint
def startup(request: HttpRequest) -> HttpResponse:
    """Answer whether migrations are applied; asked until it passes once."""
    return _verdict(request, readiness.startup())


@endpoint
def ready(request: HttpRequest) -> HttpResponse:
    """Answer whether the process should get traffic; who is admitted sees each check."""
    return _verdict(request, readiness.readiness())


@endpoint
@protected
def database(request: HttpRequest) -> HttpResponse:
    """Answer with the full report."""
    verdict, report = database_report()
    return respond(request, report, status=verdict.http_status)


@endpoint
@protected
def slow_queries(request: HttpRequest) -> HttpResponse:
    """Answer with a list of the statements that were slow; ``?limit=&window=&sort=``."""
    try:
        rows = reports.slow_queries(
            _whole_number(request, "limit", 20, most=_MAX_LIMIT),
            window=_whole_number(request, "window", MAX_WINDOW, most=MAX_WINDOW),
            sort=_sort(request),
        )
    except ValueError as error:
        return respond(request, {"error": str(error)}, status=400)
    return respond(request, [row.as_dict() for row in rows])


@endpoint
@protected
def cache_statistics(request: HttpRequest) -> HttpResponse:
    """Answer with hits and misses of cached functions, in all and by prefix."""
    return respond(request, cache_stats())


def respond(request: HttpRequest, content: Any, *, status: int = 200) -> HttpResponse:
    """Return JSON, or lines of text for ``?format=text`` and ``Accept: text/plain``."""
    wants_text = request.GET.get("format") == "text" or request.headers.get("Accept", "") == "text/plain"
    if wants_text:
        return HttpResponse(as_lines(content), status=status, content_type="text/plain; charset=utf-8")
    # A list at the top is what was promised; it held no danger since browsers of 2011.
    return JsonResponse(content, status=status, safe=False)


def _verdict(request: HttpRequest, verdict: Verdict) -> HttpResponse:
    content: dict[str, Any] = {"status": verdict.status}
    # No session is opened for a probe: without token and network it gets the status alone.
    if judge_reader(request, dbopt_settings.health, by_session=False).is_granted:
        content["checks"] = {name: result.as_dict() for name, result in verdict.results.items()}
    return respond(request, content, status=verdict.http_status)


def _whole_number(request: HttpRequest, name: str, default: int, *, most: int) -> int:
    text = request.GET.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:10]) <= most):
        # The value is not repeated: it is anybody's text.
        raise ValueError(f"{name} must be a whole number from 1 to {most}.")
    return int(text)


def _sort(request: HttpRequest) -> str:
    sort = request.GET.get("sort", "total")
    if sort not in reports.SORTS:
        raise ValueError(f"sort must be one of {', '.join(reports.SORTS)}.")
    return sort
