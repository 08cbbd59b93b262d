"""dbopt starts without any optional client, and names the extra at first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_project_without_extras_starts_and_names_the_extra_at_first_use():
    script = Path(__file__).with_name("bare_project.py")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), "--hide"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(script.parents[2]), "PATH": ""},
        check=False,
    )

    assert done.stderr == ""
    assert "bare project: ok" in done.stdout
