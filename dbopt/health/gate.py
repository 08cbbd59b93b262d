"""Who may read reports: the bearer of a token, a network, or a user with the permission."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from dbopt.access import Access, decide
from dbopt.conf import HealthSettings, MetricsSettings, dbopt_settings


def judge_reader(request: HttpRequest, options: HealthSettings | MetricsSettings, *, by_session: bool = True) -> Access:
    """Decide by the section's TOKENS and NETWORKS, then by the permission of ``DBOPT["DASHBOARD"]``.

    Proxies are trusted as ``DBOPT["HEALTH"]["TRUSTED_PROXIES"]`` says.
    With `by_session` false no user is looked at, which could ask the database.
    """
    return decide(
        request,
        tokens=options.tokens,
        networks=options.networks,
        trusted_proxies=dbopt_settings.health.trusted_proxies,
        permission=dbopt_settings.dashboard.permission if by_session else None,
    )


def refusal(access: Access) -> HttpResponse:
    """Return the answer to those who may not read: it says nothing, not even what there is."""
    return HttpResponse(status=access.status)
