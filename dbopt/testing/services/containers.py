"""The same servers as containers, by testcontainers, for those who set DBOPT_SERVICES=docker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbopt.exceptions import ServerStartError, require_extra
from dbopt.testing.services import versions
from dbopt.testing.services.server import LABELS

ANSWER_SECONDS = 120.0
INSIDE_PORTS = {"postgres": 5432, "redis": 6379, "neo4j": 7687}


@dataclass(frozen=True)
class Container:
    """A running container."""

    version: str
    stop: Callable[[], object]


def start(name: str, *, neo4j_password: str | None, port: int) -> Container:
    """Start a container on a port of 127.0.0.1 and wait until the server in it answers.

    Raises:
        ServerStartError: no Docker engine answers, or the server does not.
    """
    container_module = require_extra("testcontainers.core.container", "testing")
    environment = {
        "postgres": {"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_DB": "dbopt"},
        "redis": {},
        "neo4j": {"NEO4J_AUTH": f"neo4j/{neo4j_password}" if neo4j_password else "none"},
    }[name]
    try:
        container = container_module.DockerContainer(versions.image(name))
        # A pair, because a bare number would listen on all addresses of the machine.
        container.ports[INSIDE_PORTS[name]] = ("127.0.0.1", port)
        for key, value in environment.items():
            container.with_env(key, value)
        container.start()
    except Exception as error:
        raise ServerStartError(f"DBOPT_SERVICES is docker, and Docker says: {type(error).__name__}: {error}") from error
    return Container(version=_await_version(name, container, port=port, password=neo4j_password), stop=container.stop)


def _await_version(name: str, container: Any, *, port: int, password: str | None) -> str:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return _version(name, port=port, password=password)
        except Exception as error:
            if time.monotonic() > deadline:
                container.stop()
                raise ServerStartError(
                    f"{LABELS[name]} did not answer in its container within {ANSWER_SECONDS:g} s."
                ) from error
        time.sleep(0.2)


def _version(name: str, *, port: int, password: str | None) -> str:
    if name == "postgres":
        psycopg = require_extra("psycopg", "postgres")
        with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/dbopt", connect_timeout=2) as connection:
            return str(connection.execute("SHOW server_version").fetchone()[0]).split()[0]
    if name == "redis":
        redis = require_extra("redis", "redis")
        with redis.Redis(port=port, socket_timeout=2) as client:
            return str(client.info("server")["valkey_version"])
    neo4j = require_extra("neo4j", "neo4j")
    auth = ("neo4j", password) if password else None
    with neo4j.GraphDatabase.driver(f"bolt://127.0.0.1:{port}", auth=auth, connection_timeout=2) as driver:
        return str(driver.execute_query("CALL dbms.components() YIELD versions").records[0]["versions"][0])
