"""Who may read health reports and metrics: bearer tokens, networks, permissions; everybody else is refused."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Access(Enum):
    """The decision about a request; ``status`` is the HTTP status of a refusal, 200 for an admission."""

    TOKEN = "token"  # noqa: S105 - the name of a way in, not a secret
    NETWORK = "network"
    DEBUG = "debug"
    PERMISSION = "permission"
    HIDDEN = "hidden"
    FORBIDDEN = "forbidden"

    @property
    def is_granted(self) -> bool:
        """The request may be answered."""
        return self not in (Access.HIDDEN, Access.FORBIDDEN)

    @property
    def status(self) -> int:
        """404 for strangers, who learn nothing; 403 for users, who may ask for the permission."""
        return {Access.HIDDEN: 404, Access.FORBIDDEN: 403}.get(self, 200)


def decide(
    request: HttpRequest,
    *,
    tokens: Iterable[str] = (),
    networks: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    permission: str | None = None,
) -> Access:
    """Decide whether a request may read a protected report; denies by default.

    Tokens come from the Authorization header only, never from the address. Several tokens allow rotation.
    ``X-Forwarded-For`` counts only where the connection itself comes from a trusted proxy.
    With DEBUG on, loopback clients that come through no proxy need nothing.
    A permission counts for staff only.
    """
    if _has_token(request, tokens):
        return Access.TOKEN
    address = client_address(request, trusted_proxies=trusted_proxies)
    if address is not None and any(address in _network(network) for network in networks):
        return Access.NETWORK
    if settings.DEBUG and address is not None and address.is_loopback and not _is_forwarded(request):
        return Access.DEBUG
    user = getattr(request, "user", None) if permission is not None else None
    if user is None or not user.is_authenticated:
        return Access.HIDDEN
    is_staff = getattr(user, "is_staff", False)
    return Access.PERMISSION if is_staff and user.has_perm(permission) else Access.FORBIDDEN


def client_address(request: HttpRequest, *, trusted_proxies: Iterable[str] = ()) -> Address | None:
    """Return the address of the client: the right-most one that is not a trusted proxy; None when unreadable."""
    proxies = [_network(proxy) for proxy in trusted_proxies]
    address = _address(request.META.get("REMOTE_ADDR", ""))
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    while address is not None and hops and any(address in proxy for proxy in proxies):
        hop = hops.pop().strip()
        if not hop:
            break
        address = _address(hop)
    return address


def _is_forwarded(request: HttpRequest) -> bool:
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _has_token(request: HttpRequest, tokens: Iterable[str]) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        return False
    secret = given.strip().encode("utf-8", "surrogateescape")
    # All are compared, so that the time tells nothing about which one matched.
    matches = [hmac.compare_digest(secret, token.encode()) for token in tokens if token]
    return any(matches)


@lru_cache(maxsize=256)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 clients as ::ffff:10.0.0.1.
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
