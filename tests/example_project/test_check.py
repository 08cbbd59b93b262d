"""The example project has nothing that `dbopt_check` would tell: settings, bounds of lists, resolvers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("debug", ["0", "1"])
def test_example_project_is_clean(debug):
    environment = {**os.environ, "DEBUG": debug}
    environment.pop("DJANGO_SETTINGS_MODULE", None)

    done = subprocess.run(
        [sys.executable, "manage.py", "dbopt_check"],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.stdout.strip(), done.stderr.strip(), done.returncode) == ("Nothing found.", "", 0)
