"""What a naive script of CREATE statements runs into on a real server, and what apply makes of it."""

from __future__ import annotations

import threading
import time

import pytest

from dbopt.exceptions import GraphQueryError, GraphSchemaConflictError, GraphSchemaError
from dbopt.neo4j import Exists, FullText, Key, Node, Point, Range, Relationship, Text, Typed, Unique, Vector
from dbopt.neo4j.schema.apply import apply_rules
from dbopt.neo4j.schema.plan import make_plan
from dbopt.neo4j.schema.read import read_live
from tests.neo4j.test_declare import rules_of

CONFLICT = "Neo.ClientError.Schema."


@pytest.fixture
def apply(graph):
    def run(*targets, allow_drop=False, report=lambda _: None):
        return apply_rules(graph, rules_of(*targets), timeout=60, allow_drop=allow_drop, report=report)

    return run


def names(graph):
    return sorted(rule.name for rule in read_live(graph).rules if "ZtE" in "".join(rule.labels) and not rule.owned_by)


def refused_by_server(graph, *statements):
    for statement in statements[:-1]:
        graph.write(statement)
    with pytest.raises((GraphSchemaError, GraphQueryError)) as raised:
        graph.write(statements[-1])
    return raised.value


def test_row_1_index_and_constraint_over_one_property(graph, apply):
    error = refused_by_server(
        graph,
        "CREATE INDEX zt_id FOR (n:ZtE) ON (n.id)",
        "CREATE CONSTRAINT zt_u IF NOT EXISTS FOR (n:ZtE) REQUIRE n.id IS UNIQUE",
    )
    assert (type(error), error.code) == (GraphSchemaConflictError, CONFLICT + "IndexAlreadyExists")

    declared = Node("ZtE", constraints=[Unique("id")], indexes=[Range("id")])
    kept = apply(declared)
    assert [(item.item.name, item.reason) for item in kept.refused] == [
        ("zt_unique_zte_id", "range 'zt_id' must be dropped first: allow it with --allow-drop")
    ]
    assert names(graph) == ["zt_id"]

    swapped = apply(declared, allow_drop=True)
    assert (swapped.dropped, swapped.created, swapped.is_verified) == (("zt_id",), ("zt_unique_zte_id",), True)
    assert names(graph) == ["zt_unique_zte_id"]


def test_row_1_the_other_way_round(graph, apply):
    graph.write("CREATE CONSTRAINT zt_u FOR (n:ZtE) REQUIRE n.id IS UNIQUE")
    error = refused_by_server(graph, "CREATE INDEX zt_id FOR (n:ZtE) ON (n.id)")
    assert error.code == CONFLICT + "ConstraintAlreadyExists"

    applied = apply(Node("ZtE", indexes=[Range("id")]))

    assert applied.created == ()
    assert [(item.action, item.reason) for item in applied.after.items] == [("COVERED", "constraint 'zt_u' does it")]


def test_row_2_composite_constraint_and_its_permutation(graph, apply):
    applied = apply(Node("ZtE", constraints=[Unique("email", "tenantId")], indexes=[Range("tenantId", "email")]))

    assert applied.created == ("zt_unique_zte_email_tenantid", "zt_range_zte_tenantid_email")
    assert [conflict.code for conflict in applied.before.conflicts] == ["W303"]


def test_rows_3_and_4_the_same_index_under_two_names(graph, apply):
    error = refused_by_server(
        graph, "CREATE INDEX zt_one FOR (n:ZtE) ON (n.type)", "CREATE RANGE INDEX zt_two FOR (n:ZtE) ON (n.type)"
    )
    assert error.code == CONFLICT + "IndexAlreadyExists"
    graph.write("CREATE INDEX zt_two IF NOT EXISTS FOR (n:ZtE) ON (n.type)")
    assert names(graph) == ["zt_one"]

    applied = apply(Node("ZtE", indexes=[Range("type", name="zt_two"), Range("type", name="zt_three")]))

    assert (applied.created, applied.is_verified) == ((), True)
    assert [(item.action, item.live_name) for item in applied.after.items] == [("OK", "zt_one"), ("COVERED", None)]


def test_row_5_text_range_and_fulltext_of_one_property(graph, apply):
    applied = apply(Node("ZtE", indexes=[Text("name"), Range("name"), FullText("name")]))

    assert len(applied.created) == 3
    assert applied.is_verified


@pytest.mark.parametrize("requirement", ["(n.id, n.tenantId) IS NODE KEY", "n.id IS NOT NULL", "n.id IS :: INTEGER"])
def test_rows_6_and_7_rules_of_the_enterprise_edition(graph, requirement):
    error = refused_by_server(graph, f"CREATE CONSTRAINT zt_k FOR (n:ZtE) REQUIRE {requirement}")

    assert (type(error), error.code) == (GraphSchemaError, "Neo.DatabaseError.Schema.ConstraintCreationFailed")


