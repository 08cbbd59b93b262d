"""A real Neo4j of our own, with a password."""

from __future__ import annotations

import time
from pathlib import Path

import neo4j
import pytest
from neo4j.exceptions import AuthError

from dbopt.exceptions import ServerStartError
from dbopt.testing import services
from dbopt.testing.services import neo4j_jars
from dbopt.testing.services.java import java_for
from dbopt.testing.services.versions import NEO4J_SUPPORTED
from tests.testing.conftest import listens, run_folders

PASSWORD = 'a "quoted" pass\\word'


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


@pytest.mark.long
def test_neo4j_lets_in_with_the_password_only_and_shows_it_to_nobody(own_root, services_tmp):
    lines = []
    running = services.launch(["neo4j"], neo4j_password=PASSWORD, report=lines.append)
    with running:
        seen = ""
        while not running.is_done("neo4j"):
            seen += "\n".join(command_lines())
            time.sleep(0.2)
        server = running.servers["neo4j"]
        environment = running.environment

        with neo4j.GraphDatabase.driver(server.url, auth=(server.user, server.password)) as driver:
            assert driver.execute_query("RETURN 1 AS one", database_="neo4j").records[0]["one"] == 1
        with (
            neo4j.GraphDatabase.driver(server.url, auth=("neo4j", "wrong-password")) as stranger,
            pytest.raises(AuthError),
        ):
            stranger.verify_connectivity()

        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 15

    assert environment["NEO4J_USER"] == environment["DBOPT_TEST_NEO4J_USER"] == "neo4j"
    assert environment["NEO4J_PASSWORD"] == environment["DBOPT_TEST_NEO4J_PASSWORD"] == PASSWORD
    assert "quoted" not in seen + repr(server) + str(server) + "".join(lines)
    assert "password.args" in seen
    assert not listens(server.port)
    assert run_folders(services_tmp) == []


def test_neo4j_of_the_test_run_wants_no_password(neo4j_server):
    with neo4j.GraphDatabase.driver(neo4j_server.url) as driver:
        found = driver.execute_query("CALL dbms.components() YIELD versions, edition", database_="neo4j").records[0]

    assert found["edition"] == "community"
    assert found["versions"] == [neo4j_server.version]


def test_short_password_is_refused(own_root, services_tmp):
    with pytest.raises(ServerStartError, match=r"Neo4j wants passwords of at least 8 characters\."):
        services.start(["neo4j"], neo4j_password="short")

    assert run_folders(services_tmp) == []


@pytest.mark.parametrize("version", NEO4J_SUPPORTED)
def test_java_of_the_package_fits(version):
    assert java_for(version).is_file()


@pytest.mark.long
@pytest.mark.parametrize("resolver", ["mvn", "jgo"])
@pytest.mark.parametrize("version", NEO4J_SUPPORTED)
def test_server_starts_from_freshly_fetched_jars(own_root, tmp_path, monkeypatch, version, resolver):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("DBOPT_NEO4J_VERSION", version)
    monkeypatch.setattr(neo4j_jars, "_attempts", lambda: [(resolver, True)])

    with services.start(["neo4j"]) as running:
        server = running.servers["neo4j"]
        with neo4j.GraphDatabase.driver(server.url) as driver:
            assert driver.execute_query("CALL dbms.components() YIELD versions").records[0]["versions"] == [version]

    assert [path.name for path in (tmp_path / "dbopt").iterdir() if path.is_dir()] == [f"neo4j-{version}-{resolver}"]
    assert server.version == version
