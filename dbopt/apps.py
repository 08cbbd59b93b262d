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

        checks.register_checks()
        if find_spec("redis") is not None and find_spec("dbopt.cache.observer") is not None:
            from dbopt.cache import observer

            observer.install()
        # After the cache: both insert themselves first, and the tracker must be the outermost.
        if find_spec("dbopt.monitoring.tracker") is not None:
            from dbopt.monitoring import tracker

            tracker.install()
        if find_spec("prometheus_client") is not None and find_spec("dbopt.metrics.receivers") is not None:
            from dbopt.metrics import receivers

            receivers.install()
