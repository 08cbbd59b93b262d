"""The Django app of the bundled domain."""

from __future__ import annotations

from django.apps import AppConfig


class IntelGraphConfig(AppConfig):
    """Entities, relationships and investigations; needs PostgreSQL."""

    name = "dbopt.intelgraph"
    label = "intelgraph"
    verbose_name = "Intelligence graph"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the check that the database is PostgreSQL."""
        from dbopt.intelgraph import checks

        checks.register_checks()
