"""graphql-core's own tests of its synchronous execution, run over our executor, for each release that differs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import graphql
import pytest

from tests.graphql.core_releases import NEXT, OLDEST, package_of, sources_of, version_in

pytestmark = pytest.mark.long

TESTS = [
    "tests/execution",
    "tests/test_star_wars_query.py",
    "tests/test_star_wars_introspection.py",
    "tests/test_user_registry.py",
    "tests/test_too_deeply_nested_documents.py",
    "tests/utilities/test_introspection_from_schema.py",
    "tests/type/test_introspection.py",
    "tests/type/test_enum.py",
]
ALLOWED = {
    # `info` is compared as a tuple with a Path in it; ours is built when it is read.
    "provides_info_about_current_execution_state",
    # Awaitables are errors of their fields, so that the result is never one itself.
    "handles_sync_errors_combined_with_async_ones",
    "throws_if_encountering_async_execution_with_check_sync_without_loop",
    "throws_if_encountering_async_operation_with_check_sync_without_loop",
    # Working in breadth meets no RecursionError where graphql-core does.
    "reports_a_too_deep_chain_inside_a_field_as_a_field_error",
    "execute_does_not_keep_the_frames_of_the_recursion_alive",
    # Nothing is deferred, so nothing is wrong with asking for it.
    "rejects_defer_on_subscription_root_fields",
    "rejects_defer_on_subscription_subfields",
}
# Fragments with variables of their own are an experiment of 3.3's parser: our executor refuses them.
OF_FRAGMENT_VARIABLES = {
    "allows_custom_scalars_with_embedded_fragment_variables",
    "allows_custom_scalars_with_embedded_nested_fragment_variables",
    "when_a_default_is_not_provided_and_spreads_another_fragment",
    "when_a_fragment_is_used_with_different_args",
    "when_a_fragment_variable_is_shadowed_but_defined_in_op_variables",
    "when_a_nullable_argument_with_field_default_is_shadowed",
    "when_a_nullable_argument_without_field_default_is_shadowed",
    "when_a_value_is_required_and_provided",
    "when_an_argument_is_shadowed_by_an_operation_variable",
    "when_argument_passed_in_as_list",
    "when_argument_passed_to_a_directive",
    "when_argument_passed_to_a_directive_on_a_nested_field",
    "when_argument_variables_are_used_recursively",
    "when_same_name_argument_variables_used_directly_and_recursively",
    "when_the_argument_variable_is_nested_in_a_complex_type",
    "when_the_definition_has_a_default_and_is_not_provided",
    "when_the_definition_has_a_default_and_is_provided",
    "when_the_definition_has_no_default_and_is_not_provided",
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", [OLDEST, graphql.__version__, NEXT])
def test_suite_of_graphql_core_passes_but_for_the_allowed_differences(version, tmp_path):
    suite = sources_of(version)
    plugins = ["-p", "core_suite", *(f"-pno:{name}" for name in ("cacheprovider", "django", "dbopt"))]
    words = ["-c", os.devnull, "--rootdir", suite, *plugins, "-p", "no:randomly", "-q", "-W", "ignore"]
    # Not every version has all of the files.
    there = [name for name in TESTS if (suite / name).exists()]
    # Its tests are a package named like ours, so the plugin must not be a part of one.
    shutil.copy(ROOT / "tests" / "graphql" / "core_suite.py", tmp_path)
    places = (package_of(version), ROOT, tmp_path, os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        "DBOPT_TEST_OUTCOME": str(tmp_path / "outcome"),
    }
    assert version_in(environment) == version
    words = [sys.executable, "-m", "pytest", *words, *there]
    done = subprocess.run(words, cwd=suite, env=environment, capture_output=True, text=True, check=False)

    assert (tmp_path / "outcome").exists(), done.stdout + done.stderr
    passed, *failed = (tmp_path / "outcome").read_text().splitlines()
    known = "\n".join(path.read_text() for name in there for path in _modules(suite / name))
    allowed = {name for name in ALLOWED | OF_FRAGMENT_VARIABLES if f"def {name}(" in known}
    assert set(failed) == allowed, done.stdout[-5000:]
    assert int(passed) > 200


def _modules(path):
    return path.rglob("test_*.py") if path.is_dir() else [path]
