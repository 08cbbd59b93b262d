"""`migrate` of the example project says what it does, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def manage(*arguments):
    """Run a command of the example project on the servers of this run; the cache's has no limit of memory."""
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    environment.update(
        {
            key: os.environ[f"DBOPT_TEST_{key}"]
            for key in ("DATABASE_URL", "REDIS_URL")
            if f"DBOPT_TEST_{key}" in os.environ
        }
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.usefixtures("postgres_server", "redis_server")
def test_migrate_prints_no_warning():
    """`--plan` runs the checks that migrate runs, and changes nothing."""
    done = manage("migrate", "--plan")

    assert (done.returncode, done.stderr) == (0, "")
    assert "WARNING" not in done.stdout.upper()


@pytest.mark.usefixtures("postgres_server", "redis_server")
def test_deployment_is_told_of_the_cache_server():
    done = manage("check", "--deploy", "--database", "default")

    assert "(dbopt.W206) The server of cache 'default' has no limit of memory." in done.stderr
