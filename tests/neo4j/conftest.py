"""Fixtures for tests on a real Neo4j: what a test made under its own labels is gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from django.conf import settings

from dbopt.neo4j import graphs
from dbopt.neo4j.drivers import registry
from dbopt.neo4j.schema.read import read_live
from dbopt.neo4j.schema.render import drop_statement
from dbopt.signals import cypher_executed

PREFIX = "Zt"
LABELS = ("Entity", "Author", "Book")
TYPES = ("RELATED_TO", "WROTE")


@pytest.fixture
def graph(neo4j_server):
    """The default graph, empty under the labels that these tests use."""
    graph = graphs["default"].for_maintenance()
    _clean(graph)
    yield graphs["default"]
    _clean(graph)


@pytest.fixture
def neo4j_options():
    """The settings of the alias that tests use."""
    return dict(settings.DBOPT["NEO4J"]["default"])


@pytest.fixture
def alias(settings, neo4j_options):
    """Make a graph with other options: `alias(RETRY_TIME=0)`."""

    def make(**options):
        settings.DBOPT = {"NEO4J": {"default": neo4j_options, "other": {**neo4j_options, **options}}}
        return graphs["other"]

    yield make
    registry.close()


@contextmanager
def heard():
    """Collect what `cypher_executed` tells."""
    facts = []

    def receive(signal, sender, **kwargs):
        facts.append(kwargs)

    cypher_executed.connect(receive)
    try:
        yield facts
    finally:
        cypher_executed.disconnect(receive)


@pytest.fixture
def run_python(neo4j_server, neo4j_options):
    """Run a script in a process of its own, with `graph` and `graphs` at hand; its output."""

    def run(script, *, timeout=60, **options):
        head = (
            "from django.conf import settings\n"
            f"settings.configure(DBOPT={{'NEO4J': {{'default': { ({**neo4j_options, 'SLOW_QUERY_MS': 60_000, **options})!r}}}}})\n"
            "from dbopt.neo4j import graph, graphs\n"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", head + script],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def _clean(graph):
    graph.write(
        "MATCH (n) WHERE any(label IN labels(n) WHERE label STARTS WITH $prefix OR label IN $labels) DETACH DELETE n",
        {"prefix": PREFIX, "labels": list(LABELS)},
    )
    # Constraints come first, and take their indexes along.
    for rule in read_live(graph).rules:
        ours = any(label.startswith(PREFIX) or label in LABELS + TYPES for label in rule.labels)
        if ours and rule.owned_by is None:
            graph.write(drop_statement(rule))
