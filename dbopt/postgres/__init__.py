"""PostgreSQL: a sound configuration. Imports neither models nor settings, so that settings.py may import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.postgres.database_config import optimized_database_config as optimized_database_config

__all__ = ["optimized_database_config"]

__getattr__ = lazy_exports(__name__, {"optimized_database_config": "database_config"}, extra="postgres")
