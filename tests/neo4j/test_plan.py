from __future__ import annotations

import pytest

from dbopt.neo4j import Exists, FullText, Key, Node, Range, Typed, Unique, Vector
from dbopt.neo4j.schema.plan import make_plan
from dbopt.neo4j.schema.read import constraint_of, index_of
from dbopt.neo4j.schema.rules import Live, LiveRule
from tests.neo4j.test_declare import rules_of


def live(*rules, edition="community"):
    return Live(edition=edition, version="5.26.31", rules=rules)


def index(name, *properties, kind="range", **facts):
    return LiveRule(name=name, kind=kind, entity="NODE", labels=("L",), properties=properties, **facts)


def actions(plan):
    return [(item.action, item.name) for item in plan.items]


@pytest.mark.parametrize(
    ("there", "action", "reason"),
    [
        ((), "CREATE", ""),
        ((index("zt_range_l_a", "a"),), "OK", ""),
        ((index("other", "a"),), "OK", "is there as 'other'"),
        ((index("zt_range_l_a", "a", state="POPULATING", population=40.0),), "OK", "populating, 40 %"),
        ((index("zt_range_l_a", "a", state="FAILED"),), "CHANGE", "the server failed to build it"),
        ((index("zt_range_l_a", "b"),), "CHANGE", "range 'zt_range_l_a' must be dropped first"),
        ((index("u", "a", kind="unique"), index("u", "a", owned_by="u")), "COVERED", "constraint 'u' does it"),
        ((index("t", "a", kind="text"),), "CREATE", ""),
    ],
)
def test_range_index_against_what_is_there(there, action, reason):
    plan = make_plan(rules_of(Node("L", indexes=[Range("a")])), live(*there))

    item = plan.items[0]
    assert (item.action, item.reason) == (action, reason)


def test_constraint_waits_for_the_index_in_its_way():
    plan = make_plan(rules_of(Node("L", constraints=[Unique("a")])), live(index("old", "a")))

    assert plan.items[0].cypher == [
        "DROP INDEX `old` IF EXISTS",
        "CREATE CONSTRAINT `zt_unique_l_a` FOR (n:`L`) REQUIRE (n.`a`) IS UNIQUE",
    ]
    assert not plan.is_in_sync


def test_same_constraint_name_over_another_property_is_a_change():
    plan = make_plan(
        rules_of(Node("L", constraints=[Unique("a", name="u")])),
        live(index("u", "b", kind="unique"), index("u", "b", owned_by="u")),
    )

    assert plan.items[0].action == "CHANGE"
    assert plan.items[0].cypher[0] == "DROP CONSTRAINT `u` IF EXISTS"


def test_only_declared_options_are_compared():
    declared = rules_of(Node("L", indexes=[FullText("a", analyzer="English")]))
    there = index(
        "zt_fulltext_l_a",
        "a",
        kind="fulltext",
        options=(("fulltext.analyzer", "english"), ("fulltext.eventually_consistent", False)),
    )

    assert actions(make_plan(declared, live(there))) == [("OK", "zt_fulltext_l_a")]

    other = index("zt_fulltext_l_a", "a", kind="fulltext", options=(("fulltext.analyzer", "german"),))
    (item,) = make_plan(declared, live(other)).items
    assert item.reason == "fulltext.analyzer is 'german', declared 'English'; 'zt_fulltext_l_a' must be dropped first"


def test_enterprise_rules_on_community_are_skipped_or_degraded():
    declared = rules_of(
        Node("L", constraints=[Key("a", "b", fallback="unique"), Key("c"), Exists("d"), Typed("e", "FLOAT")])
    )

    assert actions(make_plan(declared, live())) == [
        ("CREATE", "zt_key_l_a_b"),
        ("UNSUPPORTED", "zt_key_l_a_b"),
        ("UNSUPPORTED", "zt_key_l_c"),
        ("UNSUPPORTED", "zt_exists_l_d"),
        ("UNSUPPORTED", "zt_typed_l_e"),
    ]
    assert {action for action, _ in actions(make_plan(declared, live(edition="enterprise")))} == {"CREATE"}


def test_type_of_another_kind_is_a_change():
    declared = rules_of(Node("L", constraints=[Typed("a", "FLOAT")]))
    there = index("zt_typed_l_a", "a", kind="typed", property_type="INTEGER")

    (item,) = make_plan(declared, live(there, edition="enterprise")).items

    assert (item.action, item.reason) == (
        "CHANGE",
        "type is INTEGER, declared FLOAT; 'zt_typed_l_a' must be dropped first",
    )


def test_ours_that_are_declared_no_more_are_shown_and_foreign_ones_are_not():
    plan = make_plan(
        rules_of(Node("L", indexes=[Range("a")])),
        live(index("zt_range_l_a", "a"), index("zt_text_l_old", "old", kind="text"), index("foreign", "z")),
    )

    assert actions(plan) == [("OK", "zt_range_l_a"), ("EXTRA", "zt_text_l_old")]
    assert plan.is_in_sync
    assert plan.summary() == {"EXTRA": 1, "OK": 1}


@pytest.mark.parametrize(
    ("cypher_5", "cypher_25"),
    [("UNIQUENESS", "NODE_PROPERTY_UNIQUENESS"), ("RELATIONSHIP_UNIQUENESS", "RELATIONSHIP_PROPERTY_UNIQUENESS")],
)
def test_both_languages_name_the_same_constraint(cypher_5, cypher_25):
    row = {"name": "u", "entityType": "NODE", "labelsOrTypes": ["L"], "properties": ["a"], "propertyType": None}

    assert constraint_of({**row, "type": cypher_5}) == constraint_of({**row, "type": cypher_25})
    assert constraint_of({**row, "type": cypher_5}).kind == "unique"


def row_of_index(**facts):
    row = {"name": "i", "state": "ONLINE", "populationPercent": 100.0, "entityType": "NODE", "owningConstraint": None}
    return {**row, **facts}


def test_look_up_index_is_of_no_kind_of_ours():
    options = {"indexProvider": "token-lookup-1.0", "indexConfig": {}}
    row = row_of_index(type="LOOKUP", labelsOrTypes=None, properties=None, options=options)

    assert (index_of(row).kind, index_of(row).labels) == ("other", ())


@pytest.mark.parametrize(
    ("config", "is_quantized"),
    [
        ({"vector.quantization.enabled": True}, True),
        ({"vector.quantization.enabled": False}, False),
        ({"vector.quantization.type": "BINARY"}, True),
        ({"vector.quantization.type": "SCALAR"}, True),
        ({"vector.quantization.type": "NONE"}, False),
    ],
)
def test_servers_that_answer_how_vectors_are_quantized_answer_whether(config, is_quantized):
    """5.26 answers with `enabled`, 2026.08 with `type`, also where `enabled` was asked for."""
    there = {"vector.dimensions": 4, "vector.similarity_function": "COSINE", **config}
    row = row_of_index(type="VECTOR", labelsOrTypes=["L"], properties=["a"], options={"indexConfig": there})

    for declared in (True, False):
        rules = rules_of(Node("L", indexes=[Vector("a", dimensions=4, quantization=declared, name="i")]))
        (item,) = make_plan(rules, live(index_of(row))).items
        assert item.action == ("OK" if declared == is_quantized else "CHANGE")
