"""Tools for the tests of any project: real servers, and assertions about what databases do.

The names load on first use: the pytest plugin lives beside them and must import no Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbopt.testing import services
    from dbopt.testing.assertions import assert_uses_index
    from dbopt.testing.caching import cache_namespace, count_cache_operations

__all__ = ["assert_uses_index", "cache_namespace", "count_cache_operations", "services"]

_MODULES = {
    "assert_uses_index": "dbopt.testing.assertions",
    "cache_namespace": "dbopt.testing.caching",
    "count_cache_operations": "dbopt.testing.caching",
}


def __getattr__(name: str) -> object:
    if name == "services":
        return import_module("dbopt.testing.services")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
