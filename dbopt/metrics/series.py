"""The series of the families, by label. They are kept, because looking one up costs as much as counting."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dbopt.conf import dbopt_settings
from dbopt.metrics.names import OTHER, CappedNames
from dbopt.metrics.registry import OPERATIONS, families

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

MAX_PREFIXES = 50
MAX_LOADERS = 200
MAX_ROUTES = 200
_prefixes = CappedNames(MAX_PREFIXES)
_loaders = CappedNames(MAX_LOADERS)
_routes = CappedNames(MAX_ROUTES)


class QueryChildren(NamedTuple):
    """The series of one alias and operation."""

    duration: Histogram
    total: Counter
    errors: Counter
    slow: Counter


@lru_cache(maxsize=1024)
def query_children(alias: str, operation: str) -> QueryChildren:
    """Return the series of an alias and operation, all of them, so that none is missing until its first event."""
    made, labels = families(), (alias, operation if operation in OPERATIONS else OTHER)
    return QueryChildren(
        made.query_duration.labels(*labels),
        made.query_total.labels(*labels),
        made.query_errors.labels(*labels),
        made.query_slow.labels(*labels),
    )


class GraphChildren(NamedTuple):
    """The series of one graph database and kind of access."""

    duration: Histogram
    passed: Counter
    failed: Counter
    slow: Counter


@lru_cache(maxsize=256)
def graph_children(database: str, access: str) -> GraphChildren:
    """Return the series of a graph database and an access (``read`` or ``write``)."""
    made = families()
    return GraphChildren(
        made.neo4j_duration.labels(database, access),
        made.neo4j_total.labels(database, access, "ok"),
        made.neo4j_total.labels(database, access, "error"),
        made.neo4j_slow.labels(database, access),
    )


class CacheChildren(NamedTuple):
    """The series of one prefix."""

    hits: Counter
    misses: Counter
    sets: Counter


@lru_cache(maxsize=1024)
def cache_children(alias: str, prefix: str) -> CacheChildren:
    """Return the series of a cache alias and prefix."""
    made, labels = families(), (alias, prefix)
    return CacheChildren(
        made.cache_hits.labels(*labels), made.cache_misses.labels(*labels), made.cache_sets.labels(*labels)
    )


def prefix_children(prefix: str) -> CacheChildren:
    """Return the series of a prefix of the project's cache alias; those beyond ``MAX_PREFIXES`` share one."""
    return cache_children(dbopt_settings.cache.alias, _prefixes.admit(prefix))


def loader_label(name: str) -> str:
    """Return a loader's label; those beyond ``MAX_LOADERS`` share one."""
    return _loaders.admit(name)


def route_label(route: str) -> str:
    """Return a route's label; those beyond ``MAX_ROUTES`` share one."""
    return _routes.admit(route)
