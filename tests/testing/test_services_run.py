"""`python -m dbopt.testing.services run`: real servers, and every way in which their owner can end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.conftest import COMMAND, listens, run_folders, wait_until

ONLY = ("--only", "postgres,redis")
PING = (
    "import os, psycopg, redis;"
    "c = psycopg.connect(os.environ['DATABASE_URL']);"
    "print(c.execute('SELECT current_database(), current_setting(%s)', ['listen_addresses']).fetchone());"
    "print(redis.Redis.from_url(os.environ['DBOPT_TEST_REDIS_URL']).ping())"
)


def assert_all_gone(ports, services_tmp):
    wait_until(lambda: not any(map(listens, ports)), what="the servers to stop", seconds=15)
    wait_until(lambda: run_folders(services_tmp) == [], what="the folders to be removed", seconds=15)


def addresses(port):
    """Addresses that anybody listens at on a port, from the kernel's own tables."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                found.add(local.rpartition(":")[0])
    return found


def test_command_finds_the_servers_and_its_status_is_passed_on(clean_environment, services_tmp, tmp_path):
    done = subprocess.run(
        [*COMMAND, *ONLY, "--", sys.executable, "-c", f"{PING}; raise SystemExit(7)"],
        env=clean_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 7
    assert done.stdout == "('dbopt', '127.0.0.1')\nTrue\n"
    assert sorted(re.sub(r"\d+", "N", line) for line in done.stderr.splitlines()) == [
        "PostgreSQL N.N on N.N.N.N:N (N.N s)",
        "Stopped in N.N s",
        "Valkey N.N.N on N.N.N.N:N (N.N s)",
    ]
    assert run_folders(services_tmp) == []


def test_servers_listen_on_loopback_only(owner):
    started = owner(*ONLY)

    postgres, redis = started.ports()

    assert addresses(postgres) == {"0100007F"}
    assert addresses(redis) == {"0100007F"}


def test_variables_have_twins_for_tests_and_say_that_data_may_go(owner):
    facts = owner(*ONLY).facts()

    assert facts["DATABASE_URL"] == facts["DBOPT_TEST_DATABASE_URL"]
    assert facts["REDIS_URL"] == facts["DBOPT_TEST_REDIS_URL"]
    assert facts["DBOPT_TEST_ALLOW_WIPE"] == "1"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["SIGTERM", "SIGHUP"])
def test_signal_to_the_owner_ends_command_and_servers(owner, services_tmp, number, status):
    started = owner(*ONLY)
    ports, command = started.ports(), int(started.facts()["pid"])

    started.process.send_signal(number)

    assert started.process.wait(30) == status
    assert not Path(f"/proc/{command}").exists()
    assert_all_gone(ports, services_tmp)


def test_ctrl_c_ends_command_and_servers(owner, services_tmp):
    started = owner(*ONLY)
    ports = started.ports()

    os.killpg(started.process.pid, signal.SIGINT)

    assert started.process.wait(30) == 130
    assert_all_gone(ports, services_tmp)


def test_ctrl_c_while_servers_start_leaves_nothing(owner, services_tmp):
    started = owner()
    wait_until(lambda: any(name.startswith("neo4j") for name in run_folders(services_tmp)), what="Neo4j to start")

    os.killpg(started.process.pid, signal.SIGINT)

    assert started.process.wait(30) == 130
    assert run_folders(services_tmp) == []


def test_killed_owner_takes_its_servers_with_it(owner, services_tmp):
    started = owner(*ONLY)
    ports = started.ports()
    assert all(map(listens, ports))

    started.process.kill()

    assert_all_gone(ports, services_tmp)


def test_two_runs_at_once_on_a_fresh_machine_do_not_meet(owner, services_tmp, tmp_path_factory):
    fresh = Path("/tmp") / f"dbopt-fresh-{os.getpid()}"
    fresh.mkdir(mode=0o711)
    try:
        first, second = (owner(*ONLY, environment={"TMPDIR": str(fresh)}) for _ in range(2))

        ports = [*first.ports(), *second.ports()]

        assert len(set(ports)) == 4
        assert all(map(listens, ports))
        first.process.terminate()
        assert first.process.wait(30) == 143
        assert [listens(port) for port in ports] == [False, False, True, True]
        second.process.terminate()
        second.process.wait(30)
        assert run_folders(fresh) == []
    finally:
        subprocess.run(["rm", "-rf", str(fresh)], check=True)


def test_missing_command_is_status_127(clean_environment, services_tmp, tmp_path):
    done = subprocess.run(
        [*COMMAND, "--only", "redis", "--", "no-such-command"],
        env=clean_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 127
    assert done.stderr.splitlines()[-2] == "no-such-command cannot be run: No such file or directory"
    assert run_folders(services_tmp) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "mysql", "--", "true"], "'mysql' is no server: choose from postgres, redis, neo4j."),
        (["--only", "redis", "--"], "There is no command to run: ... run -- COMMAND"),
    ],
)
def test_wrong_use_is_status_2(clean_environment, tmp_path, arguments, message):
    done = subprocess.run(
        [*COMMAND, *arguments], env=clean_environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr == f"{message}\n"


def test_server_out_of_reach_is_status_3(clean_environment, services_tmp, tmp_path):
    environment = {**clean_environment, "DBOPT_NEO4J_VERSION": "4.4.0"}

    done = subprocess.run(
        [*COMMAND, "--only", "redis,neo4j", "--", "true"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "Neo4j cannot be had. Neo4j 4.4.0 is not known here" in done.stderr
    assert "pip install 'dbopt[testing]'" in done.stderr
    assert run_folders(services_tmp) == []


def test_help_has_examples():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)

    assert "python -m dbopt.testing.services run -- pytest -x" in done.stdout


def test_docker_without_an_engine_is_status_3(clean_environment, services_tmp, tmp_path):
    environment = {**clean_environment, "DBOPT_SERVICES": "docker", "DOCKER_HOST": "tcp://127.0.0.1:1"}

    done = subprocess.run(
        [*COMMAND, "--only", "redis", "--", "true"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3, done.stderr
    assert "Valkey cannot be had. DBOPT_SERVICES is docker, and Docker says: DockerException" in done.stderr
    assert run_folders(services_tmp) == []
