"""Writing the domain through GraphQL: what is wrong is told by field, and nothing is half-written."""

from __future__ import annotations

import pytest

from dbopt.intelgraph.models import Entity, Investigation, Relationship
from tests.intelgraph.graphql_world import ask, make_world

pytestmark = pytest.mark.django_db

CREATE_ENTITY = """mutation C($input: NewEntity!) {
    createEntity(input: $input) { entity { id externalId type name confidence props } errors { field message } }
}"""
UPDATE_ENTITY = """mutation U($id: ID!, $input: EntityFields!) {
    updateEntity(id: $id, input: $input) { entity { externalId name confidence props } errors { field message } }
}"""
CREATE_RELATIONSHIP = """mutation C($input: NewRelationship!) {
    createRelationship(input: $input) {
        relationship { type weight validFrom validTo source { name } target { name } } errors { field message }
    }
}"""
UPDATE_RELATIONSHIP = """mutation U($id: ID!, $input: RelationshipFields!) {
    updateRelationship(id: $id, input: $input) { relationship { type target { name } } errors { field message } }
}"""
CREATE_INVESTIGATION = """mutation C($input: NewInvestigation!) {
    createInvestigation(input: $input) {
        investigation { name status priority entities { nodes { name } } } errors { field message }
    }
}"""
UPDATE_INVESTIGATION = """mutation U($id: ID!, $input: InvestigationFields!) {
    updateInvestigation(id: $id, input: $input) {
        investigation { name priority entities { nodes { name } } } errors { field message }
    }
}"""


@pytest.fixture
def world():
    return make_world("one")


def change(world, text, **variables):
    result = ask(world, text, **variables)
    assert result.errors is None
    (payload,) = result.data.values()
    return payload


def test_create_entity(world):
    fields = {
        "type": "company",
        "name": "Acme",
        "externalId": "x",
        "confidence": 0.25,
        "props": {"a": [1, {"b": None}]},
    }

    payload = change(world, CREATE_ENTITY, input=fields)

    entity = Entity.objects.get(external_id="x")
    assert payload == {"entity": {"id": str(entity.pk), **fields}, "errors": []}
    assert (entity.tenant_id, entity.name, entity.props) == (world.tenant.pk, "Acme", {"a": [1, {"b": None}]})


def test_entity_without_external_id_gets_one(world):
    payload = change(world, CREATE_ENTITY, input={"type": "company", "name": "Acme"})

    assert len(payload["entity"]["externalId"]) >= 32


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"name": ""}, [("name", "This field cannot be blank.")]),
        ({"name": "a\0b"}, [("name", "Text must not contain NUL characters or half of a surrogate pair.")]),
        ({"name": "\ud800"}, [("name", "Text must not contain NUL characters or half of a surrogate pair.")]),
        ({"type": "t" * 65}, [("type", "Ensure this value has at most 64 characters (it has 65).")]),
        ({"confidence": 1.01}, [("confidence", "It must lie between 0 and 1.")]),
        ({"confidence": -0.01}, [("confidence", "It must lie between 0 and 1.")]),
        ({"confidence": None}, [("confidence", "This field cannot be null.")]),
        ({"props": [1]}, [("props", "It must be a JSON object.")]),
        (
            {"props": {"a": ["\0"]}},
            [("props", "Text must not contain NUL characters or half of a surrogate pair.")],
        ),
        (
            {"externalId": "e0"},
            [("externalId", "Another one has this external id. Choose another, or update that one.")],
        ),
        (
            {"name": "", "type": "", "confidence": 5},
            [
                ("type", "This field cannot be blank."),
                ("name", "This field cannot be blank."),
                ("confidence", "It must lie between 0 and 1."),
            ],
        ),
    ],
)
def test_wrong_fields_of_an_entity_are_told_and_nothing_is_written(world, fields, errors):
    expected = {"entity": None, "errors": [{"field": field, "message": message} for field, message in errors]}

    created = change(world, CREATE_ENTITY, input={"type": "company", "name": "Acme", **fields})
    updated = change(world, UPDATE_ENTITY, id=world.entities[1].pk, input=fields)

    assert sorted(created["errors"], key=str) == sorted(expected["errors"], key=str)
    assert sorted(updated["errors"], key=str) == sorted(expected["errors"], key=str)
    assert (created["entity"], updated["entity"]) == (None, None)
    assert Entity.objects.count() == 3
    world.entities[1].refresh_from_db()
    assert (world.entities[1].name, world.entities[1].external_id) == ("one person 1", "e1")


