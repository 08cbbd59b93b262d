"""Fixtures for the whole suite."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzzing import IS_REPEATABLE, examples

# A busy machine is no fault of the code: how long an example takes decides nothing.
settings.register_profile(
    "dbopt",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=IS_REPEATABLE,
    max_examples=examples(100),
)
settings.load_profile("dbopt")


def pytest_collection_modifyitems(config, items):
    """`long` tests run only when somebody asks for them."""
    if os.environ.get("DBOPT_TEST_LONG"):
        return
    chosen = [item for item in items if "long" not in item.keywords]
    if len(chosen) != len(items):
        config.hook.pytest_deselected(items=[item for item in items if "long" in item.keywords])
        items[:] = chosen


@pytest.fixture
def sample_data():
    """The folder with real data in the import format, where this machine has one."""
    folder = os.environ.get("DBOPT_SAMPLE_DATA")
    if not folder:
        pytest.skip("DBOPT_SAMPLE_DATA names no folder with sample data")
    return folder
