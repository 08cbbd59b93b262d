"""Two sessions at once: what a constraint refuses is told by field."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from dbopt.intelgraph import writes
from dbopt.intelgraph.models import Entity, Relationship
from tests.intelgraph.graphql_world import ask, make_world

pytestmark = pytest.mark.django_db(transaction=True)


def in_thread(work):
    """Run in a thread with a connection of its own; return its result."""
    results = []

    def run():
        try:
            results.append(work())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]


def test_of_two_who_take_one_external_id_at_once_one_is_told():
    world = make_world("one")
    barrier = threading.Barrier(2)
    text = (
        'mutation { createEntity(input: {type: "t", name: "n", externalId: "x"}) { entity { id } errors { field } } }'
    )
    answers = []

    def work():
        barrier.wait()
        try:
            answers.append(ask(world, text))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [answer.errors for answer in answers] == [None, None]
    told = sorted((answer.data["createEntity"]["errors"] for answer in answers), key=len)
    assert told == [[], [{"field": "externalId"}]]
    assert Entity.objects.filter(external_id="x").count() == 1


@pytest.mark.parametrize(("end", "field"), [(0, "sourceId"), (1, "targetId")])
def test_entity_that_is_deleted_before_the_commit_is_told(monkeypatch, end, field):
    world = make_world("one")
    entities = world.entities[:2]
    save = writes._save

    def save_late(*arguments, **options):
        in_thread(Entity.objects.filter(pk=entities[end].pk).delete)
        return save(*arguments, **options)

    monkeypatch.setattr(writes, "_save", save_late)
    text = """mutation M($s: ID!, $t: ID!) {
        createRelationship(input: {sourceId: $s, targetId: $t, type: "late"}) {
            relationship { id } errors { field message }
        }
    }"""

    result = ask(world, text, s=entities[0].pk, t=entities[1].pk)

    assert result.errors is None
    assert result.data["createRelationship"] == {
        "relationship": None,
        "errors": [{"field": field, "message": "No entity with this id."}],
    }
    assert not Relationship.objects.filter(type="late").exists()


def test_row_that_is_deleted_first_by_another_session_is_missing():
    world = make_world("one")
    pk = world.entities[0].pk
    in_thread(Entity.objects.filter(pk=pk).delete)

    result = ask(world, "mutation D($id: ID!) { deleteEntity(id: $id) { deletedId errors { field message } } }", id=pk)

    assert result.data["deleteEntity"] == {
        "deletedId": None,
        "errors": [{"field": "id", "message": "No entity with this id."}],
    }
