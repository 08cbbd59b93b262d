from __future__ import annotations

import importlib.machinery
import sys
import types

import pytest

from dbopt.neo4j import Exists, FullText, GraphSchema, Key, Node, Range, Relationship, Text, Unique, Vector
from dbopt.neo4j.schema.conflicts import check_graph_schemas, conflicts, reduce_rules
from tests.neo4j.test_declare import rules_of


def codes(*targets):
    return [conflict.code for conflict in conflicts(rules_of(*targets))]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Node("L", constraints=[Unique("id")], indexes=[Range("id")]), ["W301"]),
        (Node("L", constraints=[Unique("a", "b")], indexes=[Range("b", "a")]), ["W303"]),
        (Node("L", indexes=[Range("a", name="one"), Range("a", name="two")]), ["W302"]),
        (Node("L", indexes=[Text("a"), Range("a"), FullText("a")]), []),
        (Node("L", constraints=[Unique("a", name="x")], indexes=[Range("b", name="x")]), ["E301"]),
        (Node("L", constraints=[Unique("a", name="x")], indexes=[Range("a", name="x")]), ["E301", "W301"]),
        (Node("L", constraints=[Unique("id"), Key("id", "tenantId")]), ["W305"]),
        (Node("L", constraints=[Unique("a"), Key("a")]), ["W301"]),
        (Node("L", constraints=[Key("a", "b"), Exists("a")]), ["W301"]),
        (Node("L", indexes=[Range("a", "b"), Range("a", "b", "c"), Range("a", "c")]), []),
        (Node("L", indexes=[FullText("a", "b"), FullText("b", "a")]), ["W303"]),
        (Node("L", indexes=[FullText("a", analyzer="english"), FullText("a", analyzer="german", name="g")]), ["E302", "W302"]),
        (Node("L", indexes=[Vector("a", dimensions=3), Vector("a", dimensions=3, similarity="euclidean", name="v")]), ["E302", "W302"]),
        (Node("L", indexes=[Range("a", "a")]), ["E303"]),
    ],
)  # fmt: skip
def test_conflict(target, expected):
    assert codes(target) == expected


def test_label_that_is_also_a_type():
    found = conflicts(rules_of(Node("RELATED", indexes=[Range("a")]), Relationship("RELATED", indexes=[Range("b")])))

    assert [(item.code, item.text) for item in found] == [
        ("W304", "'RELATED' is declared as a label of nodes and as a type of relationships.")
    ]


def test_message_names_both_declarations():
    (found,) = conflicts(
        rules_of(Node("L", constraints=[Unique("a", name="x")]), Node("M", indexes=[Text("b", name="x")]))
    )

    assert found.text == (
        "The name 'x' is given to two rules: unique 'x' on (:L {a}) (zt.S.t0) and text 'x' on (:M {b}) (zt.S.t1)."
    )
    assert found.hint == "Indexes and constraints share one space of names: give one of them another name."


def test_reduced_rules_keep_the_first_name_and_the_constraint():
    rules = rules_of(
        Node("L", constraints=[Unique("id")], indexes=[Range("id"), Range("a", name="one"), Range("a", name="two")])
    )

    kept, redundant = reduce_rules(rules)

    assert [rule.name for rule in kept] == ["zt_unique_l_id", "one"]
    assert [(item.rule.name, item.by.name) for item in redundant] == [
        ("zt_range_l_id", "zt_unique_l_id"),
        ("two", "one"),
    ]


def test_the_apps_of_this_project_have_no_conflicts():
    assert check_graph_schemas(None) == []


def test_check_reports_conflicts_and_wrong_declarations(monkeypatch):
    module = types.ModuleType("tests.testapp.graph_schema")
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)

    class Wrong(GraphSchema):
        node = Node("L", constraints=[Unique("a", name="x")], indexes=[Range("b", name="x")])

    Wrong.__module__ = module.__name__
    module.Wrong = Wrong
    monkeypatch.setitem(sys.modules, module.__name__, module)

    (message,) = check_graph_schemas(None)

    assert (message.id, message.is_serious()) == ("dbopt.E301", True)

    Wrong.Meta = type("Meta", (), {"colour": "red"})

    (message,) = check_graph_schemas(None)

    assert message.id == "dbopt.E300"
    assert message.msg.endswith("Wrong.Meta has no option 'colour'. Known: alias, owner.")
