"""Neighbours come from a real Neo4j, one query a level."""

from __future__ import annotations

import pytest

from dbopt.neo4j import graph
from dbopt.signals import cypher_executed
from tests.intelgraph.graphql_world import ask, ask_counted, make_world, nodes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("neo4j_server")]


def project(world):
    """Put a world's rows into the graph, as the projection has them."""
    graph.write(
        "UNWIND $rows AS row CREATE (e:Entity:GraphQLTest) SET e = row",
        {
            "rows": [
                {"id": entity.pk, "tenantId": world.tenant.pk, "name": entity.name, "type": entity.type}
                for entity in world.entities
            ]
        },
    )
    graph.write(
        "UNWIND $rows AS row MATCH (s:Entity:GraphQLTest {id: row.source}) MATCH (t:Entity:GraphQLTest {id: row.target}) "
        "CREATE (s)-[r:RELATED_TO]->(t) SET r.id = row.id, r.tenantId = row.tenant, r.type = row.type, r.confidence = 0.5",
        {
            "rows": [
                {
                    "id": relationship.pk,
                    "source": relationship.source_id,
                    "target": relationship.target_id,
                    "tenant": world.tenant.pk,
                    "type": relationship.type,
                }
                for relationship in world.relationships
            ]
        },
    )


@pytest.fixture
def world():
    world = make_world("one")
    project(world)
    yield world
    graph.write("MATCH (e:GraphQLTest) DETACH DELETE e")


@pytest.fixture
def queries():
    seen = []

    def receive(sender, name, **_):
        seen.append(name)

    cypher_executed.connect(receive)
    yield seen
    cypher_executed.disconnect(receive)


TEXT = """{ entities { edges { node { id neighbours { nodes {
    id name type relationshipId relationshipType confidence isOutgoing entity { externalId }
} } } } } }"""


def test_neighbours_of_all_entities_are_one_cypher_query_and_their_rows_one_statement(world, queries):
    first, second, third = world.entities

    data, statements = ask_counted(world, TEXT)

    found = {int(node["id"]): node["neighbours"]["nodes"] for node in nodes(data["entities"])}
    assert found[first.pk] == [
        {
            "id": str(second.pk),
            "name": second.name,
            "type": "person",
            "relationshipId": str(world.relationships[0].pk),
            "relationshipType": "knows",
            "confidence": 0.5,
            "isOutgoing": True,
            "entity": {"externalId": "e1"},
        },
        {
            "id": str(third.pk),
            "name": third.name,
            "type": "person",
            "relationshipId": str(world.relationships[2].pk),
            "relationshipType": "knows",
            "confidence": 0.5,
            "isOutgoing": False,
            "entity": {"externalId": "e2"},
        },
    ]
    assert queries == ["Entity.neighbours"]
    assert len(statements) == 2


def test_page_holds_for_each_entity_and_goes_on_behind_its_cursor(world, queries):
    text = """query P($id: ID!, $after: String) { entity(id: $id) {
        neighbours(first: 1, after: $after) { totalCount nodes { id } pageInfo { endCursor hasNextPage } }
    } }"""
    first, second, third = world.entities

    data, _ = ask_counted(world, "{ entities { nodes { neighbours(first: 1) { totalCount nodes { id } } } } }")
    assert [
        (len(node["neighbours"]["nodes"]), node["neighbours"]["totalCount"]) for node in data["entities"]["nodes"]
    ] == [(1, 2)] * 3
    assert queries == ["Entity.neighbours"] * 2

    page = ask(world, text, id=first.pk).data["entity"]["neighbours"]
    assert (page["nodes"], page["pageInfo"]["hasNextPage"]) == ([{"id": str(second.pk)}], True)
    page = ask(world, text, id=first.pk, after=page["pageInfo"]["endCursor"]).data["entity"]["neighbours"]
    assert (page["nodes"], page["pageInfo"]["hasNextPage"]) == ([{"id": str(third.pk)}], False)


def test_neighbours_may_be_of_one_type_and_come_once_for_each_relationship(world):
    first, second, _ = world.entities
    graph.write(
        "MATCH (a:GraphQLTest {id: $a}) MATCH (b:GraphQLTest {id: $b}) SET b.type = 'company' "
        "CREATE (a)-[:RELATED_TO {id: 0, tenantId: $tenant, type: 'pays', confidence: 0.9}]->(b)",
        {"a": first.pk, "b": second.pk, "tenant": world.tenant.pk},
    )

    result = ask(
        world,
        'query N($id: ID!) { entity(id: $id) { neighbours(type: "company") { nodes { relationshipType } } } }',
        id=first.pk,
    )

    assert result.data["entity"]["neighbours"]["nodes"] == [{"relationshipType": "pays"}, {"relationshipType": "knows"}]


def test_common_neighbours_of_many_entities_are_one_query(world, queries):
    first, second, third = world.entities
    stranger = make_world("two")
    project(stranger)
    text = "query C($a: ID!) { entities { nodes { id commonNeighbours(entity: $a) } } }"

    data, _ = ask_counted(world, text, a=first.pk)

    # In a ring of three each two have the third in common; of itself an entity is no neighbour's neighbour.
    found = {int(node["id"]): node["commonNeighbours"] for node in data["entities"]["nodes"]}
    assert found == {first.pk: 0, second.pk: 1, third.pk: 1}
    assert queries[2:] == ["CommonNeighboursLoader"]
    for nobody in (stranger.entities[0].pk, "0", "x", "9" * 30):
        assert {node["commonNeighbours"] for node in ask(world, text, a=nobody).data["entities"]["nodes"]} == {0}


def test_neighbour_that_only_the_graph_still_has_shows_no_row(world):
    first, second, _ = world.entities
    pk = second.pk
    second.delete()

    result = ask(
        world, "query N($id: ID!) { entity(id: $id) { neighbours { nodes { id entity { id } } } } }", id=first.pk
    )

    assert result.errors is None
    assert result.data["entity"]["neighbours"]["nodes"][0] == {"id": str(pk), "entity": None}


def test_neighbours_are_of_the_tenant_only(world):
    other = make_world("two")
    project(other)
    stranger = other.entities[0]
    # Even an edge that somebody put between two tenants shows nothing.
    graph.write(
        "MATCH (a:GraphQLTest {id: $a}) MATCH (b:GraphQLTest {id: $b}) "
        "CREATE (a)-[:RELATED_TO {id: 1, tenantId: $tenant, type: 'leak', confidence: 1.0}]->(b)",
        {"a": world.entities[0].pk, "b": stranger.pk, "tenant": world.tenant.pk},
    )

    data, _ = ask_counted(world, TEXT)

    shown = {int(row["id"]) for node in nodes(data["entities"]) for row in node["neighbours"]["nodes"]}
    assert shown == {entity.pk for entity in world.entities}
