from __future__ import annotations

import io
import itertools
import json
import threading
import uuid
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from dbopt.intelgraph.models import Entity, Relationship, Tenant
from dbopt.neo4j.projections import cypher_of, sync
from tests.testapp.models import Author, Book

pytestmark = pytest.mark.django_db


@pytest.fixture
def indexed(graph, settings, neo4j_options):
    """Both schemas are in place."""
    settings.DBOPT = {"NEO4J": {"default": neo4j_options, "bookshop": neo4j_options}}
    for alias in ("default", "bookshop"):
        call_command("neo4j_indexes", "--alias", alias, stdout=io.StringIO(), stderr=io.StringIO())
    return graph


def run(*args, alias="default"):
    out = io.StringIO()
    code, message = 0, ""
    try:
        call_command("dbopt_graph", "sync", "--alias", alias, *args, stdout=out, stderr=io.StringIO())
    except CommandError as error:
        code, message = error.returncode, str(error)
    return code, out.getvalue(), message


def counted(out):
    names = ("rows", "created", "changed", "moved", "unchanged", "unconnected")
    return {item["target"]: tuple(item[name] for name in names) for item in json.loads(out)["projections"]}


def people(tenant, number, *, kind="person"):
    return Entity.objects.bulk_create(
        [Entity(tenant=tenant, type=kind, name=f"{tenant.slug} {i}", external_id=f"e{i}") for i in range(number)]
    )


def link(one, other, **facts):
    return Relationship.objects.create(
        tenant=facts.pop("tenant", one.tenant), source=one, target=other, type="knows", **facts
    )


@pytest.fixture
def tenants():
    return [Tenant.objects.create(slug=slug) for slug in ("acme", "bolt")]


def test_rows_become_nodes_and_relationships(indexed, tenants):
    one, other = people(tenants[0], 2)
    related = link(one, other, confidence=0.5, weight=None, valid_from="2020-01-31")

    code, out, _ = run("--json")

    assert code == 0
    assert counted(out) == {"Entity": (2, 2, 0, 0, 0, 0), "RELATED_TO": (1, 1, 0, 0, 0, 0)}
    (row,) = indexed.read(
        "MATCH (a:Entity)-[r:RELATED_TO]->(b) RETURN a, properties(r) AS r, b.id AS b, toString(r.validFrom) AS day"
    )
    assert dict(row["a"]) == {
        "id": one.pk,
        "tenantId": tenants[0].pk,
        "externalId": "e0",
        "type": "person",
        "name": "acme 0",
        "confidence": 1.0,
        "createdAt": row["a"]["createdAt"],
    }
    assert row["a"]["createdAt"].to_native() == one.created_at
    assert (row["b"], row["day"]) == (other.pk, "2020-01-31")
    assert {name: row["r"][name] for name in ("id", "tenantId", "type", "confidence")} == {
        "id": related.pk,
        "tenantId": tenants[0].pk,
        "type": "knows",
        "confidence": 0.5,
    }
    assert "weight" not in row["r"]


def test_second_run_changes_nothing_and_says_so(indexed, tenants):
    one, other = people(tenants[0], 2)
    link(one, other)
    run()
    before = indexed.read(
        "MATCH (a)-[r:RELATED_TO]->(b) RETURN elementId(a), elementId(r), properties(a), properties(r)"
    )

    code, out, _ = run("--json")

    assert (code, json.loads(out)["changed"]) == (0, False)
    assert counted(out) == {"Entity": (2, 0, 0, 0, 2, 0), "RELATED_TO": (1, 0, 0, 0, 1, 0)}
    assert before == indexed.read(
        "MATCH (a)-[r:RELATED_TO]->(b) RETURN elementId(a), elementId(r), properties(a), properties(r)"
    )
    text = run()[1].splitlines()
    assert text[0] == "intelgraph.Entity to Entity: 2 rows, 0 created, 0 changed, 0 moved, 2 unchanged, 0 without ends"
    assert text[-1].startswith("Nothing to change; compared in ")


def test_changed_rows_change_what_is_theirs_and_leave_the_rest(indexed, tenants):
    one, other = people(tenants[0], 2)
    related = link(one, other, weight=2.0, valid_to="2020-01-01")
    run()
    indexed.write("MATCH (e:Entity {id: $id}) SET e.rank = 0.7, e:ZtMarked", {"id": one.pk})
    Entity.objects.filter(pk=one.pk).update(name="New name")
    Relationship.objects.filter(pk=related.pk).update(weight=None, valid_to=None)

    _, out, _ = run("--json")

    assert counted(out) == {"Entity": (2, 0, 1, 0, 1, 0), "RELATED_TO": (1, 0, 1, 0, 0, 0)}
    (row,) = indexed.read(
        "MATCH (e:ZtMarked)-[r]->() RETURN e.name AS name, e.rank AS rank, r.weight AS weight, r.validTo AS day"
    )
    assert tuple(row) == ("New name", 0.7, None, None)