def test_rows_6_and_7_are_degraded_or_skipped(graph, apply):
    applied = apply(
        Node("ZtE", constraints=[Key("id", "tenantId", fallback="unique"), Exists("x"), Typed("x", "FLOAT")])
    )

    assert (applied.created, applied.is_verified) == (("zt_key_zte_id_tenantid",), True)
    assert [item.action for item in applied.after.items] == ["OK", "UNSUPPORTED", "UNSUPPORTED", "UNSUPPORTED"]


def test_row_8_unique_relationships(graph, apply):
    assert apply(Relationship("ZtE_REL", constraints=[Unique("id")])).created == ("zt_unique_zte_rel_id",)


def test_row_9_one_name_for_an_index_and_a_constraint(graph, apply):
    error = refused_by_server(
        graph,
        "CREATE INDEX zt_x FOR (n:ZtE) ON (n.a)",
        "CREATE CONSTRAINT zt_x IF NOT EXISTS FOR (n:ZtE) REQUIRE n.b IS UNIQUE",
    )
    assert error.code == CONFLICT + "IndexWithNameAlreadyExists"

    with pytest.raises(GraphSchemaConflictError) as raised:
        apply(Node("ZtE", constraints=[Unique("b", name="zt_x")], indexes=[Range("a", name="zt_x")]))

    assert str(raised.value) == (
        "The declarations contradict each other; nothing was changed.\n"
        "  dbopt.E301: The name 'zt_x' is given to two rules: unique 'zt_x' on (:ZtE {b}) (zt.S.t0) and "
        "range 'zt_x' on (:ZtE {a}) (zt.S.t0)."
    )


def test_row_9_index_is_not_lost_in_silence_behind_a_constraint_of_its_name(graph, apply):
    graph.write("CREATE CONSTRAINT zt_x FOR (n:ZtE) REQUIRE n.b IS UNIQUE")
    graph.write("CREATE INDEX zt_x IF NOT EXISTS FOR (n:ZtE) ON (n.a)")  # does nothing, and says nothing

    applied = apply(Node("ZtE", indexes=[Range("a", name="zt_x")]))

    assert [item.reason for item in applied.refused] == [
        "unique 'zt_x' must be dropped first: allow it with --allow-drop"
    ]


def test_row_10_constraint_that_was_moved_to_another_property(graph, apply):
    graph.write("CREATE CONSTRAINT zt_x FOR (n:ZtE) REQUIRE n.a IS UNIQUE")
    graph.write("CREATE CONSTRAINT zt_x IF NOT EXISTS FOR (n:ZtE) REQUIRE n.b IS UNIQUE")  # does nothing
    declared = Node("ZtE", constraints=[Unique("b", name="zt_x")])
    assert not apply(declared).is_verified

    applied = apply(declared, allow_drop=True)

    assert applied.is_verified
    (rule,) = [rule for rule in read_live(graph).rules if rule.name == "zt_x" and rule.is_constraint]
    assert rule.properties == ("b",)


def test_row_13_prefixes_are_not_redundant(graph, apply):
    assert len(apply(Node("ZtE", indexes=[Range("a"), Range("a", "b"), Range("a", "b", "c")])).created) == 3


def test_row_16_fulltext_in_another_order_or_with_another_analyzer(graph, apply):
    permuted = apply(Node("ZtE", indexes=[FullText("a", "b"), FullText("b", "a")]))
    assert len(permuted.created) == 2

    changed = Node("ZtE", indexes=[FullText("a", "b", analyzer="german")])
    assert not apply(changed).is_verified
    applied = apply(changed, allow_drop=True)

    assert (applied.dropped, applied.is_verified) == (("zt_fulltext_zte_a_b",), True)


def test_row_16_unknown_analyzer_is_refused_before_anything_is_dropped(graph, apply):
    applied = apply(Node("ZtE", indexes=[FullText("a", analyzer="englisch")]), allow_drop=True)

    assert [item.reason for item in applied.refused] == [
        "the server has no analyzer 'englisch'; did you mean 'english'?"
    ]


def test_row_17_several_statements_in_one_text(graph):
    error = refused_by_server(graph, "CREATE INDEX zt_a FOR (n:ZtE) ON (n.a); CREATE INDEX zt_b FOR (n:ZtE) ON (n.b)")

    assert error.code == "Neo.ClientError.Statement.SyntaxError"


