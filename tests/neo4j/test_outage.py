from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

from dbopt.exceptions import GraphAuthError, GraphQueryError, GraphTimeoutError, GraphUnavailableError
from dbopt.neo4j.drivers import registry
from dbopt.testing import services

PASSWORD = "a-secret-password"
ENDLESS = "UNWIND range(1, 1000000000) AS x WITH x WHERE x % 7 = 0 RETURN count(x)"


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]  # bound and not listening: nobody else can get it


@pytest.fixture
def silent_port():
    """A server that accepts and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


def test_down_server_costs_the_retry_time_and_not_thirty_seconds(alias, closed_port):
    graph = alias(URI=f"bolt://127.0.0.1:{closed_port}", RETRY_TIME=1)
    began = time.monotonic()

    with pytest.raises(GraphUnavailableError) as raised:
        graph.read("RETURN 1", name="hello")

    assert 0.9 < time.monotonic() - began < 4
    assert str(raised.value) == (
        f"Neo4j 'other' (database 'neo4j' at 127.0.0.1:{closed_port}) is out of reach for query 'hello'. "
        "Is the server running, and is the URI right?"
    )
    assert raised.value.alias == "other"


def test_no_retry_time_fails_at_once(alias, closed_port):
    began = time.monotonic()

    with pytest.raises(GraphUnavailableError):
        alias(URI=f"bolt://127.0.0.1:{closed_port}", RETRY_TIME=0).write("RETURN 1")

    assert time.monotonic() - began < 2


def test_server_that_never_answers_a_connection(alias, silent_port):
    graph = alias(URI=f"bolt://127.0.0.1:{silent_port}", RETRY_TIME=0, CONNECTION_TIMEOUT=0.5, ACQUISITION_TIMEOUT=1)
    began = time.monotonic()

    with pytest.raises((GraphUnavailableError, TimeoutError)):
        graph.read("RETURN 1")

    assert time.monotonic() - began < 5


def test_verify_is_bounded_and_asks_once_at_a_time(alias, silent_port):
    graph = alias(URI=f"bolt://127.0.0.1:{silent_port}", CONNECTION_TIMEOUT=5)
    threads = threading.active_count()
    began = time.monotonic()
    for _ in range(5):
        with pytest.raises(GraphUnavailableError):
            graph.verify(timeout=0.3)

    assert time.monotonic() - began < 3
    assert threading.active_count() <= threads + 1


def test_verify_of_a_down_server_does_not_retry(alias, closed_port):
    began = time.monotonic()

    with pytest.raises(GraphUnavailableError):
        alias(URI=f"bolt://127.0.0.1:{closed_port}", RETRY_TIME=30).verify(timeout=2)

    assert time.monotonic() - began < 2.5


def test_database_that_does_not_exist(alias, neo4j_server):
    graph = alias(DATABASE="nowhere")
    for ask in (lambda: graph.read("RETURN 1", name="hello"), graph.verify):
        with pytest.raises(GraphQueryError) as raised:
            ask()
        assert raised.value.code == "Neo.ClientError.Database.DatabaseNotFound"

    assert "there is no such database" in str(raised.value)


def test_wrong_password_and_a_server_that_dies(alias, monkeypatch):
    # A server of its own, which may be killed.
    for name in [name for name in os.environ if name.startswith("DBOPT_TEST_NEO4J_")]:
        monkeypatch.delenv(name)
    with services.start(["neo4j"], neo4j_password=PASSWORD) as running:
        found = running.environment
        options = {"URI": found["NEO4J_URI"], "USER": found["NEO4J_USER"], "RETRY_TIME": 1}

        stranger = alias(**options, PASSWORD="another-password")
        for ask in (lambda: stranger.read("RETURN $x", {"x": "value"}), lambda: stranger.verify(timeout=20)):
            began = time.monotonic()
            with pytest.raises(GraphAuthError) as raised:
                ask()
            assert time.monotonic() - began < 20  # a server that has just started answers its first questions slowly
            assert raised.value.code == "Neo.ClientError.Security.Unauthorized"
            assert "another-password" not in f"{raised.value} {raised.value.__cause__}"
        assert str(raised.value).endswith(
            'Check USER and PASSWORD of DBOPT["NEO4J"]["other"], and the rights of that user.'
        )

        graph = alias(**options, PASSWORD=PASSWORD)
        assert graph.verify(timeout=20).agent.startswith("Neo4j/")
        assert PASSWORD not in repr(graph.settings) + repr(registry.existing(graph.settings))
        _kill_in_the_middle(graph, running)


def _kill_in_the_middle(graph, running):
    graph.write("CREATE (:ZtBefore)")
    pid = _pid_listening(running.server("neo4j").port)
    outcome = []

    def ask():
        began = time.monotonic()
        try:
            graph.read(ENDLESS, name="endless", timeout=25)
        except (GraphUnavailableError, GraphTimeoutError) as error:
            outcome.append((type(error), time.monotonic() - began))

    thread = threading.Thread(target=ask)
    thread.start()
    while graph.pool_stats().leases == 0:
        time.sleep(0.01)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    thread.join(30)

    assert time.monotonic() - killed < 10
    assert [kind for kind, _ in outcome] == [GraphUnavailableError]
    with pytest.raises(GraphUnavailableError):
        graph.verify()
    assert graph.pool_stats().leases == 0


def _pid_listening(port):
    """Find our own server by its port, in /proc."""
    inode = None
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for line in list(lines)[1:]:
                parts = line.split()
                if parts[1].endswith(f":{port:04X}") and parts[3] == "0A":
                    inode = parts[9]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            return int(pid)
    raise AssertionError(f"nobody listens at {port}")
