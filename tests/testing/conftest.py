"""Processes that start servers of their own, in a temporary folder of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "dbopt.testing.services", "run"]


@pytest.fixture(scope="session")
def services_tmp():
    """Temporary folder for servers that other users can pass through, shared so that binaries are copied once."""
    folder = Path(tempfile.mkdtemp(prefix="dbopt-tests-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def clean_environment(services_tmp):
    """The environment of a user who has set nothing."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DBOPT_", "PYTEST_", "COV_"))}
    for name in ("DATABASE_URL", "REDIS_URL", "NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD", "DJANGO_SETTINGS_MODULE"):
        kept.pop(name, None)
    return {**kept, "TMPDIR": str(services_tmp), "PYTHONPATH": str(ROOT)}


@pytest.fixture
def own_root(services_tmp, monkeypatch):
    """Servers that this very process starts live in the tests' temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(services_tmp))
    for name in [key for key in os.environ if key.startswith("DBOPT_")]:
        monkeypatch.delenv(name)
    return services_tmp / f"dbopt-services-{os.geteuid()}"


class Owner:
    """A process that owns servers, and what its command wrote about them."""

    def __init__(self, process, facts):
        self.process = process
        self._facts = facts

    def facts(self):
        wait_until(self._facts.exists, what="the command to run")
        return dict(line.split("=", 1) for line in self._facts.read_text().splitlines() if "=" in line)

    def ports(self):
        facts = self.facts()
        return [port_of(facts[name]) for name in ("DATABASE_URL", "REDIS_URL", "NEO4J_URI") if name in facts]


@pytest.fixture
def owner(clean_environment, tmp_path):
    """Start `run` with a command that writes down its environment and then waits."""
    started = []

    def start(*options, then="exec sleep 600", environment=None):
        facts = tmp_path / f"facts-{len(started)}"
        script = f"echo pid=$$ > {facts}.draft; env >> {facts}.draft; mv {facts}.draft {facts}; {then}"
        process = subprocess.Popen(
            [*COMMAND, *options, "--", "sh", "-c", script],
            env={**clean_environment, **(environment or {})},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it only resets a signal
        )
        started.append(process)
        return Owner(process, facts)

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def heed_ctrl_c():
    """A suite that a shell runs in the background inherits an ignored SIGINT, and hands it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def port_of(url):
    return int(url.split("127.0.0.1:")[1].split("/")[0])


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, *, what, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def run_folders(services_tmp):
    runs = services_tmp / f"dbopt-services-{os.geteuid()}" / "runs"
    return sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
