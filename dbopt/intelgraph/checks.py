"""System checks of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections, router


def register_checks() -> None:
    """Register the checks; called once, when the apps are ready."""
    register(check_database, Tags.database)


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
