"""The Redis client of the cache: the alias's address and credentials, with a pool and short time limits of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches

from dbopt.exceptions import ConfigurationError, require_extra

if TYPE_CHECKING:
    import redis
    from django.core.cache.backends.base import BaseCache

    from dbopt.conf import CacheSettings

_BUILTIN_ONLY_OPTIONS = frozenset({"pool_class", "parser_class", "serializer"})


def build_client(section: CacheSettings) -> redis.Redis:
    """Return a client for ``CACHES[section.alias]``; connects at its first command.

    Raises:
        MissingExtraError: the redis client is not installed.
        ConfigurationError: the alias does not exist or is not on Redis.
    """
    client_module = require_extra("redis", "redis")
    pool = _pool(section.alias)
    pool.connection_kwargs.update(
        socket_connect_timeout=section.connect_timeout,
        socket_timeout=section.socket_timeout,
        # redis-py's own policy waits between attempts, which can hold a save() for twenty seconds.
        retry=_no_retry(),
        retry_on_error=[],
        decode_responses=False,
    )
    if hasattr(pool, "timeout"):
        pool.timeout = section.socket_timeout
    client: redis.Redis = client_module.Redis(connection_pool=pool)
    return client


def uses_redis(alias: str) -> bool:
    """Tell whether ``CACHES[alias]`` is a cache on Redis."""
    try:
        backend = caches[alias]
    except (InvalidCacheBackendError, ImportError):
        return False
    return _is_django_redis(backend) or _is_builtin(backend)


def key_namespace(section: CacheSettings) -> str:
    """Return what all keys begin with: the alias's KEY_PREFIX, if any, then the section's prefix."""
    prefix = settings.CACHES.get(section.alias, {}).get("KEY_PREFIX", "")
    return f"{prefix}:{section.prefix}" if prefix else section.prefix


def _no_retry() -> Any:
    backoff = require_extra("redis.backoff", "redis")
    return require_extra("redis.retry", "redis").Retry(backoff.NoBackoff(), 0)


def _pool(alias: str) -> Any:
    try:
        backend = caches[alias]
    except InvalidCacheBackendError as error:
        raise ConfigurationError(
            f'DBOPT["CACHE"]["ALIAS"] is {alias!r}, which is not in CACHES. Name an alias on Redis.'
        ) from error
    location = _location(alias)
    if _is_django_redis(backend):
        # The factory's own get_connection_pool: a new pool, not the one that the alias shares.
        factory = backend.client.connection_factory  # type: ignore[attr-defined]  # django-redis has no stubs
        return factory.get_connection_pool(factory.make_connection_params(location))
    if _is_builtin(backend):
        given: Any = settings.CACHES[alias].get("OPTIONS", {})
        options = {name: value for name, value in given.items() if name not in _BUILTIN_ONLY_OPTIONS}
        return require_extra("redis", "redis").ConnectionPool.from_url(location, **options)
    raise ConfigurationError(
        f"CACHES[{alias!r}] is {type(backend).__module__}.{type(backend).__qualname__}, which is not on Redis. "
        'Use django_redis.cache.RedisCache, or name another alias in DBOPT["CACHE"]["ALIAS"].'
    )


def _location(alias: str) -> str:
    location = settings.CACHES[alias].get("LOCATION", "")
    first = location if isinstance(location, str) else next(iter(location), "")
    # Several addresses are a primary and its replicas; tokens must come from the primary.
    return first.split(",")[0].strip()


def _is_django_redis(backend: BaseCache) -> bool:
    return hasattr(getattr(backend, "client", None), "connection_factory")


def _is_builtin(backend: BaseCache) -> bool:
    # Not isinstance: importing Django's class is fine without redis, but its subclasses need not share a base.
    return any(f"{cls.__module__}.{cls.__qualname__}" == _BUILTIN for cls in type(backend).__mro__)


_BUILTIN = "django.core.cache.backends.redis.RedisCache"