def test_row_18_schema_and_data_in_one_transaction(graph):
    def both():
        with graph.session("w") as session, session.begin_transaction() as transaction:
            transaction.run("CREATE (:ZtE)").consume()
            transaction.run("CREATE INDEX zt_a FOR (n:ZtE) ON (n.a)").consume()

    with pytest.raises(GraphQueryError) as raised:
        both()

    assert raised.value.code == "Neo.ClientError.Transaction.ForbiddenDueToTransactionType"


def test_row_19_duplicates_in_the_data_are_counted_and_not_shown(graph, apply):
    graph.write("UNWIND ['x-secret', 'x-secret', 'y-secret', 'y-secret', 'y-secret', 'z'] AS v CREATE (:ZtE {id: v})")
    graph.write("CREATE INDEX zt_id FOR (n:ZtE) ON (n.id)")

    applied = apply(Node("ZtE", constraints=[Unique("id")]), allow_drop=True)

    (refused,) = applied.refused
    assert refused.reason == (
        "the data is against it: 2 values stand 5 times in (:ZtE {id}). Find them with: MATCH (n:`ZtE`) WHERE n.`id` "
        "IS NOT NULL WITH [n.`id`] AS value, collect(elementId(n)) AS ids WHERE size(ids) > 1 RETURN value, ids"
    )
    # The index stays, although dropping was allowed: the constraint would not have come.
    assert (applied.dropped, names(graph)) == ((), ["zt_id"])
    query = refused.reason.partition("Find them with: ")[2]
    assert sorted(len(row["ids"]) for row in graph.read(query)) == [2, 3]


def test_every_kind_is_created_verified_and_found_again(graph, apply):
    declared = (
        Node(
            "ZtE",
            constraints=[Unique("id"), Unique("a", "b")],
            indexes=[
                Range("c"),
                Range("c", "d"),
                Text("e"),
                Point("f"),
                FullText("g", "h", analyzer="english", eventually_consistent=False, labels=["ZtE2"]),
                Vector("i", dimensions=8, similarity="euclidean", quantization=True),
            ],
        ),
        Relationship(
            "ZtE_REL",
            constraints=[Unique("id")],
            indexes=[Range("c"), Text("e"), Point("f"), FullText("g"), Vector("i", dimensions=4)],
        ),
        Node("Zt`odd label", indexes=[Range("odd `property`")]),
    )
    lines = []

    first = apply(*declared, report=lines.append)
    second = apply(*declared)

    assert (len(first.created), first.is_verified) == (15, True)
    assert lines[0] == "1/15 unique (:ZtE {id})"
    assert (second.created, second.dropped, second.is_verified) == ((), (), True)
    assert second.after.summary() == {"OK": 15}


def test_apply_waits_until_an_index_over_many_nodes_is_online(graph, apply):
    graph.write("UNWIND range(1, 50000) AS i CREATE (:ZtE {a: i, b: toString(i)})", timeout=60)

    applied = apply(Node("ZtE", indexes=[Range("a", "b"), Text("b"), FullText("b")]))

    states = {rule.name: rule.state for rule in read_live(graph).rules if rule.name in applied.created}
    assert states == dict.fromkeys(applied.created, "ONLINE")
    assert len(states) == 3


def test_two_runs_at_once_both_succeed(graph):
    rules = rules_of(Node("ZtE", constraints=[Unique("id")], indexes=[Range(f"p{number}") for number in range(8)]))
    together = threading.Barrier(3)
    results = []

    def run():
        together.wait(10)
        results.append(apply_rules(graph, rules, timeout=60, allow_drop=False, report=lambda _: None))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [item.reason for result in results for item in result.refused] == []
    assert [result.is_verified for result in results] == [True] * 3
    assert sorted(name for result in results for name in result.created) == sorted(rule.name for rule in rules)
    assert make_plan(rules, read_live(graph)).is_in_sync


def test_index_that_another_run_is_making_for_a_constraint_is_waited_for(graph):
    """The server shows such an index first; here it is one by hand, which gives way to the constraint."""
    graph.write("CREATE RANGE INDEX zt_unique_zte_id FOR (n:ZtE) ON (n.id)")
    done = []

    def finish():
        time.sleep(0.5)
        graph.write("DROP INDEX zt_unique_zte_id")
        graph.write("CREATE CONSTRAINT zt_unique_zte_id FOR (n:ZtE) REQUIRE n.id IS UNIQUE")
        done.append(True)

    other = threading.Thread(target=finish)
    other.start()
    applied = apply_rules(
        graph, rules_of(Node("ZtE", constraints=[Unique("id")])), timeout=30, allow_drop=True, report=lambda _: None
    )
    other.join(30)

    assert done == [True]
    assert (applied.dropped, applied.refused, applied.is_verified) == ((), (), True)
