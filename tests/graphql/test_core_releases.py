"""Our own tests of executor, loaders, relations, views and caches, with other releases of graphql-core than the installed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dbopt.testing.services.server import VARIABLES
from tests.graphql.core_releases import NEXT, OLDEST, package_of, version_in

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("postgres_server", "redis_server")]

ROOT = Path(__file__).parents[2]
TESTS = [
    *("test_executor", "test_executor_faults", "test_executor_fuzz", "test_resolvers", "test_promises", "test_loaders"),
    *("test_waits", "test_lists", "test_relations", "test_projection", "test_nodes", "test_connections", "test_audit"),
    *("test_views", "test_view_options", "test_documents"),
]
# An executor of 3.3 is built otherwise, holds variables otherwise, and is in cycles of its own.
NEXT_TESTS = [
    *("test_executor_memory", "test_view_statistics", "test_view_time_limit", "test_async_views", "test_persisted"),
    *("cache/test_response_cache", "cache/test_response_scopes", "cache/test_cached_fields", "cache/test_second_level"),
]
RELEASES = {
    OLDEST: (TESTS, set()),
    # In other words of graphql-core; that nothing is suggested is tested in core_next.
    NEXT: ([*TESTS, *NEXT_TESTS, "core_next"], {"test_suggestions_are_for_debugging[variables]"}),
}


@pytest.mark.parametrize("version", RELEASES)
def test_our_tests_pass_with_another_release_but_for_the_allowed_differences(version, tmp_path):
    names, allowed = RELEASES[version]
    files = [f"tests/graphql/{name}.py" for name in names]
    environment = _environment(package_of(version))
    assert version_in(environment) == version
    words = ["-q", "-p", "no:cacheprovider", "-o", "dbopt_services=postgres redis", "-m", "not long", "-k", "not grow"]
    words = [sys.executable, "-m", "pytest", *words, f"--junitxml={tmp_path / 'outcome.xml'}", *files]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (tmp_path / "outcome.xml").exists(), done.stdout + done.stderr
    cases = list(ElementTree.parse(tmp_path / "outcome.xml").iter("testcase"))
    failed = {case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None}
    assert failed == allowed, done.stdout[-20_000:]
    assert sum(len(case) == 0 for case in cases) > 400


def _environment(package):
    """Return an environment in which servers are started anew: those of this run hold its test databases."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DBOPT_", "PYTEST_"))}
    for name in VARIABLES.values():
        kept.pop(name, None)
    places = (package, ROOT, os.environ.get("PYTHONPATH", ""))
    return {**kept, "DBOPT_TEST_REQUIRE": "postgres,redis", "PYTHONPATH": os.pathsep.join(map(str, places))}
