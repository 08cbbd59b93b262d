"""What a scrape gets: the counted families, over all processes, and the figures that are made of them."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator

import django
from django.conf import settings
from django.db import connections
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

import dbopt
from dbopt.conf import dbopt_settings
from dbopt.metrics.registry import OPERATIONS
from dbopt.metrics.samples import sample_now
from dbopt.metrics.series import cache_children, graph_children, query_children
from dbopt.monitoring.cache_server import cache_size_bytes


def exposition(accept: str) -> tuple[bytes, str]:
    """Return the page and its content type.

    Args:
        accept: the request's header ``Accept``; Prometheus asks for OpenMetrics there.
    """
    prepare_known_series()
    sample_now()
    encode, content_type = choose_encoder(accept)
    return encode(_Snapshot(_collected())), content_type


def prepare_known_series() -> None:
    """Make the series whose labels the settings tell, at zero: ``increase()`` cannot see a first event otherwise."""
    for alias in connections:
        if "dummy" not in connections.settings[alias]["ENGINE"]:
            for operation in OPERATIONS:
                query_children(alias, operation)
    for graph in dbopt_settings.neo4j.values():
        for access in ("read", "write"):
            graph_children(graph.database, access)
    if dbopt_settings.cache.alias in settings.CACHES:
        cache_children(dbopt_settings.cache.alias, "other")


class _Snapshot:
    """Families that were collected once, in the shape of a registry."""

    def __init__(self, collected: list[Metric]) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        yield from self._collected


def _collected() -> list[Metric]:
    counted = list(_registry().collect())
    return [*counted, *_derived(counted)]


def _registry() -> CollectorRegistry:
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the client's own gap
    return registry


def _derived(counted: Iterable[Metric]) -> Iterator[Metric]:
    """Make ratios of the sums over all processes: a ratio of each process could not be added up."""
    hits, misses = (
        _sums(counted, "redis_cache_hits_total", "cache"),
        _sums(counted, "redis_cache_misses_total", "cache"),
    )
    yield _ratio("redis_cache_hit_rate", "Hits / (hits + misses) since the start.", "cache", hits, misses)
    found = _sums(counted, "dataloader_loads_total", "loader", result="hit")
    loaded = _sums(counted, "dataloader_loads_total", "loader", result="miss")
    yield _ratio("dataloader_cache_hit_rate", "Loads answered from the loader itself.", "loader", found, loaded)
    size = cache_size_bytes()
    if size is not None:
        family = GaugeMetricFamily("redis_cache_size_bytes", "Memory in use of the cache server.", labels=["cache"])
        family.add_metric([dbopt_settings.cache.alias], size)
        yield family
    build = GaugeMetricFamily("dbopt_build_info", "Versions, as labels.", labels=["version", "django", "python"])
    build.add_metric([dbopt.__version__, django.get_version(), platform.python_version()], 1)
    yield build


def _sums(counted: Iterable[Metric], sample_name: str, by: str, **wanted: str) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for family in counted:
        for sample in family.samples:
            if sample.name == sample_name and wanted.items() <= sample.labels.items():
                sums[sample.labels[by]] += sample.value
    return sums


def _ratio(name: str, text: str, label: str, part: dict[str, float], rest: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value in sorted({*part, *rest}):
        total = part.get(value, 0.0) + rest.get(value, 0.0)
        # Without traffic there is no rate, and zero would ring somebody's bell.
        if total:
            family.add_metric([value], part.get(value, 0.0) / total)
    return family
