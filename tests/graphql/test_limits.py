"""Limits: what is counted, and what the refusal says."""

from __future__ import annotations

import dataclasses

import pytest
from graphql import build_schema, get_operation_ast, parse

from dbopt.conf import GraphQLSettings
from dbopt.graphql.safety.costs import cost_of
from dbopt.graphql.safety.limits import LimitExceededError, check_text, checked_measure
from dbopt.graphql.safety.measures import measure
from dbopt.graphql.safety.tokens import count, endless_string, tokens_of
from tests.graphql.posting import calls_during

OPTIONS = GraphQLSettings()


def counts(text):
    found = count(tokens_of(text))
    return found.definitions, found.fields, found.aliases, found.directives, found.merges


def sizes(text):
    found = measure(parse(text), max_fields=1000, max_merges=1000)
    return found.depth, found.root_fields, found.fields, found.aliases, found.directives, found.merges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ a b }", (1, 2, 0, 0, 0)),
        ("{ x: a { b } }", (1, 2, 1, 0, 0)),
        ("{ a a a }", (1, 3, 0, 0, 3)),
        ("{ x: a x: b }", (1, 2, 2, 0, 1)),
        ("{ a { b } c { b } }", (1, 4, 0, 0, 0)),
        ("{ a(x: {b: [1, {c: $d}]}) @skip(if: $e) }", (1, 1, 0, 1, 0)),
        ("query Q($a: [Int!] = [1] @d) @e { a }", (1, 1, 0, 1, 0)),
        ("{ ...F ... on T @d { on } ... { a } } fragment F on T { b }", (2, 3, 0, 1, 0)),
        ('{ a(x: "} { b") # c: d @e\n b }', (1, 2, 0, 0, 0)),
        ('{ a(x: """ " \\""" } """) b }', (1, 2, 0, 0, 0)),
        ("{ ...F ...F } fragment F on T { a ...G ...G } fragment G on T @d { b: c }", (3, 6, 1, 1, 0)),
        ("{ ...F a } fragment F on T { a ...G } fragment G on T { ...F b }", (3, 4, 0, 0, 0)),
        ("query fragment @d { a ...fragment } fragment fragment on T { a }", (2, 2, 0, 1, 0)),
        ("}}}){ a", (1, 1, 0, 0, 0)),
        ("", (0, 0, 0, 0, 0)),
    ],
)
def test_text_is_counted_before_it_is_parsed(text, expected):
    assert counts(text) == expected


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
        ("query @x { a @y { b @z } }", (2, 1, 2, 0, 3, 0)),
        ("{ ... on Query @x { a } ...F } fragment F on Query { b c: d }", (1, 3, 3, 1, 1, 0)),
        ("{ ...F ...F } fragment F on Query { a: b { c } }", (2, 2, 4, 2, 0, 0)),
        ("{ a { b } a { b } }", (2, 2, 4, 0, 0, 2)),
        ("{ a { ...F ...G } } fragment F on T { b } fragment G on T { b }", (2, 1, 3, 0, 0, 2)),
        ("query A { a } query B { a b { c } }", (2, 2, 3, 0, 0, 0)),
        ("{ a } fragment Unused on T { b b c { d } }", (1, 1, 4, 0, 0, 1)),
        ("{ __schema { types { fields { type { ofType { name } } } } } }", (1, 1, 6, 0, 0, 0)),
        ("{ a { __typename } ...Unknown }", (2, 1, 2, 0, 0, 0)),
    ],
)
def test_document_is_measured_with_fragments_in_place(text, expected):
    assert sizes(text) == expected


def bomb(levels):
    spreads = " ".join(f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels))
    return f"{{ ...F0 }} {spreads} fragment F{levels} on Q {{ a }}"


def test_exponential_fragments_take_linear_work():
    small, large = parse(bomb(20)), parse(bomb(40))

    def work(document):
        return calls_during(lambda: measure(document, max_fields=1000, max_merges=1000))

    assert measure(large, max_fields=1000, max_merges=1000).fields == 2**40
    assert work(large) < 2.1 * work(small) < 1500


def test_fragments_are_put_in_place_before_the_text_is_parsed():
    with pytest.raises(LimitExceededError) as refusal:
        check_text(bomb(40), OPTIONS)

    assert refusal.value.extensions == {"code": "FIELD_LIMIT", "limit": 1000, "actual": 2**40}

    def work(levels):
        tokens = tokens_of(bomb(levels))
        return calls_during(lambda: count(tokens))

    assert work(40) < 2.1 * work(20)
    assert work(500) < 26 * work(20)


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
    document = parse("{ " + "a { " * 5 + "a " * 80 + "} " * 5 + " }")

    assert measure(document, max_fields=1000, max_merges=100).merges == 3160
    assert measure(document, max_fields=10, max_merges=100).merges == 0


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
        ("{ " + "x: a " * 31 + "}", "31 aliases; at most 30 are allowed.", ("ALIAS_LIMIT", 30)),
        ("{ a " + "@b " * 51 + "}", "51 directives; at most 50 are allowed.", ("DIRECTIVE_LIMIT", 50)),
        (
            "{ " + " ".join(f"a{n}" for n in range(1001)) + "}",
            "1001 fields; at most 1000 are allowed.",
            ("FIELD_LIMIT", 1000),
        ),
        (
            "{ " + "a " * 46 + "}",
            "1035 pairs of fields or fragments to merge; at most 1000 are allowed.",
            ("MERGE_LIMIT", 1000),
        ),
    ],
)
def test_text_above_a_limit_is_refused_with_both_numbers(text, message, extensions):
    with pytest.raises(LimitExceededError) as refusal:
        check_text(text, OPTIONS)

    code, limit = extensions
    assert refusal.value.message == message
    assert refusal.value.extensions == {"code": code, "limit": limit, "actual": int(message.split()[0])}


@pytest.mark.parametrize(
    ("text", "code", "limit", "actual"),
    [
        ("{" + "a {" * 12 + "a" + "}" * 13, "DEPTH_LIMIT", 12, 13),
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
    check_text(text, dataclasses.replace(OPTIONS, max_definitions=None, max_fields=None))

    with pytest.raises(LimitExceededError) as refusal:
        checked_measure(parse(text), OPTIONS)

    assert refusal.value.extensions == {"code": code, "limit": limit, "actual": actual}


def test_every_limit_can_be_taken_away():
    off = {
        item.name: None
        for item in dataclasses.fields(OPTIONS)
        if item.name.startswith("max_") and item.name != "max_page_size"
    }
    options = dataclasses.replace(OPTIONS, **off)
    text = "{ " + "a { " * 40 + "x: a @b @c " * 3000 + "} " * 40 + "}"

    check_text(text, options)
    found = checked_measure(parse(text), options)

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