def test_canonical_id_is_unique_in_its_type(world):
    fields = {"type": "person", "name": "A", "canonicalId": "same"}
    change(world, CREATE_ENTITY, input=fields)

    payload = change(world, CREATE_ENTITY, input=fields)

    assert payload["errors"] == [
        {
            "field": "canonicalId",
            "message": "Another one has this canonical id in this type. Choose another, or update that one.",
        }
    ]


def test_update_changes_what_is_given_only(world):
    entity = world.entities[0]
    before = Entity.objects.get(pk=entity.pk)

    payload = change(world, UPDATE_ENTITY, id=entity.pk, input={"name": "New"})

    assert payload == {
        "entity": {"externalId": "e0", "name": "New", "confidence": 1.0, "props": {"n": 0}},
        "errors": [],
    }
    after = Entity.objects.get(pk=entity.pk)
    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


@pytest.mark.parametrize("pk", ["0", "x", "99999999999999999999999999"])
@pytest.mark.parametrize("kind", ["Entity", "Relationship", "Investigation"])
def test_missing_rows_cannot_be_changed_or_deleted(world, pk, kind):
    error = [{"field": "id", "message": f"No {kind.lower()} with this id."}]

    deleted = change(
        world, f"mutation D($id: ID!) {{ delete{kind}(id: $id) {{ deletedId errors {{ field message }} }} }}", id=pk
    )
    updated = change(
        world,
        f"mutation U($id: ID!, $input: {kind}Fields!) {{ update{kind}(id: $id, input: $input) {{ errors {{ field message }} }} }}",
        id=pk,
        input={},
    )

    assert deleted == {"deletedId": None, "errors": error}
    assert updated == {"errors": error}


def test_delete_entity_takes_its_relationships_along(world):
    entity = world.entities[0]

    payload = change(
        world, "mutation D($id: ID!) { deleteEntity(id: $id) { deletedId errors { message } } }", id=entity.pk
    )

    assert payload == {"deletedId": str(entity.pk), "errors": []}
    assert set(Relationship.objects.values_list("pk", flat=True)) == {world.relationships[1].pk}
    assert Investigation.objects.get().entities.count() == 2


def test_create_and_update_relationship(world):
    first, second, third = world.entities
    fields = {
        "sourceId": str(first.pk),
        "targetId": str(third.pk),
        "type": "pays",
        "weight": 2.5,
        "validFrom": "2024-02-29",
        "validTo": "2024-01-01",
    }

    payload = change(world, CREATE_RELATIONSHIP, input=fields)
    assert payload == {
        "relationship": {
            "type": "pays",
            "weight": 2.5,
            "validFrom": "2024-02-29",
            "validTo": "2024-01-01",
            "source": {"name": first.name},
            "target": {"name": third.name},
        },
        "errors": [],
    }

    made = Relationship.objects.get(type="pays")
    payload = change(world, UPDATE_RELATIONSHIP, id=made.pk, input={"targetId": str(second.pk)})
    assert payload == {"relationship": {"type": "pays", "target": {"name": second.name}}, "errors": []}


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        (
            {"sourceId": "0", "targetId": "x"},
            [("sourceId", "No entity with this id."), ("targetId", "No entity with this id.")],
        ),
        ({"type": ""}, [("type", "This field cannot be blank.")]),
        ({"confidence": 2}, [("confidence", "It must lie between 0 and 1.")]),
        (
            {"externalId": "r1"},
            [("externalId", "Another one has this external id. Choose another, or update that one.")],
        ),
    ],
)
def test_wrong_fields_of_a_relationship_are_told(world, fields, errors):
    good = {"sourceId": str(world.entities[0].pk), "targetId": str(world.entities[1].pk), "type": "t"}
    expected = [{"field": field, "message": message} for field, message in errors]

    created = change(world, CREATE_RELATIONSHIP, input={**good, **fields})
    updated = change(world, UPDATE_RELATIONSHIP, id=world.relationships[0].pk, input=fields)

    assert created == {"relationship": None, "errors": expected}
    assert updated == {"relationship": None, "errors": expected}
    assert Relationship.objects.count() == 3


