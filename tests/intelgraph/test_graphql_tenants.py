"""Nobody reads or writes another tenant's rows, whichever way they try."""

from __future__ import annotations

import pytest

from dbopt.graphql.execution.promises import held_queue, run_next_job
from dbopt.intelgraph.loaders import (
    EntityByIdLoader,
    InvestigationByIdLoader,
    RelationshipByIdLoader,
    RelationshipsByEntityLoader,
)
from dbopt.intelgraph.models import Entity, Investigation, InvestigationEntity, Relationship
from dbopt.intelgraph.nodes import TenantNode
from dbopt.intelgraph.schema import schema
from dbopt.tenancy import tenant_context
from tests.intelgraph.graphql_world import ask, codes, make_world, nodes

pytestmark = pytest.mark.django_db


@pytest.fixture
def ours():
    return make_world("ours")


@pytest.fixture
def theirs():
    return make_world("theirs")


def everything():
    """All rows of all tenants, to compare before and after."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (Entity, Relationship, Investigation, InvestigationEntity)
    ]


READS = {
    "entity": '{ entity(id: "%d") { name } }',
    "relationship": '{ relationship(id: "%d") { type } }',
    "investigation": '{ investigation(id: "%d") { name } }',
}


def foreign_pk(theirs, kind):
    rows = {
        "entity": theirs.entities[0],
        "relationship": theirs.relationships[0],
        "investigation": theirs.investigation,
    }
    return rows[kind].pk


@pytest.mark.parametrize("kind", READS)
def test_by_id_a_foreign_row_looks_like_a_missing_one(ours, theirs, kind):
    foreign = ask(ours, READS[kind] % foreign_pk(theirs, kind))
    missing = ask(ours, READS[kind] % 0)

    assert (foreign.data, foreign.errors) == (missing.data, missing.errors) == ({kind: None}, None)


def test_lists_and_filters_show_own_rows_only(ours, theirs):
    text = """query L($e: ID) {
        entities(text: "person") { edges { node { name } } }
        relationships { edges { node { id } } }
        foreign: relationships(entity: $e) { edges { node { id } } }
        investigations(text: "case") { edges { node { name } } }
        members { edges { node { email } } }
    }"""

    result = ask(ours, text, e=theirs.entities[0].pk)

    assert result.errors is None
    assert [node["name"] for node in nodes(result.data["entities"])] == [
        "ours person 2",
        "ours person 1",
        "ours person 0",
    ]
    assert len(nodes(result.data["relationships"])) == 3
    assert nodes(result.data["foreign"]) == []
    assert nodes(result.data["investigations"]) == [{"name": "ours case"}]
    assert nodes(result.data["members"]) == [{"email": "ours@example.com"}]


def test_cursor_of_another_tenant_shows_nothing_of_theirs(ours, theirs):
    text = "query P($after: String) { entities(first: 1, after: $after) { edges { cursor node { name } } } }"
    cursor = ask(theirs, text).data["entities"]["edges"][0]["cursor"]

    result = ask(ours, text, after=cursor)

    if result.errors:
        assert codes(result) == ["INVALID_CURSOR"]
    else:
        assert {node["name"].split()[0] for node in nodes(result.data["entities"])} <= {"ours"}


@pytest.mark.parametrize(
    ("loader", "kind"),
    [
        (EntityByIdLoader, "entity"),
        (RelationshipByIdLoader, "relationship"),
        (InvestigationByIdLoader, "investigation"),
    ],
)
def test_loaders_show_own_rows_only_and_share_nothing_between_tenants(ours, theirs, loader, kind):
    pk = foreign_pk(theirs, kind)
    context = {}

    with held_queue():
        with tenant_context(theirs.tenant.pk):
            seen_by_them = loader(context).load(pk)
        with tenant_context(ours.tenant.pk):
            seen_by_us = loader(context).load(pk)
        while run_next_job():
            pass

    assert seen_by_them.value.pk == pk
    assert seen_by_us.value is None


def test_relationships_of_a_foreign_entity_are_none(ours, theirs):
    with tenant_context(ours.tenant.pk), held_queue():
        found = RelationshipsByEntityLoader({}, 10).load(theirs.entities[0].pk).get()

    assert found == []


def test_nested_relations_hide_foreign_rows_that_are_wrongly_linked(ours, theirs):
    mine, foreign = ours.entities[0], theirs.entities[0]
    crossing = Relationship.objects.create(
        tenant=ours.tenant, source=mine, target=foreign, type="crosses", external_id="x"
    )
    Relationship.objects.create(tenant=theirs.tenant, source=foreign, target=mine, type="theirs", external_id="x")
    InvestigationEntity.objects.create(investigation=ours.investigation, entity=foreign)
    InvestigationEntity.objects.create(investigation=theirs.investigation, entity=mine)
    text = """query N($e: ID!, $i: ID!) {
        entity(id: $e) {
            incoming { nodes { type } } relationships { type } investigations { nodes { name } } outgoing { nodes { id } }
        }
        investigation(id: $i) { entities { nodes { name } } }
    }"""

    result = ask(ours, text, e=mine.pk, i=ours.investigation.pk)

    assert result.errors is None
    entity = result.data["entity"]
    assert [row["type"] for row in entity["incoming"]["nodes"]] == ["knows"]
    assert sorted(row["type"] for row in entity["relationships"]) == ["crosses", "knows", "knows"]
    assert entity["investigations"]["nodes"] == [{"name": "ours case"}]
    assert {row["name"].split()[0] for row in result.data["investigation"]["entities"]["nodes"]} == {"ours"}

    result = ask(ours, "query R($r: ID!) { relationship(id: $r) { source { name } target { name } } }", r=crossing.pk)
    assert result.data == {"relationship": None}
    assert [error.message for error in result.errors] == [
        "Cannot return null for non-nullable field Relationship.target."
    ]


@pytest.mark.parametrize("kind", ["Entity", "Relationship", "Investigation"])
def test_mutations_cannot_touch_foreign_rows(ours, theirs, kind):
    pk = foreign_pk(theirs, kind.lower())
    before = everything()
    values = {"Entity": 'name: "mine now"', "Relationship": 'type: "mine"', "Investigation": "entityIds: []"}[kind]
    error = [{"field": "id", "message": f"No {kind.lower()} with this id."}]

    result = ask(
        ours,
        f"""mutation M($id: ID!) {{
            update{kind}(id: $id, input: {{{values}}}) {{ errors {{ field message }} }}
            delete{kind}(id: $id) {{ deletedId errors {{ field message }} }}
        }}""",
        id=pk,
    )

    assert result.errors is None
    assert result.data == {f"update{kind}": {"errors": error}, f"delete{kind}": {"deletedId": None, "errors": error}}
    assert everything() == before


def test_mutations_cannot_link_to_foreign_rows(ours, theirs):
    mine, foreign = ours.entities[0].pk, theirs.entities[0].pk
    before = everything()
    text = """mutation M($mine: ID!, $foreign: ID!, $r: ID!, $i: ID!) {
        source: createRelationship(input: {sourceId: $foreign, targetId: $mine, type: "t"}) { errors { field message } }
        target: createRelationship(input: {sourceId: $mine, targetId: $foreign, type: "t"}) { errors { field message } }
        moved: updateRelationship(id: $r, input: {targetId: $foreign}) { errors { field message } }
        new: createInvestigation(input: {name: "n", entityIds: [$mine, $foreign]}) { errors { field message } }
        old: updateInvestigation(id: $i, input: {entityIds: [$foreign]}) { errors { field message } }
    }"""

    result = ask(ours, text, mine=mine, foreign=foreign, r=ours.relationships[0].pk, i=ours.investigation.pk)

    assert result.errors is None
    gone = "No entity with this id."
    assert {name: payload["errors"] for name, payload in result.data.items()} == {
        "source": [{"field": "sourceId", "message": gone}],
        "target": [{"field": "targetId", "message": gone}],
        "moved": [{"field": "targetId", "message": gone}],
        "new": [{"field": "entityIds", "message": f"No entity with id {foreign}."}],
        "old": [{"field": "entityIds", "message": f"No entity with id {foreign}."}],
    }
    assert everything() == before


def test_external_ids_of_another_tenant_are_free(ours, theirs):
    Entity.objects.create(tenant=theirs.tenant, type="t", name="n", external_id="theirs-only")

    result = ask(
        ours,
        'mutation { createEntity(input: {type: "t", name: "n", externalId: "theirs-only"}) { errors { message } } }',
    )

    assert result.data == {"createEntity": {"errors": []}}


WITHOUT_TENANT = [
    "{ entities { edges { node { id } } } }",
    "{ relationships { edges { node { id } } } }",
    "{ investigations { edges { node { id } } } }",
    "{ members { edges { node { id } } } }",
    "{ entityTypes { type } }",
    "{ hubs { id } }",
    '{ entity(id: "1") { id } }',
    '{ relationship(id: "1") { id } }',
    '{ investigation(id: "1") { id } }',
    'mutation { createEntity(input: {type: "t", name: "n"}) { errors { field } } }',
    'mutation { updateEntity(id: "1", input: {name: "n"}) { errors { field } } }',
    'mutation { deleteEntity(id: "1") { deletedId } }',
    'mutation { createRelationship(input: {sourceId: "1", targetId: "1", type: "t"}) { errors { field } } }',
    'mutation { updateRelationship(id: "1", input: {type: "n"}) { errors { field } } }',
    'mutation { deleteRelationship(id: "1") { deletedId } }',
    'mutation { createInvestigation(input: {name: "n"}) { errors { field } } }',
    'mutation { updateInvestigation(id: "1", input: {name: "n"}) { errors { field } } }',
    'mutation { deleteInvestigation(id: "1") { deletedId } }',
]


@pytest.mark.parametrize("text", WITHOUT_TENANT)
def test_without_a_tenant_everything_is_refused_with_a_code(ours, text, django_assert_num_queries):
    with django_assert_num_queries(0):
        result = ask(None, text)

    assert codes(result) == ["TENANT_REQUIRED"]
    assert not (result.data or {}) or set(result.data.values()) == {None}


def test_every_root_field_is_in_the_list_of_what_is_refused():
    types = schema.graphql_schema
    roots = {*types.query_type.fields, *types.mutation_type.fields}

    assert {name for name in roots if not any(f" {name}" in text for text in WITHOUT_TENANT)} == set()


def test_every_type_of_a_model_is_scoped():
    models = {
        name: named.graphene_type
        for name, named in schema.graphql_schema.type_map.items()
        if getattr(getattr(getattr(named, "graphene_type", None), "_meta", None), "model", None)
        and hasattr(named.graphene_type, "get_queryset")
    }

    assert set(models) == {"Entity", "Relationship", "Investigation", "Member", "Source"}
    assert all(issubclass(node, TenantNode) for node in models.values())