def test_parallel_relationships_stay_two(indexed, tenants):
    one, other = people(tenants[0], 2)
    link(one, other)
    link(one, other)

    run()
    run()

    assert indexed.read("MATCH (:Entity)-[r:RELATED_TO]->(:Entity) RETURN count(r) AS n")[0]["n"] == 2


def test_relationship_with_other_ends_moves_under_its_id(indexed, tenants):
    one, other, third = people(tenants[0], 3)
    related = link(one, other)
    run()
    Relationship.objects.filter(pk=related.pk).update(source=third)

    _, out, _ = run("--json")

    assert counted(out)["RELATED_TO"] == (1, 0, 0, 1, 0, 0)
    rows = indexed.read("MATCH (a)-[r:RELATED_TO]->(b) RETURN a.id, r.id, b.id")
    assert [tuple(row) for row in rows] == [(third.pk, related.pk, other.pk)]


def test_only_the_named_tenant_is_synced(indexed, tenants):
    for tenant in tenants:
        link(*people(tenant, 2))

    _, out, _ = run("--tenant", "bolt", "--json")

    assert counted(out) == {"Entity": (2, 2, 0, 0, 0, 0), "RELATED_TO": (1, 1, 0, 0, 0, 0)}
    assert [row[0] for row in indexed.read("MATCH (e:Entity) RETURN DISTINCT e.tenantId")] == [tenants[1].pk]


def test_no_relationship_ever_crosses_tenants(indexed, tenants):
    ours, theirs = people(tenants[0], 1)[0], people(tenants[1], 1)[0]
    link(ours, theirs, tenant=tenants[0])
    link(theirs, theirs, tenant=tenants[0])

    code, out, message = run("--json")

    assert (code, message) == (
        1,
        "2 relationships were not written: an end is not in the graph, or of another tenant.",
    )
    assert counted(out)["RELATED_TO"] == (2, 0, 0, 0, 0, 2)
    assert indexed.read("MATCH ()-[r:RELATED_TO]->() RETURN count(r) AS n")[0]["n"] == 0


def test_deleted_rows_stay_in_the_graph(indexed, tenants):
    people(tenants[0], 2)
    run()
    Entity.objects.all().delete()

    _, out, _ = run("--json")

    assert counted(out)["Entity"] == (0, 0, 0, 0, 0, 0)
    assert indexed.read("MATCH (e:Entity) RETURN count(e) AS n")[0]["n"] == 2


def test_batches_read_each_row_once_and_need_a_statement_each(indexed, tenants, django_assert_num_queries):
    people(tenants[0], 10)
    projection = sync.projections_of(sync_schemas())[0]

    with django_assert_num_queries(5):  # count, then 4 + 4 + 2 rows; the third page is short, and the last
        synced = sync.sync_projection(
            indexed, projection, tenant=None, database="default", batch=4, report=lambda _: None
        )
        count_queries_of_nothing()

    assert (synced.rows, synced.created) == (10, 10)


def test_next_batch_is_read_while_the_server_works(indexed, tenants, monkeypatch):
    people(tenants[0], 4)
    read, read_second, seen = sync.chunks, threading.Event(), []
    write = sync._sync_batch

    def reading(*args, **options):
        for number, rows in enumerate(read(*args, **options)):
            if number:
                read_second.set()
            yield rows

    def writing(*args):
        seen.append(read_second.wait(20))
        return write(*args)

    monkeypatch.setattr(sync, "chunks", reading)
    monkeypatch.setattr(sync, "_sync_batch", writing)
    synced = sync.sync_projection(
        indexed,
        sync.projections_of(sync_schemas())[0],
        tenant=None,
        database="default",
        batch=2,
        report=lambda _: None,
    )

    assert (synced.created, seen) == (4, [True, True])


def test_relationships_are_found_by_their_index_while_statistics_are_young(indexed, tenants):
    """Filled, emptied and filled again: without a hint the planner reads the whole index for each row."""
    nodes, relationships = sync.projections_of(sync_schemas())
    everybody = [[number, f"e{number}", "person", "n", 1.0, None, 1] for number in range(500)]
    edges = [
        [number, number % 500, (number + 1) % 500, f"r{number}", "knows", 1.0, None, None, None, 1]
        for number in range(2000)
    ]
    for _ in range(2):
        indexed.write("MATCH (e:Entity) DETACH DELETE e")
        sync._sync_batch(indexed, nodes, everybody)
        sync._sync_batch(indexed, relationships, edges)
    indexed.write("CALL db.clearQueryCaches()")

    plan = indexed.explain(cypher_of.syncing(relationships), {"rows": []}).plan

    operators = [node.operator for node in plan.walk()]
    assert [name for name in operators if name.endswith("Scan")] == []
    assert operators.count("DirectedRelationshipUniqueIndexSeek(Locking)") == 2


def sync_schemas():
    from dbopt.neo4j.schema.discover import graph_schemas

    return graph_schemas("default")


