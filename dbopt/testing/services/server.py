"""What is known about a server, and the environment variables that tell programs about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LABELS = {"postgres": "PostgreSQL", "redis": "Valkey", "neo4j": "Neo4j"}
NAMES = tuple(LABELS)

# The variable of each server; user and password of Neo4j come beside it.
VARIABLES = {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "neo4j": "NEO4J_URI"}
TEST_PREFIX = "DBOPT_TEST_"


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        name: postgres, redis or neo4j.
        version: as the server says it.
        start_seconds: from the decision to start it until it answered, the look after Neo4j's jars aside; 0 for a
            server of somebody else.
        origin: "embedded", "docker" or "environment".
        user, password: of Neo4j; empty where it wants none.
    """

    name: str
    version: str
    port: int
    start_seconds: float
    url: str = field(repr=False)
    origin: str = "embedded"
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def label(self) -> str:
        """Name for people."""
        return LABELS[self.name]

    def __str__(self) -> str:
        """Return name, version, place and seconds; never a password."""
        place = f"{self.label} {self.version} on {urlsplit(self.url).hostname}:{self.port}"
        return (
            f"{place} (from the environment)"
            if self.origin == "environment"
            else f"{place} ({self.start_seconds:.2f} s)"
        )


def variables(name: str, url: str, *, user: str = "", password: str = "") -> dict[str, str]:
    """Return the environment of one server, each variable with its twin for tests."""
    plain = {VARIABLES[name]: url}
    if name == "neo4j":
        plain |= {"NEO4J_USER": user, "NEO4J_PASSWORD": password}
    return plain | {f"{TEST_PREFIX}{key}": value for key, value in plain.items()}


def known(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in the order given, each once.

    Raises:
        ValueError: a name is not one of postgres, redis, neo4j.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in LABELS:
            raise ValueError(f"{name!r} is no server: choose from {', '.join(LABELS)}.")
    return chosen
