"""Loaders over a real Neo4j: one query a batch."""

from __future__ import annotations

import uuid

import pytest

from dbopt.exceptions import GraphQueryError
from dbopt.graphql import CypherLoader
from dbopt.graphql.execution.promises import held_queue, run_next_job
from dbopt.neo4j import graph
from dbopt.signals import cypher_executed
from dbopt.tenancy import tenant_context

pytestmark = pytest.mark.usefixtures("neo4j_server")


@pytest.fixture
def people():
    """A chain Ann - Bob - Cid of tenant 1, and a Bob of tenant 2; a run of their own in a shared server."""
    run = uuid.uuid4().hex
    graph.write(
        """
        CREATE (a:LoaderTest {run: $run, tenant: 1, name: "Ann"})-[:KNOWS]->(b:LoaderTest {run: $run, tenant: 1, name: "Bob"})
        CREATE (b)-[:KNOWS]->(:LoaderTest {run: $run, tenant: 1, name: "Cid"})
        CREATE (:LoaderTest {run: $run, tenant: 2, name: "Bob"})
        """,
        {"run": run},
    )
    yield run
    graph.write("MATCH (p:LoaderTest {run: $run}) DETACH DELETE p", {"run": run})


@pytest.fixture
def queries():
    seen = []

    def receive(sender, name, **_):
        seen.append(name)

    cypher_executed.connect(receive)
    yield seen
    cypher_executed.disconnect(receive)


class OfRun(CypherLoader):
    def parameters(self):
        return {"run": self.params[0]}


class Friends(OfRun):
    many = True
    query = """
        UNWIND $keys AS key
        MATCH (:LoaderTest {run: $run, tenant: $tenant, name: key})-[:KNOWS]-(friend)
        RETURN key, friend.name AS value ORDER BY value
    """


class Count(OfRun):
    query = """
        UNWIND $keys AS key
        MATCH (p:LoaderTest {run: $run, tenant: $tenant, name: key})
        RETURN key, count(p) AS value
    """


class Broken(OfRun):
    query = "UNWIND $keys AS key NONSENSE key"


def load(loader, *keys):
    with held_queue():
        promises = [loader.load(key) for key in keys]
        while run_next_job():
            pass
    return [promise.reason if promise.is_rejected else promise.value for promise in promises]


def test_batch_is_one_query(people, queries):
    with tenant_context(1):
        found = load(Friends({}, people), "Ann", "Bob", "Ann", "nobody")

    assert found == [["Bob"], ["Ann", "Cid"], ["Bob"], []]
    assert queries == ["Friends"]


def test_single_values_and_the_tenant_of_the_loader(people):
    with tenant_context(2):
        loader = Count({}, people)

    assert load(loader, "Ann", "Bob") == [None, 1]


def test_error_of_the_query_belongs_to_its_keys(people):
    (error,) = load(Broken({}, people), "Ann")

    assert isinstance(error, GraphQueryError)
