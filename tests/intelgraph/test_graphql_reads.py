"""Reading the domain through GraphQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from dbopt.intelgraph.models import Entity, Member, Relationship, Source
from dbopt.intelgraph.queries import relationships
from dbopt.intelgraph.schema import schema
from tests.intelgraph.graphql_world import ask, ask_counted, codes, make_world, nodes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("neo4j_server")]

NESTED = """
query Nested($first: Int) {
    entities(first: $first) { edges { node {
        id name props
        outgoing(first: 10) { totalCount nodes { type isCurrent target { name sources { nodes { url } } } } }
        incoming { nodes { source { name } } }
        relationships { id source { id } target { id } }
        investigations { nodes { name entities { nodes { name lastSourceAt } } } }
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
        "query E($id: ID!) { entity(id: $id) { id externalId type name confidence props outgoing { nodes { type target { name } } }"
        " incoming { nodes { source { name } } } investigations { nodes { name status priority } }"
        " sources { nodes { url } } } }",
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
            "outgoing": {"nodes": [{"type": "knows", "target": {"name": second.name}}]},
            "incoming": {"nodes": [{"source": {"name": third.name}}]},
            "investigations": {"nodes": [{"name": "one case", "status": "open", "priority": 2}]},
            "sources": {"nodes": [{"url": f"https://example.com/{first.pk}"}]},
        }
    }


def test_nested_lists_cost_the_same_statements_for_1_10_and_100_parents():
    world = make_world("many", entities=100)

    counts = []
    for first in (1, 10, 100):
        data, statements = ask_counted(world, NESTED, first=first)
        assert len(data["entities"]["edges"]) == first
        counts.append(len(statements))

    # Fewer for many: the ends of one entity's relationships are not all among those of its pages.
    assert counts == [12, 11, 11]


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


def test_relationships_of_an_entity_come_once_newest_first_in_a_statement_a_direction(world):
    first, second, third = world.entities
    loop = Relationship.objects.create(tenant=world.tenant, source=first, target=first, type="is", external_id="loop")

    data, statements = ask_counted(world, "{ entities { edges { node { id relationships { id } } } } }")

    found = {int(node["id"]): [int(row["id"]) for row in node["relationships"]] for node in nodes(data["entities"])}
    pks = [relationship.pk for relationship in world.relationships]
    assert found[first.pk] == [loop.pk, pks[2], pks[0]]
    assert found[second.pk] == [pks[1], pks[0]]
    assert found[third.pk] == [pks[2], pks[1]]
    assert len(statements) == 3


def test_limit_of_relationships_holds_for_both_directions_together(world):
    first, _, _ = world.entities
    loop = Relationship.objects.create(tenant=world.tenant, source=first, target=first, type="is", external_id="loop")
    text = "query E($id: ID!, $n: Int) { entity(id: $id) { relationships(limit: $n) { id } } }"

    found = {
        n: [int(row["id"]) for row in ask(world, text, id=first.pk, n=n).data["entity"]["relationships"]]
        for n in (1, 2)
    }

    assert found == {1: [loop.pk], 2: [loop.pk, world.relationships[2].pk]}


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
@pytest.mark.parametrize(
    "text",
    [
        "query N($id: ID!, $limit: Int) { entity(id: $id) { relationships(limit: $limit) { id } } }",
        "query N($limit: Int) { hubs(limit: $limit) { id } }",
    ],
)
def test_lists_without_pages_have_limits(world, text, limit, code):
    result = ask(world, text, id=world.entities[0].pk, limit=limit)

    assert codes(result) == [code]


def test_pages_of_relationships_are_by_type_and_may_be_narrowed(world):
    first, second, third = world.entities
    for number, kind in enumerate(("owns", "aids")):
        Relationship.objects.create(
            tenant=world.tenant, source=first, target=third, type=kind, external_id=f"more{number}"
        )
    text = """query P($type: String, $after: String) { entities { nodes { id
        outgoing(first: 2, type: $type, after: $after) { totalCount nodes { type } pageInfo { endCursor hasNextPage } }
        incoming { nodes { type source { id } } }
    } } }"""

    data, statements = ask_counted(world, text)
    found = {int(node["id"]): node for node in data["entities"]["nodes"]}
    assert found[first.pk]["outgoing"]["totalCount"] == 3
    assert [row["type"] for row in found[first.pk]["outgoing"]["nodes"]] == ["aids", "knows"]
    assert [(row["type"], int(row["source"]["id"])) for row in found[third.pk]["incoming"]["nodes"]] == [
        ("aids", first.pk),
        ("knows", second.pk),
        ("owns", first.pk),
    ]
    # Entities, their pages, totals, the pages of the other direction, the other ends.
    assert len(statements) == 5

    after = found[first.pk]["outgoing"]["pageInfo"]["endCursor"]
    narrowed = ask(world, text, after=after).data["entities"]["nodes"][-1]["outgoing"]
    assert [row["type"] for row in narrowed["nodes"]] == ["owns"]
    narrowed = ask(world, text, type="aids").data["entities"]["nodes"][-1]["outgoing"]
    assert (narrowed["totalCount"], narrowed["nodes"]) == (1, [{"type": "aids"}])


def test_sources_are_by_type_the_newest_first_with_the_moment_of_the_last(world):
    first, second, _ = world.entities
    Source.objects.filter(entity=second).delete()
    moment = timezone.now() + timedelta(days=1)
    Source.objects.create(tenant=world.tenant, entity=first, type="report", url="u", created_at=moment)

    data, statements = ask_counted(
        world, "{ entities { nodes { lastSourceAt sources(first: 1) { nodes { type } } } } }"
    )

    third, second, first = data["entities"]["nodes"]
    assert first == {"lastSourceAt": moment.isoformat(), "sources": {"nodes": [{"type": "report"}]}}
    assert second == {"lastSourceAt": None, "sources": {"nodes": []}}
    assert third["sources"] == {"nodes": [{"type": "web"}]}
    assert len(statements) == 3
    assert [text for text in statements if "IN (SELECT" in text or "JOIN" in text.replace("CROSS JOIN", "")] == []


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (0, None),
        (None, 0),
        (0, 0),
        (1, None),
        (None, -1),
        (-1, 1),
        (-2, -1),
        (1, 2),
        (0, -5),
        (-1, -5),
        (1, -5),
    ],
)
def test_relationship_is_current_as_the_database_sees_it(world, start, end):
    today = timezone.localdate()
    days = {
        name: None if days is None else today + timedelta(days=days)
        for name, days in (("valid_from", start), ("valid_to", end))
    }
    Relationship.objects.update(**days)
    is_current = relationships.valid_on(world.tenant.pk, today).count() == len(world.relationships)

    data, statements = ask_counted(world, "{ relationships { nodes { isCurrent } } }")

    assert [row["isCurrent"] for row in data["relationships"]["nodes"]] == [is_current] * 3
    assert len(statements) == 1
    assert '"props"' not in statements[0]


def test_no_field_shows_users_or_the_tenants_table():
    text = str(schema)

    assert "user" not in text.lower().replace("user's", "")
    assert "type Tenant" not in text
