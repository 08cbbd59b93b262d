"""The pytest plugin: real servers for a project that asks for them with the ini option `dbopt_services`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini("dbopt_services", "servers to start for the tests: postgres, redis, neo4j", type="args", default=[])
