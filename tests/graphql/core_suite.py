"""A pytest plugin for graphql-core's own tests: dbopt's executor is the default, and what fails is written down."""

from __future__ import annotations

import os
import sys
from inspect import iscoroutinefunction
from pathlib import Path

import graphql  # noqa: F401  # loads the module below
from django.conf import settings

from dbopt.graphql.execution.executor import DboptExecutionContext

settings.configure()

# The package's attribute of this name is the function; the module is found here only.
execute = sys.modules["graphql.execution.execute"]
for name in ("ExecutionContext", "IncrementalExecutor"):
    if hasattr(execute, name):
        setattr(execute, name, DboptExecutionContext)

failed, passed = [], []


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not iscoroutinefunction(item.obj)]


def pytest_runtest_logreport(report):
    if report.failed:
        failed.append(report.nodeid)
    elif report.when == "call" and report.passed:
        passed.append(report.nodeid)


def pytest_sessionfinish():
    outcome = "\n".join([str(len(passed)), *(name.rpartition("::")[2] for name in failed)])
    Path(os.environ["DBOPT_TEST_OUTCOME"]).write_text(outcome)
