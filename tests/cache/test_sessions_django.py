"""The session tests of Django's own source distribution pass over the backend.

The distribution is fetched by pip, once, into the user's cache folder; without network the tests are skipped.
"""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
import tarfile
import unittest
from pathlib import Path

import django
import pytest
from django.test import SimpleTestCase, TestCase, override_settings

from dbopt.cache.sessions import SessionStore
from dbopt.cache.sessions import rows as session_rows
from tests.cache.visits import _sessions, dbopt_with  # noqa: F401 - a fixture

MEMBER = "tests/sessions_tests/tests.py"


def distribution():
    """Django's source distribution, of the version that is installed."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "dbopt" / "sources"
    name = f"[Dd]jango-{django.__version__}.tar.gz"
    if not list(folder.glob(name)):
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--quiet",
            "--retries",
            "1",
        ]
        try:
            done = subprocess.run(
                [*fetch, "--dest", folder, f"django=={django.__version__}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("pip did not bring Django's source distribution within 300 s")
        if done.returncode:
            pytest.skip(f"pip cannot bring Django's source distribution: {done.stderr.strip().splitlines()[-1:]}")
    return next(folder.glob(name))


@pytest.fixture(scope="module")
def mixin():
    """Django's SessionTestsMixin; the rest of its module needs an app of Django's own test-suite."""
    with tarfile.open(distribution()) as archive:
        member = next(name for name in archive.getnames() if name.endswith(MEMBER))
        source = io.TextIOWrapper(archive.extractfile(member), "utf-8").read()
    tree = ast.parse(source)
    tree.body = [
        node
        for node in tree.body
        if isinstance(node, ast.Import)
        or (isinstance(node, ast.ImportFrom) and not node.level)
        or getattr(node, "name", None) == "SessionTestsMixin"
    ]
    names = {"__name__": "django_sessions_tests"}
    exec(compile(tree, member, "exec"), names)
    return names["SessionTestsMixin"]


def run(mixin, base):
    cls = type("DboptSessionTests", (mixin, base), {"backend": SessionStore, "__module__": __name__})
    out = io.StringIO()
    result = unittest.TextTestRunner(stream=out).run(unittest.defaultTestLoader.loadTestsFromTestCase(cls))
    assert result.wasSuccessful(), out.getvalue()
    assert not result.skipped
    assert result.testsRun == len([name for name in dir(mixin) if name.startswith("test")]) > 60


def test_djangos_tests_pass(mixin):
    run(mixin, SimpleTestCase)


@pytest.mark.django_db
def test_djangos_tests_pass_with_rows_in_the_database(mixin):
    with override_settings(DBOPT=dbopt_with(SESSION_WRITE_BEHIND=60)):
        run(mixin, TestCase)
        session_rows.write_now()
