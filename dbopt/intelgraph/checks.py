"""System checks of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections, router

if TYPE_CHECKING:
    from django.apps import AppConfig


def register_checks() -> None:
    """Register the checks; called once, when the apps are ready."""
    register(check_database, Tags.database)
    register(check_apps, Tags.models)


def check_apps(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The operator classes of this app's indexes are known to Django only with its app for PostgreSQL."""
    if apps.is_installed("django.contrib.postgres"):
        return []
    return [
        Error(
            "dbopt.intelgraph needs django.contrib.postgres: without it migrate fails at an index.",
            hint='Add "django.contrib.postgres" to INSTALLED_APPS.',
            id="dbopt.E102",
        )
    ]


def check_database(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The tables of this app can only live in PostgreSQL."""
    return [
        Error(
            f"dbopt.intelgraph needs PostgreSQL, but the database {alias!r} is {connections[alias].vendor}.",
            hint="Remove dbopt.intelgraph from INSTALLED_APPS, or route it to a PostgreSQL database.",
            id="dbopt.E101",
        )
        for alias in databases or ()
        if connections[alias].vendor != "postgresql" and router.allow_migrate(alias, "intelgraph")
    ]
