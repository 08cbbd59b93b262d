"""Which tenant a request is for: the logged-in user's, chosen among that user's memberships only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.intelgraph.queries import members

if TYPE_CHECKING:
    from django.http import HttpRequest


def tenant_of_request(request: HttpRequest) -> int | None:
    """Return the primary key of the request's tenant, or None.

    A user of several tenants chooses one by the header ``X-Tenant`` (its slug); a slug that is not among the
    user's memberships gives None, exactly like no membership at all.
    """
    if not request.user.is_authenticated:
        return None
    memberships = members.of_user(request.user.pk)
    slug = request.headers.get("X-Tenant")
    if slug is not None:
        memberships = memberships.filter(tenant__slug=slug)
    return memberships.values_list("tenant_id", flat=True).first()
