"""The same declarations on the newest server, which speaks Cypher 25 by default and names constraints differently."""

from __future__ import annotations

import os

import pytest

from dbopt.neo4j import Exists, FullText, Node, Point, Range, Relationship, Text, Unique, Vector
from dbopt.neo4j.schema.apply import apply_rules
from dbopt.testing import services
from tests.neo4j.test_declare import rules_of

NEWEST = "2026.08.1"


@pytest.mark.long
def test_every_kind_on_the_newest_server(alias, monkeypatch):
    for name in [name for name in os.environ if name.startswith("DBOPT_TEST_NEO4J_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DBOPT_NEO4J_VERSION", NEWEST)
    rules = rules_of(
        Node(
            "ZtE",
            constraints=[Unique("id"), Unique("a", "b"), Exists("x")],
            indexes=[
                Range("c", "d"),
                Text("e"),
                Point("f"),
                FullText("g", "h", analyzer="english", labels=["ZtE2"]),
                Vector("i", dimensions=8, similarity="euclidean", quantization=True),
            ],
        ),
        Relationship("ZtE_REL", constraints=[Unique("id")], indexes=[Range("c"), Vector("i", dimensions=4)]),
    )
    with services.start(["neo4j"]) as running:
        graph = alias(URI=running.environment["NEO4J_URI"], USER="", PASSWORD="")
        assert graph.verify(timeout=20).agent == f"Neo4j/{NEWEST}"

        first = apply_rules(graph, rules, timeout=120, allow_drop=False, report=lambda _: None)
        second = apply_rules(graph, rules, timeout=120, allow_drop=False, report=lambda _: None)

        assert (len(first.created), first.refused, first.is_verified) == (10, (), True)
        assert (second.created, second.is_verified) == ((), True)
        assert second.after.summary() == {"OK": 10, "UNSUPPORTED": 1}
        # The names of Cypher 25.
        assert {row["type"] for row in graph.read("SHOW CONSTRAINTS YIELD type")} == {
            "NODE_PROPERTY_UNIQUENESS",
            "RELATIONSHIP_PROPERTY_UNIQUENESS",
        }
