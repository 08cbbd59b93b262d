"""System checks of the cache: what the settings show, and (only with ``--deploy --database``) what its server says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name for it

from dbopt.cache.server.clients import build_client, key_namespace, uses_redis
from dbopt.conf import CacheSettings, dbopt_settings
from dbopt.exceptions import ConfigurationError, require_extra

if TYPE_CHECKING:
    from django.apps import AppConfig

SESSION_ENGINE = "dbopt.cache.sessions"

_LONG_SECONDS = 1.0


def check_cache(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The alias of ``DBOPT["CACHE"]`` is what the cache needs; asks no server."""
    section = _section()
    if section is None:
        return []
    if not uses_redis(section.alias):
        return _without_redis(section)
    return [*_decoded(section), *_slow(section)]


def check_cache_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """With ``check --deploy``: two deployments on one Redis must not share keys."""
    section = _section()
    if section is None or not uses_redis(section.alias) or key_namespace(section) != CacheSettings().prefix:
        return []
    return [
        Warning(
            f"The keys of cache {section.alias!r} begin with the default prefix {section.prefix!r} alone.",
            hint='Set KEY_PREFIX of the alias, or DBOPT["CACHE"]["PREFIX"], to a name for this deployment: two '
            "deployments that share a Redis would serve each other's results.",
            id="dbopt.W204",
        )
    ]


def check_cache_server(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """With ``check --deploy --database default``: the server has a limit of memory, and may evict when it is reached."""
    section = _section()
    if not databases or section is None or not uses_redis(section.alias):
        return []
    faults = require_extra("redis.exceptions", "redis")
    try:
        with closing(build_client(section)) as client:
            found = client.info("memory")
    except (faults.RedisError, faults.RedisClusterException, OSError) as error:
        return [
            Warning(
                f"The server of cache {section.alias!r} does not answer ({type(error).__name__}).",
                hint="Without it every answer comes from the database.",
                id="dbopt.W205",
            )
        ]
    # A cluster answers for each of its nodes.
    nodes = found.values() if all(isinstance(value, dict) for value in found.values()) else [found]
    return list({message.id: message for node in nodes for message in _memory(section, node)}.values())


def _section() -> CacheSettings | None:
    try:
        return dbopt_settings.cache
    except ConfigurationError:
        # Shown by the check of all settings.
        return None


def _without_redis(section: CacheSettings) -> list[CheckMessage]:
    configured: Mapping[str, Any] = getattr(settings, "DBOPT", {})
    needs_it = "CACHE" in configured or settings.SESSION_ENGINE == SESSION_ENGINE
    if not needs_it:
        return []
    return [
        Error(
            f'DBOPT["CACHE"]["ALIAS"] is {section.alias!r}, which is no cache on Redis.',
            hint='CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://..."}}',
            id="dbopt.E201",
        )
    ]


def _decoded(section: CacheSettings) -> list[CheckMessage]:
    options: dict[str, Any] = dict(settings.CACHES)[section.alias].get("OPTIONS", {})  # type: ignore[assignment]
    given = {**options, **options.get("CONNECTION_POOL_KWARGS", {})}
    if not given.get("decode_responses"):
        return []
    return [
        Warning(
            f"CACHES[{section.alias!r}] sets decode_responses, so what it stores itself cannot be read back.",
            hint="Remove it. dbopt's own connections do without it either way.",
            id="dbopt.W202",
        )
    ]


def _slow(section: CacheSettings) -> list[CheckMessage]:
    longest = max(section.connect_timeout, section.socket_timeout)
    if longest <= _LONG_SECONDS:
        return []
    return [
        Warning(
            f'DBOPT["CACHE"] waits up to {longest:g} s for the server.',
            hint="A server that hangs holds a request for so long before the database is asked; 0.1 to 0.2 s will do.",
            id="dbopt.W203",
        )
    ]


def _memory(section: CacheSettings, node: Mapping[str, Any]) -> list[CheckMessage]:
    policy = str(node.get("maxmemory_policy", ""))
    if not int(node.get("maxmemory", 0)):
        return [
            Warning(
                f"The server of cache {section.alias!r} has no limit of memory.",
                hint="Set maxmemory and a maxmemory-policy such as allkeys-lru: every key of dbopt may be evicted.",
                id="dbopt.W206",
            )
        ]
    if policy == "noeviction":
        return [
            Warning(
                f"The server of cache {section.alias!r} refuses writes when it is full (noeviction).",
                hint="Set maxmemory-policy to allkeys-lru or allkeys-lfu: every key of dbopt may be evicted.",
                id="dbopt.W207",
            )
        ]
    keeps_sessions = settings.SESSION_ENGINE == SESSION_ENGINE and section.session_write_behind is None
    if keeps_sessions and policy.startswith("allkeys-"):
        return [
            Warning(
                f"The server of cache {section.alias!r} evicts sessions when it is full ({policy}): users are logged out.",
                hint='Set DBOPT["CACHE"]["SESSION_WRITE_BEHIND"], so that sessions are in the database as well.',
                id="dbopt.W208",
            )
        ]
    return []
