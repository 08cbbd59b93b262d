"""graphql-core's own tests of its synchronous execution, run over our executor.

They come from its source distribution, fetched once by pip into a cache folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import graphql
import pytest

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
}
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dbopt" / "tests"


@pytest.fixture(scope="module")
def suite():
    """Return the folder of the unpacked distribution, with pytest-describe, which its tests need, beside it."""
    folder = CACHE / f"graphql-core-{graphql.__version__}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pip("download", "--no-binary", "graphql-core", "--dest", folder, f"graphql-core=={graphql.__version__}")
        pip("install", "--target", folder / "site", "pytest-describe")
        (archive,) = folder.glob("graphql*core-*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        (folder / "complete").touch()
    (unpacked,) = (path.parent for path in folder.glob("graphql*core-*/tests"))
    return unpacked


def pip(command, *arguments):
    words = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip {command} failed, is there a network? {done.stderr.strip().splitlines()[-1:]}")


def test_suite_of_graphql_core_passes_but_for_the_allowed_differences(suite, tmp_path):
    root = Path(__file__).parents[2]
    plugins = ["-p", "core_suite", *(f"-pno:{name}" for name in ("cacheprovider", "django", "dbopt"))]
    words = ["-c", os.devnull, "--rootdir", suite, *plugins, "-p", "no:randomly", "-q", "-W", "ignore"]
    # Older versions lack some of the files.
    there = [name for name in TESTS if (suite / name).exists()]
    # Its tests are a package named like ours, so the plugin must not be a part of one.
    shutil.copy(root / "tests" / "graphql" / "core_suite.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-m", "not asyncio", *there],
        cwd=suite,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                map(str, (root, tmp_path, suite.parent / "site", os.environ.get("PYTHONPATH", "")))
            ),
            "DBOPT_TEST_OUTCOME": str(tmp_path / "outcome"),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tmp_path / "outcome").exists(), done.stdout + done.stderr
    passed, *failed = (tmp_path / "outcome").read_text().splitlines()
    allowed = {name for name in ALLOWED if any(name in path.read_text() for path in suite.rglob("test_*.py"))}
    assert set(failed) == allowed, done.stdout[-5000:]
    assert int(passed) > 200