def test_create_and_update_investigation(world):
    pks = [str(entity.pk) for entity in world.entities]

    payload = change(
        world, CREATE_INVESTIGATION, input={"name": "Case", "priority": 4, "entityIds": [pks[0], pks[1], pks[0]]}
    )
    assert payload["errors"] == []
    assert sorted(row["name"] for row in payload["investigation"].pop("entities")["nodes"]) == [
        "one person 0",
        "one person 1",
    ]
    assert payload["investigation"] == {"name": "Case", "status": "open", "priority": 4}

    case = Investigation.objects.get(name="Case")
    payload = change(world, UPDATE_INVESTIGATION, id=case.pk, input={"entityIds": [pks[1], pks[2]]})
    assert sorted(row["name"] for row in payload["investigation"]["entities"]["nodes"]) == [
        "one person 1",
        "one person 2",
    ]

    payload = change(world, UPDATE_INVESTIGATION, id=case.pk, input={"priority": 1})
    assert payload["investigation"]["priority"] == 1
    assert len(payload["investigation"]["entities"]["nodes"]) == 2

    payload = change(world, UPDATE_INVESTIGATION, id=case.pk, input={"entityIds": []})
    assert payload["investigation"]["entities"]["nodes"] == []


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"priority": 0}, [("priority", "It must lie between 1 and 4.")]),
        ({"priority": 5}, [("priority", "It must lie between 1 and 4.")]),
        ({"name": ""}, [("name", "This field cannot be blank.")]),
        ({"entityIds": ["0", "x"]}, [("entityIds", "No entity with id 0."), ("entityIds", "No entity with id x.")]),
        ({"entityIds": [str(pk) for pk in range(1001)]}, [("entityIds", "1001 entities; at most 1000 at a time.")]),
        (
            {"externalId": "i0"},
            [("externalId", "Another one has this external id. Choose another, or update that one.")],
        ),
    ],
)
def test_wrong_fields_of_an_investigation_are_told(world, fields, errors):
    expected = [{"field": field, "message": message} for field, message in errors]

    created = change(world, CREATE_INVESTIGATION, input={"name": "Case", **fields})

    assert created == {"investigation": None, "errors": expected}
    assert Investigation.objects.count() == 1


def test_refused_update_of_an_investigation_keeps_its_entities(world):
    other = Investigation.objects.create(tenant=world.tenant, name="other", external_id="i1")

    payload = change(
        world, UPDATE_INVESTIGATION, id=other.pk, input={"entityIds": [str(world.entities[0].pk)], "externalId": "i0"}
    )

    assert payload["investigation"] is None
    assert other.entities.count() == 0


def test_later_fields_of_a_mutation_see_earlier_writes(world):
    first, second, third = world.entities
    text = """mutation M($id: ID!, $to: ID!) {
        a: updateEntity(id: $id, input: {name: "A"}) { entity { name outgoing { nodes { target { name } } } } }
        b: createRelationship(input: {sourceId: $id, targetId: $to, type: "t"}) { errors { message } }
        c: updateEntity(id: $to, input: {name: "C"}) { entity { name } }
        d: updateEntity(id: $id, input: {confidence: 0.5}) { entity { name outgoing { nodes { target { name } } } } }
    }"""

    result = ask(world, text, id=first.pk, to=third.pk)

    assert result.errors is None
    assert result.data["a"]["entity"] == {"name": "A", "outgoing": {"nodes": [{"target": {"name": second.name}}]}}
    assert sorted(row["target"]["name"] for row in result.data["d"]["entity"]["outgoing"]["nodes"]) == [
        "C",
        second.name,
    ]


def test_input_is_not_changed_for_the_caller(world):
    variables = {"name": "Case", "entityIds": [str(world.entities[0].pk)]}

    change(world, CREATE_INVESTIGATION, input=variables)

    assert variables == {"name": "Case", "entityIds": [str(world.entities[0].pk)]}
