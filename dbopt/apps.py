"""The Django app: connects the observers, opens nothing."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import AppConfig


class DboptConfig(AppConfig):
    """Fast, correct and visible databases."""

    name = "dbopt"
    label = "dbopt"
    verbose_name = "Database optimisation"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks and observers; nothing here connects to a server."""
        from dbopt import checks
        from dbopt.monitoring import tracker

        checks.register_checks()
        tracker.install()
        # The observer of the cache comes second: monitoring stays outermost and counts what the cache asks, too.
        if find_spec("redis") is not None:
            from dbopt.cache.observation import observer
            from dbopt.cache.values import copies

            observer.install()
            copies.install()
        if find_spec("prometheus_client") is not None:
            from dbopt.metrics import receivers

            receivers.install()
