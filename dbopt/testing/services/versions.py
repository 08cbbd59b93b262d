"""Versions of the servers, in one place: embedded, in containers, and in docker-compose.yml."""

from __future__ import annotations

POSTGRES = "18"
VALKEY = "9"
NEO4J = "5.26.31"
NEO4J_NEWEST = "2026.08.1"

# Versions of Neo4j whose jars can be checked against a list in this folder.
NEO4J_SUPPORTED = (NEO4J, NEO4J_NEWEST)


def image(name: str, *, neo4j_version: str = NEO4J) -> str:
    """Return the container image of a server."""
    return {
        "postgres": f"postgres:{POSTGRES}",
        "redis": f"valkey/valkey:{VALKEY}",
        "neo4j": f"neo4j:{neo4j_version}-community",
    }[name]


def neo4j_main_class(version: str) -> str:
    """Return the official entry point; it was renamed after 5.26."""
    return "org.neo4j.server.CommunityEntryPoint" if version.startswith("5.") else "org.neo4j.server.Neo4jCommunity"
