"""The pytest plugin in projects of its own, each run by a pytest of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from dbopt.testing import services
from dbopt.testing.services import folders
from tests.testing.conftest import heed_ctrl_c, listens, port_of, run_folders, wait_until

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-p", "no:randomly", "-p", "no:cacheprovider"]
INI = "[pytest]\ndbopt_services = {names}\naddopts = -p no:django\n"
PING = """
    import os
    from pathlib import Path
    import psycopg, redis

    def test_servers_answer():
        Path("urls").write_text(os.environ["DATABASE_URL"] + " " + os.environ["REDIS_URL"])
        with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        client = redis.Redis.from_url(os.environ["REDIS_URL"])
        assert client.dbsize() == 0
        client.close()
"""


@pytest.fixture
def project(tmp_path, clean_environment):
    """Write files, run pytest in their folder."""

    class Project:
        path = tmp_path

        def write(self, **files):
            for name, text in files.items():
                stem, _, suffix = name.rpartition("_")
                (tmp_path / f"{stem}.{suffix}").write_text(textwrap.dedent(text))

        def start(self, *arguments, **environment):
            return subprocess.Popen(
                [*PYTEST, *arguments],
                cwd=tmp_path,
                env={**clean_environment, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it only resets a signal
            )

        def run(self, *arguments, **environment):
            process = self.start(*arguments, **environment)
            output = process.communicate(timeout=300)[0]
            return process.returncode, output

        def ports(self):
            wait_until((tmp_path / "urls").exists, what="the test to run")
            return [port_of(url) for url in (tmp_path / "urls").read_text().split()]

    return Project()


def test_plugin_is_inert_in_a_project_that_does_not_ask(project, tmp_path):
    project.write(
        pytest_ini="[pytest]\naddopts = -p no:django\n",
        test_it_py="""
            import os, sys

            def test_nothing_was_imported_or_started():
                loaded = [name for name in sys.modules if name.split(".")[0] in ("django", "dbopt")]
                assert loaded == ["dbopt", "dbopt.testing", "dbopt.testing.pytest_plugin"]
                assert "DATABASE_URL" not in os.environ
        """,
    )
    empty = tmp_path / "tmp"
    empty.mkdir()

    code, output = project.run(TMPDIR=str(empty))

    assert code == 0, output
    assert "dbopt:" not in output
    assert [path.name for path in empty.iterdir() if path.name.startswith("dbopt")] == []


def test_tests_find_servers_whose_facts_stand_in_the_header(project, services_tmp):
    project.write(pytest_ini=INI.format(names="postgres redis"), test_it_py=PING)

    code, output = project.run()

    assert code == 0, output
    assert re.search(r"^dbopt: PostgreSQL 18\.\d+ ", output, re.MULTILINE)
    assert re.search(r"^dbopt: Valkey 9\.\d+\.\d+ ", output, re.MULTILINE)
    assert not any(map(listens, project.ports()))
    assert run_folders(services_tmp) == []


def test_urls_of_the_user_are_never_used(project):
    project.write(pytest_ini=INI.format(names="postgres redis"), test_it_py=PING)
    stranger = "postgresql://production.example/"

    code, output = project.run(DATABASE_URL=stranger, REDIS_URL="redis://production.example/0")

    assert code == 0, output
    assert "example" not in (project.path / "urls").read_text()


def test_django_settings_read_the_address(project):
    project.write(
        pytest_ini="[pytest]\ndbopt_services = postgres\nDJANGO_SETTINGS_MODULE = own_settings\npythonpath = .\n",
        own_settings_py="""
            import os
            from urllib.parse import urlsplit
            url = urlsplit(os.environ["DATABASE_URL"])
            SECRET_KEY = "x"
            INSTALLED_APPS = ["django.contrib.contenttypes"]
            DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:],
                                     "USER": url.username, "HOST": url.hostname, "PORT": url.port}}
        """,
        test_it_py="""
            import pytest
            from django.db import connection

            @pytest.mark.django_db
            @pytest.mark.parametrize("number", range(4))
            def test_database(number, worker_id):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT current_database()")
                    name = cursor.fetchone()[0]
                assert name == ("test_dbopt" if worker_id == "master" else f"test_dbopt_{worker_id}")
        """,
    )

    assert project.run()[0] == 0
    code, output = project.run("-n", "2")
    assert code == 0, output
    assert "4 passed" in output


def test_settings_that_fail_to_import_leave_no_server(project, services_tmp):
    project.write(
        pytest_ini="[pytest]\ndbopt_services = redis\nDJANGO_SETTINGS_MODULE = own_settings\npythonpath = .\n",
        own_settings_py="raise RuntimeError('broken settings')\n",
        test_it_py="def test_nothing(): pass\n",
    )

    code, output = project.run()

    assert code != 0
    assert "broken settings" in output
    wait_until(lambda: run_folders(services_tmp) == [], what="the servers to stop", seconds=15)


def test_failing_tests_leave_no_server(project, services_tmp):
    project.write(pytest_ini=INI.format(names="postgres redis"), test_it_py=PING + "        assert False\n")

    code, output = project.run()

    assert code == 1, output
    assert run_folders(services_tmp) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_pytest_leaves_no_server(project, own_root, services_tmp, number):
    project.write(
        pytest_ini=INI.format(names="postgres redis"),
        test_it_py=PING + "        Path('ready').touch(); import time; time.sleep(600)\n",
    )
    process = project.start()
    ports = project.ports()
    wait_until((project.path / "ready").exists, what="the test to wait")
    assert all(map(listens, ports))
    notes = {name for name in run_folders(services_tmp) if name.startswith("pytest")}

    os.killpg(process.pid, number)

    process.communicate(timeout=60)
    wait_until(lambda: not any(map(listens, ports)), what="the servers to stop", seconds=15)
    wait_until(lambda: set(run_folders(services_tmp)) <= notes, what="the servers' folders to go", seconds=15)
    # Nobody watches over the notes of a killed pytest: the next start sweeps them.
    left = run_folders(services_tmp)
    assert bool(left) == (number != signal.SIGINT)
    for name in left:
        os.utime(own_root / "runs" / name, (0, 0))
    assert folders.sweep() == left


def test_each_worker_has_a_redis_database_of_its_own(project):
    project.write(
        pytest_ini=INI.format(names="redis"),
        test_it_py="""
            import os, time
            from pathlib import Path
            import pytest

            @pytest.mark.parametrize("number", range(2))
            def test_url(number, redis_server):
                assert redis_server.url == os.environ["REDIS_URL"] == os.environ["DBOPT_TEST_REDIS_URL"]
                Path(os.environ["PYTEST_XDIST_WORKER"]).write_text(os.environ["REDIS_URL"])
                # Neither worker gets both tests: each waits for the other's.
                deadline = time.monotonic() + 30
                while len(list(Path.cwd().glob("gw*"))) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
        """,
    )

    code, output = project.run("-n", "2")

    assert code == 0, output
    urls = [(project.path / worker).read_text() for worker in ("gw0", "gw1")]
    assert [url.rpartition("/")[2] for url in urls] == ["1", "2"]
    assert port_of(urls[0]) == port_of(urls[1])


UNREACHABLE = {"DBOPT_TEST_DATABASE_URL": "postgresql://someone:hunter2@127.0.0.1:1/x"}
NEEDS = """
    def test_needs_postgres(postgres_server): pass
    def test_needs_nothing(): pass
