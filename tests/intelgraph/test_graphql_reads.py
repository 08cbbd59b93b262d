"""Reading the domain through GraphQL."""

from __future__ import annotations

import pytest

from dbopt.intelgraph.models import Entity, Member, Relationship
from dbopt.intelgraph.schema import schema
from tests.intelgraph.graphql_world import ask, ask_counted, codes, make_world, nodes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("neo4j_server")]

NESTED = """
query Nested($first: Int) {
    entities(first: $first) { edges { node {
        id name props
        outgoing { type target { name sources { url } } }
        incoming { source { name } }
        relationships { id source { id } target { id } }
        investigations { name entities { nodes { name } } }
    } } }
}
"""


@pytest.fixture
def world():
    return make_world("one")


def test_entity_with_all_its_surroundings(world):
    first, second, third = world.entities

    data, _ = ask_counted(
        world,
        "query E($id: ID!) { entity(id: $id) { id externalId type name confidence props outgoing { type target { name } }"
        " incoming { source { name } } investigations { name status priority } sources { url } } }",
        id=first.pk,
    )

    assert data == {
        "entity": {
            "id": str(first.pk),
            "externalId": "e0",
            "type": "person",
            "name": "one person 0",
            "confidence": 1.0,
            "props": {"n": 0},
            "outgoing": [{"type": "knows", "target": {"name": second.name}}],
            "incoming": [{"source": {"name": third.name}}],
            "investigations": [{"name": "one case", "status": "open", "priority": 2}],
            "sources": [{"url": f"https://example.com/{first.pk}"}],
        }
    }


def test_nested_lists_cost_the_same_statements_for_1_10_and_100_parents():
    world = make_world("many", entities=100)

    counts = []
    for first in (1, 10, 100):
        data, statements = ask_counted(world, NESTED, first=first)
        assert len(data["entities"]["edges"]) == first
        counts.append(len(statements))

    assert counts == [counts[0]] * 3
    assert counts[0] <= 14


def test_look_ups_of_one_operation_are_one_statement(world):
    first, second, _ = world.entities

    data, statements = ask_counted(
        world,
        "query E($a: ID!, $b: ID!) { a: entity(id: $a) { name } again: entity(id: $a) { id } b: entity(id: $b) { name }"
        ' none: entity(id: "0") { name } nonsense: entity(id: "x") { name } }',
        a=first.pk,
        b=second.pk,
    )

    assert (data["a"], data["b"]) == ({"name": first.name}, {"name": second.name})
    assert (data["none"], data["nonsense"]) == (None, None)
    assert len(statements) == 1


@pytest.mark.parametrize("pk", ["99999999999999999999999999", "-1", "1.5", ""])
def test_ids_that_cannot_be_are_missing(world, pk):
    result = ask(world, "query E($id: ID!) { entity(id: $id) { name } }", id=pk)

    assert (result.data, result.errors) == ({"entity": None}, None)


def test_entities_are_filtered_by_type_and_part_of_the_name(world):
    Entity.objects.create(tenant=world.tenant, type="company", name="Straße & Söhne_100%", external_id="c")

    def names(arguments):
        data, _ = ask_counted(world, f"{{ entities({arguments}) {{ edges {{ node {{ name }} }} }} }}")
        return [node["name"] for node in nodes(data["entities"])]

    assert names('type: "company"') == ["Straße & Söhne_100%"]
    assert names('text: "PERSON 1"') == ["one person 1"]
    assert names('text: "söhne"') == ["Straße & Söhne_100%"]
    assert names('text: "_100%"') == ["Straße & Söhne_100%"]
    assert names('text: "%"') == ["Straße & Söhne_100%"]
    assert names('type: "company", text: "person"') == []
    assert names('text: ""') == ["Straße & Söhne_100%", "one person 2", "one person 1", "one person 0"]


def test_relationships_by_type_and_entity(world):
    first, second, third = world.entities
    Relationship.objects.create(tenant=world.tenant, source=first, target=third, type="pays", external_id="p")
    text = "query R($e: ID) { relationships(entity: $e) { edges { node { type source { id } target { id } } } } }"

    data, statements = ask_counted(world, text, e=second.pk)
    ends = [(int(node["source"]["id"]), int(node["target"]["id"])) for node in nodes(data["relationships"])]
    assert ends == [(second.pk, third.pk), (first.pk, second.pk)]
    assert len(statements) == 2

    data, _ = ask_counted(world, '{ relationships(type: "pays") { edges { node { type } } } }')
    assert nodes(data["relationships"]) == [{"type": "pays"}]


def test_relationships_of_an_entity_come_once_newest_first_in_one_statement(world):
    first, second, third = world.entities
    loop = Relationship.objects.create(tenant=world.tenant, source=first, target=first, type="is", external_id="loop")

    data, statements = ask_counted(world, "{ entities { edges { node { id relationships { id } } } } }")

    found = {int(node["id"]): [int(row["id"]) for row in node["relationships"]] for node in nodes(data["entities"])}
    pks = [relationship.pk for relationship in world.relationships]
    assert found[first.pk] == [loop.pk, pks[2], pks[0]]
    assert found[second.pk] == [pks[1], pks[0]]
    assert found[third.pk] == [pks[2], pks[1]]
    assert len(statements) == 2


def test_relationship_and_investigation_by_id(world):
    relationship = world.relationships[0]

    data, statements = ask_counted(
        world,
        "query B($r: ID!, $i: ID!) { relationship(id: $r) { externalId validFrom weight source { name } }"
        " investigation(id: $i) { name entities { nodes { name } } } }",
        r=relationship.pk,
        i=world.investigation.pk,
    )

    assert data["relationship"] == {
        "externalId": "r0",
        "validFrom": None,
        "weight": None,
        "source": {"name": "one person 0"},
    }
    assert sorted(row["name"] for row in data["investigation"]["entities"]["nodes"]) == [
        "one person 0",
        "one person 1",
        "one person 2",
    ]
    assert len(statements) == 4


def test_members_are_the_active_ones_of_the_tenant(world):
    Member.objects.filter(pk=world.member.pk).update(role="admin")
    text = "query M($role: String) { members(role: $role) { edges { node { email role isActive } } } }"

    data, _ = ask_counted(world, text)
    assert nodes(data["members"]) == [{"email": "one@example.com", "role": "admin", "isActive": True}]
    assert nodes(ask_counted(world, text, role="analyst")[0]["members"]) == []

    Member.objects.update(is_active=False)
    assert nodes(ask_counted(world, text)[0]["members"]) == []


@pytest.mark.parametrize(("limit", "code"), [(0, "BAD_PAGINATION"), (-1, "BAD_PAGINATION"), (1001, "PAGE_TOO_LARGE")])
def test_number_of_neighbours_has_limits(world, limit, code):
    result = ask(
        world,
        "query N($id: ID!, $limit: Int) { entity(id: $id) { neighbours(limit: $limit) { id } } }",
        id=world.entities[0].pk,
        limit=limit,
    )

    assert codes(result) == [code]


def test_no_field_shows_users_or_the_tenants_table():
    text = str(schema)

    assert "user" not in text.lower().replace("user's", "")
    assert "type Tenant" not in text
