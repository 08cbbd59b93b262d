"""Releases of graphql-core beside the installed one: what pip fetches of them, once, into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

OLDEST, NEXT = "3.2.0", "3.3.2"
PYTEST_DESCRIBE = "pytest-describe==3.2.0"
# What builds a release, where today's refuses its metadata.
BUILT_BY = {OLDEST: "poetry-core<1.1"}

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbopt" / "tests"


def package_of(version):
    """Return a folder for PYTHONPATH that holds graphql-core in this version, and pytest-describe."""
    return _once(f"graphql-core-{version}-package", lambda folder: _install(folder, version))


def sources_of(version):
    """Return the folder of the unpacked source distribution, which holds graphql-core's own tests."""
    (tests,) = _once(f"graphql-core-{version}-sources", lambda folder: _unpack(folder, version)).glob("*/tests")
    return tests.parent


def _once(name, fill):
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=CACHE))
        try:
            fill(draft)
            # In one step: another process may be doing the same.
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _install(folder, version):
    _pip("install", "--target", folder, f"graphql-core=={version}", PYTEST_DESCRIBE)


def _unpack(folder, version):
    constraint = folder / "constraint.txt"
    constraint.write_text(BUILT_BY.get(version, ""))
    # pip before 25.3 knows the first name, later ones the second.
    names = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(constraint))
    _pip("download", "--no-binary", "graphql-core", "--dest", folder, f"graphql-core=={version}", **names)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def _pip(command, *arguments, **environment):
    words = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *map(str, arguments)]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"pip {command} failed, is there a network? {done.stderr.strip().splitlines()[-1:]}"
        if "packages" in os.environ.get("DBOPT_TEST_REQUIRE", "").split(","):
            pytest.fail(f"{reason}\n(DBOPT_TEST_REQUIRE wants packages.)", pytrace=False)
        pytest.skip(reason)


def version_in(environment):
    """Return the version of graphql-core that a Python with this environment imports."""
    words = [sys.executable, "-c", "import graphql; print(graphql.__version__)"]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()