"""


def test_tests_without_their_server_are_skipped_with_the_reason(project):
    project.write(pytest_ini=INI.format(names="postgres"), test_it_py=NEEDS)

    code, output = project.run("-rs", **UNREACHABLE)

    assert code == 0, output
    assert "1 passed, 1 skipped" in output
    assert "PostgreSQL at 127.0.0.1:1 (DBOPT_TEST_DATABASE_URL) does not serve us: OperationalError." in output
    assert "hunter2" not in output


def test_required_server_fails_instead_of_skipping(project):
    project.write(pytest_ini=INI.format(names="postgres"), test_it_py=NEEDS)

    code, output = project.run(DBOPT_TEST_REQUIRE="redis, postgres", **UNREACHABLE)

    assert code == 1
    assert "1 passed, 1 error" in output
    assert "(DBOPT_TEST_REQUIRE wants postgres.)" in output
    assert "hunter2" not in output


def test_server_that_the_project_did_not_ask_for_is_named(project):
    project.write(pytest_ini=INI.format(names="redis"), test_it_py=NEEDS)

    code, output = project.run()

    assert code == 1
    assert "The test needs postgres: add it to the ini option dbopt_services." in output


def test_outside_server_with_data_is_refused_unless_allowed(project, own_root):
    import redis

    project.write(
        pytest_ini=INI.format(names="redis"),
        test_it_py="def test_origin(redis_server): assert redis_server.origin == 'environment'\n",
    )
    with services.start(["redis"]) as running:
        url = running.urls["redis"]
        client = redis.Redis.from_url(url)
        assert project.run(DBOPT_TEST_REDIS_URL=url)[0] == 0

        client.set("precious", "1")
        code, output = project.run(DBOPT_TEST_REDIS_URL=url)
        allowed, _ = project.run(DBOPT_TEST_REDIS_URL=url, DBOPT_TEST_ALLOW_WIPE="1")

        assert code == 4
        assert (
            f"dbopt_services: Valkey at 127.0.0.1:{port_of(url)} (DBOPT_TEST_REDIS_URL) is not empty: it holds 1 keys, "
            "and tests wipe what they use. Name an empty one, or set DBOPT_TEST_ALLOW_WIPE=1 to lose them."
        ) in output
        assert allowed == 0
        assert client.get("precious") == b"1"
        client.close()


def test_unknown_name_is_wrong_use(project):
    project.write(pytest_ini=INI.format(names="mysql"), test_it_py="def test_it(): pass\n")

    code, output = project.run()

    assert code == 4
    assert "dbopt_services: 'mysql' is no server: choose from postgres, redis, neo4j." in output


@pytest.mark.parametrize("question", ["--collect-only", "--help", "--version", "--markers", "--fixtures"])
def test_questions_start_nothing(project, tmp_path, question):
    project.write(pytest_ini=INI.format(names="redis"), test_it_py="def test_it(redis_server): pass\n")
    empty = tmp_path / "tmp"
    empty.mkdir()

    code, output = project.run(question, TMPDIR=str(empty))

    assert code == 0, output
    assert [path.name for path in empty.iterdir() if path.name.startswith("dbopt")] == []


def test_graph_tests_of_two_workers_never_run_at_once(project, neo4j_server):
    project.write(
        pytest_ini=INI.format(names="neo4j"),
        test_it_py="""
            import os, time
            from pathlib import Path
            import pytest

            @pytest.mark.parametrize("number", range(8))
            def test_graph(number, neo4j_server):
                Path(os.environ["PYTEST_XDIST_WORKER"]).touch()
                Path("busy").touch(exist_ok=False)
                time.sleep(0.1)
                Path("busy").unlink()
        """,
    )

    code, output = project.run("-n", "2", DBOPT_TEST_NEO4J_URI=neo4j_server.url, DBOPT_TEST_ALLOW_WIPE="1")

    assert code == 0, output
    assert "8 passed" in output
    assert len(list(project.path.glob("gw*"))) == 2