def count_queries_of_nothing():
    assert Entity.objects.filter(pk=0).count() == 0


@pytest.mark.parametrize("batch", ["1", "3", "5", "100"])
def test_every_batch_size_gives_the_same_graph(indexed, tenants, batch):
    entities = people(tenants[0], 5)
    for one, other in itertools.pairwise(entities):
        link(one, other)

    _, out, _ = run("--batch", batch, "--json")

    assert counted(out) == {"Entity": (5, 5, 0, 0, 0, 0), "RELATED_TO": (4, 4, 0, 0, 0, 0)}


def test_missing_constraint_is_refused_before_anything_is_written(indexed, tenants):
    people(tenants[0], 1)
    indexed.write("DROP CONSTRAINT idx_related_id")

    code, _, message = run()

    assert (code, message) == (
        2,
        (
            "RelationshipProjection('intelgraph.Relationship', 'RELATED_TO') needs a uniqueness constraint on 'id' of "
            "'RELATED_TO': declare Unique(\"id\") in graph_schema.py and run manage.py neo4j_indexes."
        ),
    )
    assert indexed.read("MATCH (e:Entity) RETURN count(e) AS n")[0]["n"] == 0


def test_unknown_tenant(indexed):
    assert run("--tenant", "nobody")[::2] == (2, "There is no tenant 'nobody'.")


def test_tenant_for_models_that_have_none(indexed):
    code, _, message = run("--tenant", "x", alias="bookshop")

    assert (code, message) == (
        2,
        "NodeProjection('testapp.Author', 'Author') has no tenant; run without --tenant.",
    )


@pytest.mark.parametrize("batch", ["0", "-1", "50001", "many"])
def test_wrong_batch_is_refused(batch):
    with pytest.raises(CommandError, match="argument --batch"):
        call_command("dbopt_graph", "sync", "--batch", batch)


def test_server_out_of_reach(alias):
    alias(URI="bolt://127.0.0.1:1", RETRY_TIME=0)

    code, out, message = run(alias="other")

    assert (code, out) == (3, "")
    assert message.startswith("Neo4j 'other' (database 'neo4j' at 127.0.0.1:1) is out of reach")


def test_values_of_every_kind_are_stored_and_compared(indexed):
    author = Author.objects.create(name="Ada", email="a@example.com", born="1815-12-10")
    key = uuid.uuid4()
    Book.objects.create(
        key=key, title="Notes", author=author, price=Decimal("12.50"), rating=float("nan"), data={"b": [1], "a": "ä"}
    )

    code, out, _ = run("--json", alias="bookshop")

    assert code == 0
    assert counted(out) == {
        "Author": (1, 1, 0, 0, 0, 0),
        "Book": (1, 1, 0, 0, 0, 0),
        "WROTE": (1, 1, 0, 0, 0, 0),
    }
    (row,) = indexed.read(
        "MATCH (a:Author)-[:WROTE {pages: 0}]->(b:Book) RETURN toString(a.born) AS born, properties(b) AS b"
    )
    assert (row["born"], row["b"]) == (
        "1815-12-10",
        {"key": str(key), "title": "Notes", "price": 12.5, "data": '{"a": "ä", "b": [1]}', "author": "Ada"},
    )
    assert json.loads(run("--json", alias="bookshop")[1])["changed"] is False


def test_interruption_leaves_whole_batches_and_the_next_run_does_the_rest(indexed, tenants, monkeypatch):
    people(tenants[0], 6)
    real, calls = sync._sync_batch, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(sync, "_sync_batch", interrupted)
    code, _, message = run("--batch", "2")
    monkeypatch.undo()

    assert (code, message) == (130, "Interrupted. Whole batches are in the graph; run it again for the rest.")
    assert indexed.read("MATCH (e:Entity) RETURN count(e) AS n")[0]["n"] == 2
    assert counted(run("--json")[1])["Entity"] == (6, 4, 0, 0, 2, 0)


def test_two_syncs_at_once_make_no_duplicates(indexed, tenants, neo4j_options):
    """Without the lock of PostgreSQL: the constraint and a second look are enough."""
    projection = sync.projections_of(sync_schemas())
    rows = [[number, f"e{number}", "person", "n", 1.0, None, 1] for number in range(500)]
    edges = [
        [number, number, (number + 1) % 500, f"r{number}", "knows", 1.0, None, None, None, 1] for number in range(500)
    ]
    together, results = threading.Barrier(4), []

    def write():
        for wanted, batch in zip(projection, (rows, edges), strict=True):
            together.wait(30)
            results.append(sync._sync_batch(indexed, wanted, batch))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(results) == 8
    assert indexed.read("MATCH (e:Entity) RETURN count(e) AS n")[0]["n"] == 500
    assert indexed.read("MATCH ()-[r:RELATED_TO]->() RETURN count(r) AS n, count(DISTINCT r.id) AS ids")[
        0
    ].values() == [500, 500]
