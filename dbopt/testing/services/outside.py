"""Servers that somebody else runs, named by DBOPT_TEST_* variables for tests to use."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from dbopt.exceptions import ConfigurationError, MissingExtraError, ServerStartError, require_extra
from dbopt.testing.services.server import LABELS, TEST_PREFIX, VARIABLES, Server

ALLOW_WIPE = "DBOPT_TEST_ALLOW_WIPE"
CONNECT_SECONDS = 5


def outside_server(name: str) -> Server | None:
    """Return the server that the environment names for tests, None where it names none.

    Raises:
        ConfigurationError: it holds data, and tests would wipe it; DBOPT_TEST_ALLOW_WIPE=1 permits that.
        ServerStartError: it does not answer, or refuses us.
    """
    variable = f"{TEST_PREFIX}{VARIABLES[name]}"
    url = os.environ.get(variable)
    if not url:
        return None
    try:
        version, found = PROBES[name](url)
    except (MissingExtraError, ConfigurationError):
        raise
    except Exception as error:  # noqa: BLE001 - each client has errors of its own, and their texts may hold the URL
        raise ServerStartError(
            f"{LABELS[name]} at {_place(url)} ({variable}) does not serve us: {type(error).__name__}."
        ) from None
    if found and os.environ.get(ALLOW_WIPE) != "1":
        raise ConfigurationError(
            f"{LABELS[name]} at {_place(url)} ({variable}) is not empty: it holds {found}, and tests wipe what they use. "
            f"Name an empty one, or set {ALLOW_WIPE}=1 to lose them."
        )
    user, password = (_neo4j_login() or ("", "")) if name == "neo4j" else ("", "")
    port = urlsplit(url).port or DEFAULT_PORTS[name]
    return Server(name, version, port, 0.0, url=url, origin="environment", user=user, password=password)


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _postgres(url: str) -> tuple[str, str]:
    psycopg = require_extra("psycopg", "postgres")
    # Django makes a test database of its own there, so what the server holds is in no danger.
    with psycopg.connect(url, dbname="postgres", connect_timeout=CONNECT_SECONDS) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]).split()[0], ""


def _redis(url: str) -> tuple[str, str]:
    redis = require_extra("redis", "redis")
    client = redis.Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS)
    try:
        facts, keys = client.info("server"), client.dbsize()
    finally:
        client.close()
    version = facts.get("valkey_version") or facts["redis_version"]
    return str(version), f"{keys} keys" if keys else ""


def _neo4j(url: str) -> tuple[str, str]:
    neo4j = require_extra("neo4j", "neo4j")
    with neo4j.GraphDatabase.driver(url, auth=_neo4j_login(), connection_timeout=CONNECT_SECONDS) as driver:
        versions = driver.execute_query("CALL dbms.components() YIELD versions RETURN versions").records[0]["versions"]
        nodes = driver.execute_query("MATCH (n) RETURN count(n) AS nodes").records[0]["nodes"]
    return str(versions[0]), f"{nodes} nodes" if nodes else ""


def _neo4j_login() -> tuple[str, str] | None:
    user = os.environ.get(f"{TEST_PREFIX}NEO4J_USER", "")
    return (user, os.environ.get(f"{TEST_PREFIX}NEO4J_PASSWORD", "")) if user else None


PROBES: dict[str, Callable[[str], tuple[str, str]]] = {"postgres": _postgres, "redis": _redis, "neo4j": _neo4j}
DEFAULT_PORTS = {"postgres": 5432, "redis": 6379, "neo4j": 7687}
