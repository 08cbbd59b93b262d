from __future__ import annotations

import pytest

from dbopt.exceptions import GraphQueryError
from dbopt.intelgraph.neighbours import Neighbour, neighbours
from tests.neo4j.conftest import heard


@pytest.fixture
def network(graph):
    """Tenant 1: 1 -> 2, 1 -> 3 twice, 4 -> 1. Tenant 2: 9 -> 8. And one edge that nobody should have made: 1 -> 9."""
    graph.write(
        "UNWIND [[1,1],[2,1],[3,1],[4,1],[5,1],[9,2],[8,2]] AS e "
        "CREATE (:Entity {id: e[0], tenantId: e[1], type: 'person', name: 'n' + e[0]})"
    )
    graph.write(
        "UNWIND [[10,1,2,1,0.5],[11,1,3,1,0.9],[12,1,3,1,0.9],[13,4,1,1,0.1],[14,9,8,2,1.0],[15,1,9,1,1.0]] AS r "
        "MATCH (a:Entity {id: r[1]}), (b:Entity {id: r[2]}) "
        "CREATE (a)-[:RELATED_TO {id: r[0], tenantId: r[3], confidence: r[4], type: 'knows'}]->(b)"
    )
    return graph


def test_many_keys_take_one_query(network):
    with heard() as facts:
        found = neighbours([1, 2, 5, 77, 1], tenant=1, limit=10)

    assert [(fact["name"], fact["access"]) for fact in facts] == [("intelgraph.neighbours", "read")]
    assert {key: [item.relationship_id for item in items] for key, items in found.items()} == {
        1: [11, 12, 10, 13],
        2: [10],
        5: [],
        77: [],
    }
    assert found[2] == [
        Neighbour(
            id=1,
            type="person",
            name="n1",
            relationship_id=10,
            relationship_type="knows",
            confidence=0.5,
            is_outgoing=False,
        )
    ]
    assert [(item.id, item.is_outgoing) for item in found[1]] == [(3, True), (3, True), (2, True), (4, False)]


def test_limit_holds_for_each_key(network):
    found = neighbours([1, 3], tenant=1, limit=1)

    assert {key: [item.relationship_id for item in items] for key, items in found.items()} == {1: [11], 3: [11]}


def test_other_tenants_are_not_seen(network):
    assert neighbours([9, 8], tenant=1, limit=10) == {9: [], 8: []}
    assert [item.id for item in neighbours([9], tenant=2, limit=10)[9]] == [8]
    assert 9 not in [item.id for item in neighbours([1], tenant=1, limit=10)[1]]
    assert neighbours([1], tenant=None, limit=10) == {1: []}


def test_more_than_a_thousand_keys_are_asked_in_chunks(network):
    with heard() as facts:
        found = neighbours(range(2500), tenant=1, limit=3)

    assert len(facts) == 3
    assert len(found) == 2500
    assert [item.relationship_id for item in found[1]] == [11, 12, 10]


def test_no_keys_ask_nothing(graph):
    with heard() as facts:
        assert neighbours([], tenant=1, limit=5) == {}

    assert facts == []


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match=r"^limit is 0; it must be at least 1\.$"):
        neighbours([1], tenant=1, limit=0)


def test_keys_are_values_and_never_cypher(network):
    assert neighbours(["1}) DETACH DELETE e //"], tenant=1, limit=5) == {"1}) DETACH DELETE e //": []}
    assert network.read("MATCH (e:Entity) RETURN count(e) AS n")[0]["n"] == 7


def test_limit_of_a_wrong_type_is_an_error_without_values(network):
    with pytest.raises(GraphQueryError):
        neighbours([1], tenant=1, limit=1.5)
