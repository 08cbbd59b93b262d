"""The Redis client of the cache: the alias's address and credentials, with a pool and short time limits of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches

from dbopt.cache.server.cluster import Cluster
from dbopt.exceptions import ConfigurationError, require_extra

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from django.core.cache.backends.base import BaseCache

    from dbopt.cache.server.roads import Command, Network
    from dbopt.conf import CacheSettings

# Of one node, or given to the cluster's client by other means.
_NODE_OPTIONS = frozenset({"host", "port", "db", "path", "retry", "retry_on_error", "parser_class", "connection_pool"})

# What a connection of an event loop is told, beside options of TLS.
_ADDRESS = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "protocol", "client_name"}
    | {"socket_connect_timeout", "socket_keepalive"}
)

_BUILTIN_ONLY_OPTIONS = frozenset({"pool_class", "parser_class", "serializer"})


def build_client(section: CacheSettings) -> Any:
    """Return a client for ``CACHES[section.alias]``, of the whole cluster if it is one; ``close()`` closes its pool.

    That of a single server connects at its first command, that of a cluster at once.

    Raises:
        MissingExtraError: the redis client is not installed.
        ConfigurationError: the alias does not exist or is not on Redis.
    """
    pool = _bounded_pool(section)
    if uses_cluster(section):
        return _cluster_client(section, pool)
    client = require_extra("redis", "redis").Redis(connection_pool=pool)
    client.auto_close_connection_pool = True
    return client


def build_network(section: CacheSettings) -> Network:
    """Return where the connections of a :class:`Road` lead to. Raises as :func:`build_client`; connects nowhere."""
    pool = _bounded_pool(section)
    if uses_cluster(section):
        return Cluster(lambda: _cluster_client(section, pool))
    return OneServer(pool)


class OneServer:
    """The only place."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def by_place(self, keys: Sequence[str]) -> dict[Hashable, Sequence[int]]:
        """Return the positions of all keys under what stands for the server."""
        return {None: range(len(keys))}

    def new_connection(self, place: object, **options: Any) -> Any:
        """Return a connection that is not connected yet."""
        return self._pool.connection_class(**{**self._pool.connection_kwargs, **options})

    def new_async_connection(self) -> Any | None:
        """Return a connection for the running event loop, not connected yet; None where the client has no such kind."""
        module = require_extra("redis.asyncio.connection", "redis")
        kind = getattr(module, self._pool.connection_class.__name__, None)
        if kind is None:
            return None
        given = self._pool.connection_kwargs
        options = {name: value for name, value in given.items() if name in _ADDRESS or name.startswith("ssl_")}
        retry = require_extra("redis.asyncio.retry", "redis").Retry
        # Who uses it limits the time: the client does so by asyncio.wait_for(), which loses cancellations in Python 3.11.
        return kind(**options, socket_timeout=None, retry=retry(require_extra("redis.backoff", "redis").NoBackoff(), 0))

    def places(self) -> list[None]:
        """Return the only place."""
        return [None]

    def look_again(self) -> None:
        """Do nothing: it lies where it lies."""

    def redirected(self, command: Command, answer: Exception) -> Exception:
        """Return the answer as it is: a cluster that the settings do not call one."""
        return answer


def uses_cluster(section: CacheSettings) -> bool:
    """Tell whether the alias is a Redis Cluster: the settings say so, or django-redis is given a client for one."""
    if section.cluster:
        return True
    factory = getattr(getattr(caches[section.alias], "client", None), "connection_factory", None)
    client_class = getattr(factory, "redis_client_cls", None)
    return isinstance(client_class, type) and issubclass(
        client_class, require_extra("redis.cluster", "redis").RedisCluster
    )


def _bounded_pool(section: CacheSettings) -> Any:
    # First: where the client is missing, a cache on another backend is not what is wrong.
    require_extra("redis", "redis")
    pool = _pool(section.alias)
    pool.connection_kwargs.update(
        socket_connect_timeout=section.connect_timeout,
        socket_timeout=section.socket_timeout,
        # redis-py's own policy waits between attempts, which can hold a save() for twenty seconds.
        retry=_no_retry(),
        retry_on_error=[],
        decode_responses=False,
        # As the road packs its own commands.
        encoding="utf-8",
        encoding_errors="strict",
    )
    if hasattr(pool, "timeout"):
        pool.timeout = section.socket_timeout
    return pool


def _cluster_client(section: CacheSettings, pool: Any) -> Any:
    cluster = require_extra("redis.cluster", "redis")
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in _NODE_OPTIONS}
    if issubclass(pool.connection_class, require_extra("redis.connection", "redis").SSLConnection):
        options["ssl"] = True
    return cluster.RedisCluster(
        startup_nodes=[_node(location) for location in _locations(section.alias)],
        retry=_no_retry(),
        # A slot without a primary costs misses, and only those of its keys.
        require_full_coverage=False,
        **options,
    )


def _node(location: str) -> Any:
    found = urlsplit(location)
    return require_extra("redis.cluster", "redis").ClusterNode(found.hostname or "localhost", found.port or 6379)


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
    # Several addresses are a primary and its replicas, or nodes of a cluster; tokens must come from the primary.
    location = _locations(alias)[0]
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


def _locations(alias: str) -> list[str]:
    location = settings.CACHES[alias].get("LOCATION", "")
    given = [location] if isinstance(location, str) else list(location)
    return [part.strip() for several in given for part in re.split("[,;]", several)]


def _is_django_redis(backend: BaseCache) -> bool:
    return hasattr(getattr(backend, "client", None), "connection_factory")


def _is_builtin(backend: BaseCache) -> bool:
    # Not isinstance: importing Django's class is fine without redis, but its subclasses need not share a base.
    return any(f"{cls.__module__}.{cls.__qualname__}" == _BUILTIN for cls in type(backend).__mro__)


_BUILTIN = "django.core.cache.backends.redis.RedisCache"
