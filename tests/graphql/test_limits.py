"""Limits: what is counted, and what the refusal says."""

from __future__ import annotations

import dataclasses

import pytest
from graphql import build_schema, get_operation_ast, parse, validate

from dbopt.conf import GraphQLSettings
from dbopt.graphql.safety.costs import cost_of
from dbopt.graphql.safety.limits import LimitExceededError, check_names, checked_measure, checked_outline
from dbopt.graphql.safety.measures import measure
from dbopt.graphql.safety.mistakes import mistakes_in, vocabulary_of
from dbopt.graphql.safety.outlines import outline_of
from dbopt.graphql.safety.tokens import endless_string, tokens_of
from tests.graphql.posting import calls_during

OPTIONS = GraphQLSettings()


def outline(text):
    return outline_of(tokens_of(text))


def sizes(text):
    found = measure(outline(text), max_fields=1000, max_merges=1000)
    return found.depth, found.root_fields, found.fields, found.aliases, found.directives, found.merges


@pytest.mark.parametrize(
    "text",
    [
        '{ a(x: "b \\" c", y: """d \\""" e""") @f { ...G } } # h\nfragment G on T { i: j(k: -1.5e3, l: [$m]) }',
        "query ($a: Int! = 1 @b) { c ... on D & E | F { g } }",
    ],
)
def test_tokens_are_those_of_the_parser(text):
    from graphql.language import Lexer, Source, TokenKind

    lexer, kinds = Lexer(Source(text)), []
    token = lexer.token
    while token.kind is not TokenKind.EOF:
        lexer.advance()
        token = token.next
        kinds.append(token.kind)

    assert len(tokens_of(text)) == len(kinds) - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # depth, root fields, fields, aliases, directives, merges
        ("{ a b { c } }", (2, 2, 3, 0, 0, 0)),
        ("{ a a a }", (1, 3, 3, 0, 0, 3)),
        ("{ x: a x: b }", (1, 2, 2, 2, 0, 1)),
        ("query @x { a @y { b @z } }", (2, 1, 2, 0, 3, 0)),
        ("query Q($a: [Int!] = [1] @d) @e { a }", (1, 1, 1, 0, 2, 0)),
        ("{ a(x: {b: [1, {c: $d}]}) @skip(if: $e) }", (1, 1, 1, 0, 1, 0)),
        ("{ ... on Query @x { a } ...F } fragment F on Query { b c: d }", (1, 3, 3, 1, 1, 0)),
        ("{ a ... on T @d(e: {f: 1}) { on { a } } ... { a } ... @g { ... on T { b } } }", (2, 4, 5, 0, 2, 1)),
        ("{ ...F ...F } fragment F on Query { a: b { c } }", (2, 2, 4, 2, 0, 0)),
        ("{ ...F ...F } fragment F on T { a ...G ...G } fragment G on T @d { b: c }", (1, 6, 6, 4, 4, 1)),
        ("{ a { b } a { b } }", (2, 2, 4, 0, 0, 2)),
        ("{ a { b } c { b } }", (2, 2, 4, 0, 0, 0)),
        ("{ a { ...F ...G } } fragment F on T { b } fragment G on T { b }", (2, 1, 3, 0, 0, 2)),
        ("{ a { ...F } b { ...F } } fragment F on T { c { d d } }", (3, 2, 8, 0, 0, 1)),
        ("query A { a } query B { a b { c } }", (2, 2, 3, 0, 0, 0)),
        ("query fragment @d { a ...fragment } fragment fragment on T { query }", (1, 2, 2, 0, 1, 0)),
        ("{ a } fragment Unused on T { b b c { d } }", (1, 1, 4, 0, 0, 1)),
        ("{ ...F } fragment F on T { a a a } fragment F on T { a }", (1, 3, 3, 0, 0, 3)),
        ("{ __schema { types { fields { type { ofType { name } } } } } }", (1, 1, 6, 0, 0, 0)),
        ("{ a { __typename } ...Unknown }", (2, 1, 2, 0, 0, 0)),
        ('{ a(x: "} { b") # c: d @e\n b }', (1, 2, 2, 0, 0, 0)),
        ('{ a(x: """ " \\""" } """) b }', (1, 2, 2, 0, 0, 0)),
    ],
)
def test_document_is_measured_with_fragments_in_place(text, expected):
    assert parse(text)
    assert sizes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "}}}){ a", "{ { { a", "{ : a }", "(:", "@", "{ ... ... {", "fragment {", "{ a { } : b"]
)
def test_what_is_no_graphql_is_measured_too(text):
    assert len(sizes(text)) == 6


