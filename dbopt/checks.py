"""System checks: settings that are wrong, graph declarations that contradict each other, an unfit cache, orders without an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, Tags, register

from dbopt.cache.checks import check_cache, check_cache_deployment, check_cache_server
from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError
from dbopt.neo4j.schema.conflicts import check_graph_schemas
from dbopt.pagination.checks import check_declared_orders

if TYPE_CHECKING:
    from django.apps import AppConfig


def register_checks() -> None:
    """Register every check of dbopt; called once, when the apps are ready."""
    register(check_settings, "dbopt")
    register(check_graph_schemas, "dbopt")
    register(check_cache, "dbopt", Tags.caches)
    register(check_cache_deployment, "dbopt", Tags.caches, deploy=True)
    # Each `migrate` runs the checks of databases; what it cannot change and nobody reads there is for deployments.
    register(check_cache_server, Tags.database, deploy=True)
    register(check_declared_orders, "dbopt", Tags.models)


def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """DBOPT can be read: no unknown key, no value of the wrong type."""
    try:
        dbopt_settings.reload()
        dbopt_settings.load()
    except ConfigurationError as error:
        return [Error(str(error), hint="See docs/settings.md for all keys.", id="dbopt.E001")]
    return []
