"""The page for Prometheus."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from dbopt.conf import dbopt_settings
from dbopt.health.gate import judge_reader, refusal
from dbopt.health.views import endpoint
from dbopt.metrics.exposition import exposition


@endpoint
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all metrics of dbopt and of whatever else is in the registry (django-prometheus).

    Right with one process and, through ``PROMETHEUS_MULTIPROC_DIR``, with several.
    """
    # In the middleware there is no session yet; where the view is mounted in a URLconf, a user's permission counts.
    access = judge_reader(request, dbopt_settings.metrics)
    if not access.is_granted:
        return refusal(access)
    page, content_type = exposition(request.headers.get("Accept", ""))
    return HttpResponse(page, content_type=content_type)
