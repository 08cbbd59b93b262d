from __future__ import annotations

import pytest

from dbopt.neo4j.cypher import read_statement


@pytest.mark.parametrize(
    ("cypher", "text"),
    [
        ("MATCH (n:A {id: 17})\n  RETURN n ;", "MATCH (n:A {id: ?}) RETURN n"),
        ("RETURN 'it\\'s' // why\n, \"x\" /* 'y' */", "RETURN ? , ?"),
        ("MATCH (n:`odd 12 'name'`) RETURN n.a1", "MATCH (n:`odd 12 'name'`) RETURN n.a1"),
        ("RETURN $p1, $0, -1.5e-3, 0xFF", "RETURN $p1, $0, -?, ?"),
        ("UNWIND [1, 2, 3] AS x RETURN x", "UNWIND [?] AS x RETURN x"),
        ("UNWIND [ 1 ,2] AS x RETURN x", "UNWIND [?] AS x RETURN x"),
        ("RETURN 'http://x/*y*/'", "RETURN ?"),
        ("", ""),
    ],
)
def test_text_without_values(cypher, text):
    assert read_statement(cypher).text == text


def test_fingerprint_ignores_layout_and_values():
    one = read_statement("MATCH (n {a: 1}) RETURN n")
    other = read_statement("MATCH  (n {a: 'x'}) // why\nRETURN n;")

    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 16


def test_fingerprint_tells_labels_apart():
    assert read_statement("MATCH (n:A) RETURN n").fingerprint != read_statement("MATCH (n:B) RETURN n").fingerprint


@pytest.mark.parametrize(
    ("cypher", "verb"),
    [
        ("match (n) return n", "MATCH"),
        ("CYPHER 25 PROFILE RETURN 1", "PROFILE"),
        ("cypher runtime=slotted explain RETURN 1", "EXPLAIN"),
        ("/* EXPLAIN */ CREATE (n)", "CREATE"),
        ("", ""),
    ],
)
def test_verb_is_the_first_word_that_is_no_option(cypher, verb):
    assert read_statement(cypher).verb == verb