def bomb(levels):
    spreads = " ".join(f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return f"{{ ...F0 }} {spreads} fragment F{levels} on Q {{ a }}"


def test_exponential_fragments_take_linear_work():
    def work(levels):
        tokens = tokens_of(bomb(levels))
        return calls_during(lambda: measure(outline_of(tokens), max_fields=1000, max_merges=1000))

    assert measure(outline(bomb(40)), max_fields=1000, max_merges=1000).fields == 2**40
    assert work(40) < 2.1 * work(20) < 3000
    assert work(90) < 5 * work(20)


def test_operations_that_share_a_fragment_take_linear_work():
    fragment = " fragment F on T { " + " ".join(f"a{n} {{ b c d e }}" for n in range(100)) + "}"

    def work(operations):
        text = " ".join(f"query Q{n} {{ a ...F }}" for n in range(operations)) + fragment
        return calls_during(lambda: sizes(text))

    assert work(90) < 4 * work(10)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('{ a(x: "b) }', 7),
        (r'{ a(x: "b\" }', 7),
        ('{ a(x: "b", y: "c\n") }', 15),
        (r'{ a(x: """b\""") }', 7),
        (r'{ a(x: "" y: """""" z: "\"") }', None),
        ('{ a # "\n }', None),
    ],
)
def test_string_that_never_ends_is_found_before_the_parser_reads_it(text, position):
    assert endless_string(text, tokens_of(text)) == position


def test_search_for_merges_ends_at_the_limit():
    found = outline("{ " + "a { " * 5 + "a " * 80 + "} " * 5 + " }")

    assert measure(found, max_fields=1000, max_merges=100).merges == 3160
    assert measure(found, max_fields=10, max_merges=100).merges == 0


@pytest.mark.parametrize(
    ("text", "message", "extensions"),
    [
        (
            "{ a }" + " " * 20_000,
            "20005 characters in the document; at most 20000 are allowed.",
            ("SIZE_LIMIT", 20_000),
        ),
        ("{ a }" + "#\n" * 2000, "2003 tokens in the document; at most 2000 are allowed.", ("TOKEN_LIMIT", 2000)),
        ("{" * 101, "101 nested brackets in the document; at most 100 are allowed.", ("DEPTH_LIMIT", 100)),
        ("{ a }" * 101, "101 operations and fragments; at most 100 are allowed.", ("DEFINITION_LIMIT", 100)),
    ],
)
def test_text_above_a_limit_is_refused_with_both_numbers(text, message, extensions):
    with pytest.raises(LimitExceededError) as refusal:
        checked_outline(text, OPTIONS)

    code, limit = extensions
    assert refusal.value.message == message
    assert refusal.value.extensions == {"code": code, "limit": limit, "actual": int(message.split()[0])}


@pytest.mark.parametrize(
    ("text", "code", "limit", "actual"),
    [
        ("{" + "a {" * 12 + "a" + "}" * 13, "DEPTH_LIMIT", 12, 13),
        ("{ a {" + "x: a " * 31 + "} }", "ALIAS_LIMIT", 30, 31),
        ("{ a " + "@b " * 51 + "}", "DIRECTIVE_LIMIT", 50, 51),
        ("query ($a: Int " + "@b " * 51 + ") { a }", "DIRECTIVE_LIMIT", 50, 51),
        ("{ a { " + " ".join(f"a{n}" for n in range(1000)) + "} }", "FIELD_LIMIT", 1000, 1001),
        ("{ a { " + "a " * 46 + "} }", "MERGE_LIMIT", 1000, 1035),
        ("{ a { " + "... on Q { a } " * 46 + "} }", "MERGE_LIMIT", 1000, 1035),
        ("{ a { b } } fragment F on Q {" + "a " * 46 + "} fragment F on Q { a }", "MERGE_LIMIT", 1000, 1035),
        ("{ ...F ...F } fragment F on Q { a b c d e f g h i j k }", "ROOT_FIELD_LIMIT", 20, 22),
        (
            "{ a { ...F ...F } } fragment F on Q { " + " ".join(f"x{n}: a" for n in range(16)) + "}",
            "ALIAS_LIMIT",
            30,
            32,
        ),
        (
            "{ a { ...F @b } } fragment F on Q { " + "...G " * 10 + "} fragment G on Q { c" + " @d" * 6 + "}",
            "DIRECTIVE_LIMIT",
            50,
            61,
        ),
        ("{ a { ...F0 } } " + bomb(10)[10:], "FIELD_LIMIT", 1000, 1025),
        ("{ a { ...F0 } } " + bomb(60)[10:], "FIELD_LIMIT", 1000, 2**53 - 1),
        ("{ a { " + "...F a " * 30 + "} } fragment F on Q { " + "a " * 20 + "}", "MERGE_LIMIT", 1000, 1225),
        ("{ ...F0 } " + " ".join(f"fragment F{n} on Q {{ ...F{n + 1} }}" for n in range(101)), "DEPTH_LIMIT", 100, 101),
    ],
)
def test_document_above_a_limit_is_refused_with_both_numbers(text, code, limit, actual):
    found = checked_outline(text, dataclasses.replace(OPTIONS, max_definitions=None))

    with pytest.raises(LimitExceededError) as refusal:
        checked_measure(found, OPTIONS)

    assert refusal.value.extensions == {"code": code, "limit": limit, "actual": actual}


def test_every_limit_can_be_taken_away():
    off = {
        item.name: None
        for item in dataclasses.fields(OPTIONS)
        if item.name.startswith("max_") and item.name != "max_page_size"
    }
    options = dataclasses.replace(OPTIONS, **off)
    text = "{ " + "a { " * 40 + "x: a @b @c " * 3000 + "} " * 40 + "}"

    found = checked_measure(checked_outline(text, options), options)

    assert (found.depth, found.fields, found.aliases, found.directives) == (41, 3040, 3000, 6000)


SCHEMA = build_schema(
    """
    type Query { books(first: Int, last: Int): [Book] shelf: [Book] page(first: Int): Connection node: Node names: [String] }
    interface Node { id: ID }
    type Book implements Node { id: ID title: String authors(limit: Int): [Author] }
    type Author { name: String books: [[Book!]!]! }
    type Connection { edges: [Edge] nodes: [Book] total: Int }
    type Edge { node: Book cursor: String }
    """
)


VOCABULARY = vocabulary_of(SCHEMA)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("{ shelf { title } books(first: 3) { id @skip(if: true) } __typename }", 0),
        ("{ x: shelf { x: title ... on Book { id } ...F } } fragment F on Book { title }", 0),
        ("query Q($n: Int = 5) { books(first: $n) { title } } query R($n: Int) { books(last: $n) { id } }", 0),
        ("query fragment { names } subscription query { names }", 0),
        ("fragment query on Query { names } { ...query }", 0),
        ("{ node(anything: {of: [A, {scalar: $n}]}) { id } }", 2),
        ("{ nope shelf { nope title nope: id x: nope } }", 3),
        ("{ shelf @nope(nope: 1) { id } ... on Nope { names } }", 3),
        ("{ books(first: 1, first: 2, last: 3, last: {a: 1, a: 2, b: {a: 3}}) { id } }", 3),
        ("query ($a: Int, $a: Int) { books(first: $a) { id } }", 1),
        ("query ($a: Int, $b: Int) { books(first: $c, last: $c) { id } }", 4),
        ("{ ...F ...F } fragment G on Query { names }", 3),
        ("{ names } { names } query Q { names } query Q { names }", 2),
        ("{ ...F } fragment F on Query { names } fragment F on Query { names }", 1),
        ("{ names } type Query { id: ID } scalar Nope", 3),
        ("extend type Book @skip { id: ID title: Nope }", 2),
    ],
)
def test_mistakes_in_names_are_counted_before_the_document_is_parsed(text, count):
    assert mistakes_in(outline(text), VOCABULARY) == count
    assert bool(validate(SCHEMA, parse(text), max_errors=None)) == bool(count)


def test_document_of_mistakes_is_refused_with_both_numbers():
    text = "{ " + " ".join(f"n{n}" for n in range(21)) + "}"
    check_names(outline(text.replace("n7 ", "")), VOCABULARY)

    with pytest.raises(LimitExceededError) as refusal:
        check_names(outline(text), VOCABULARY)

    assert refusal.value.message == "21 unknown, unused or repeated names; at most 20 are allowed."
    assert refusal.value.extensions == {"code": "MISTAKE_LIMIT", "limit": 20, "actual": 21}


def cost(text, variables=None, **options):
    document = parse(text)
    found = cost_of(
        SCHEMA,
        document,
        get_operation_ast(document),
        variables=variables or {},
        page_size=options.get("page_size", 100),
        costs=options.get("costs", {}),
    )
    return found.points, found.is_constant


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("{ shelf { title } }", 101),
        ("{ shelf { title id } }", 201),
        ("{ names }", 1),
        ("{ books(first: 5) { title } }", 6),
        ("{ books(first: 5, last: 7) { title } }", 8),
        ("{ books { title } }", 101),
        ("{ books(first: 0) { title } }", 1),
        ("{ books(first: 2) { authors(limit: 3) { name books { id } } } }", 1 + 2 * (1 + 3 * (1 + 1 + 100))),
        ("{ page(first: 5) { total edges { cursor node { title } } nodes { id } } }", 1 + 5 * (1 + (1 + 1 + 2) + 2)),
        ("{ node { id ... on Book { title } ...B } } fragment B on Book { authors { name } }", 1 + 1 + 1 + 101),
        ("{ ...Q ...Q } fragment Q on Query { shelf { title } }", 202),
        ("{ __typename __schema { types { name } } shelf { __typename } }", 1),
        ("query ($n: Int = 7) { books(first: $n) { title } }", 8),
    ],
)
def test_cost_multiplies_by_the_rows_of_lists(text, points):
    assert cost(text)[0] == points


@pytest.mark.parametrize(
    ("value", "points"),
    [(3, 4), (2**40, 2**31), (10**400, 2**31), (-1, 101), (None, 101), ("9", 101), (True, 101), (2.0, 101), ([1], 101)],
)
def test_variable_that_is_no_size_costs_the_default_page(value, points):
    assert cost("query ($n: Int) { books(first: $n) { title } }", {"n": value}) == (points, False)


def test_missing_variable_costs_the_default_page():
    assert cost("query ($n: Int) { books(first: $n) { title } }") == (101, False)


def test_cost_of_single_fields_is_declared():
    declared = {"Query.shelf": 10, "Book.title": 0.5}

    assert cost("{ shelf { title id } }", costs=declared, page_size=20) == (10 + 20 * 1.5, True)
