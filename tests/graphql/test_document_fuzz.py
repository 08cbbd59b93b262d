"""Made-up documents: the view always answers, at a price that goes with the text, and refuses nothing that is valid."""

from __future__ import annotations

import json
from contextlib import suppress

from django.test import override_settings
from graphql import GraphQLError, get_introspection_query, parse, validate
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.graphql_hostile import UNREMEMBERED, build_schema
from dbopt.graphql import GraphQLView
from dbopt.graphql.safety.measures import measure
from dbopt.graphql.safety.mistakes import mistakes_in, vocabulary_of
from dbopt.graphql.safety.outlines import outline_of
from dbopt.graphql.safety.tokens import tokens_of
from tests.fuzzing import examples
from tests.graphql.posting import ask, calls_during

SCHEMA = build_schema()
CORE = SCHEMA.graphql_schema
VOCABULARY = vocabulary_of(CORE)
VIEW = GraphQLView.as_view(schema=SCHEMA)

GOOD = [
    get_introspection_query(),
    '{ node(x: ["a", "\\u00fc"], n: [1, -2], e: [C1], input: {a: 1}) { name ... { a { name } } x: b { name } } }',
    "query Q($n: [Int] = [1, 2], $s: Boolean!) { node(n: $n) @skip(if: $s) { ...F @include(if: $s) } } "  # noqa: ISC004
    "fragment F on Node { name nodes { ...G } } fragment G on Node @deprecated { __typename page(first: 3) { name } }",
    "query query { ...on } query on { node { ... on Node @skip(if: true) { name } } }",
    "query A { node { ...F } } query B($x: [String]) { node(x: $x) { ...F } } fragment F on Node { a { name } } # the end",
    '{ node(x: """ block " { \\""" """) { name } }',
    "mutation { node { name } } subscription fragment { node { name } } fragment fragment on Node { name }",
]
MORSELS = [
    *(
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "$",
        "@",
        "...",
        "!",
        "=",
        "|",
        "&",
        "#",
        "\n",
        ",",
        "on",
        "query",
        "fragment",
    ),
    *(
        "mutation",
        "subscription",
        "type",
        "scalar",
        "extend",
        "true",
        "null",
        "1",
        "-1.5e9",
        "9" * 30,
        '"',
        '"""',
        '""',
    ),
    *(
        "node",
        "name",
        "a",
        "b",
        "nodes",
        "page",
        "first",
        "x",
        "n",
        "input",
        "Node",
        "Query",
        "Int",
        "skip",
        "if",
        "F",
        "G",
    ),
    *(
        "nope",
        "__typename",
        "__schema",
        "types",
        "fields",
        "\ud800",
        "\x00",
        "ü",
        "\ufeff",
        "\\",
        "{ a",
        "...F",
        "$n",
        "@skip(if: true)",
    ),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["drop", "twice", "swap", "cut", *MORSELS])), max_size=6
)


def edited(text, edits):
    """The text with some of its tokens dropped, doubled, swapped or replaced."""
    tokens = tokens_of(text)
    for number, edit in edits:
        if not tokens:
            break
        place = number % len(tokens)
        if edit == "cut":
            tokens = tokens[:place]
        elif edit == "drop":
            del tokens[place]
        elif edit == "twice":
            tokens[place:place] = tokens[place : place + 1 + number % 7]
        elif edit == "swap":
            tokens[place], tokens[-place] = tokens[-place], tokens[place]
        else:
            tokens[place] = edit
    return "\n".join(tokens)


MUTATED = st.builds(edited, st.sampled_from(GOOD), EDITS)
SOUP = st.lists(st.sampled_from(MORSELS), max_size=80).map(" ".join)
TRUNCATED = st.builds(lambda text, end: text[:end], st.sampled_from(GOOD), st.integers(0, 300))
TEXTS = MUTATED | SOUP | TRUNCATED | st.text(st.characters(exclude_categories=[]), max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("nxsaie"), inner, max_size=4),
    max_leaves=20,
)


@given(TEXTS, VALUES, st.none() | st.sampled_from(["Q", "on", "", 5]))
@settings(max_examples=examples(300), deadline=None)
@override_settings(DBOPT=UNREMEMBERED)
def test_made_up_document_is_answered_at_a_price_that_goes_with_its_length(text, variables, name):
    body = json.dumps({"query": text, "variables": variables, "operationName": name})
    answers = []

    calls = calls_during(lambda: answers.append(ask(VIEW, None, raw=body)))

    (status, answer), *_ = answers
    assert status in {200, 400}
    assert answer.keys() <= {"data", "errors"}
    assert status == 200 or answer["errors"]
    assert all(isinstance(error["message"], str) for error in answer.get("errors", ()))
    assert calls < 15_000 + 400 * len(tokens_of(text))


@given(st.binary(max_size=40) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=examples(100), deadline=None)
def test_made_up_body_is_a_clean_400(body):
    with suppress(ValueError, RecursionError):
        assume(not isinstance(json.loads(body), dict))

    status, answer = ask(VIEW, None, raw=body)

    assert status == 400
    assert answer["errors"][0]["message"]


@given(MUTATED | SOUP)
@settings(max_examples=examples(400), deadline=None)
def test_valid_document_has_no_mistakes_before_it_is_parsed(text):
    try:
        document = parse(text)
    except (GraphQLError, RecursionError):
        return
    # What is below a root that the schema lacks is not validated; executing it is refused.
    kinds = [node.operation for node in document.definitions if node.kind == "operation_definition"]
    assume(all(CORE.get_root_type(kind) for kind in kinds))
    errors = validate(CORE, document)
    found = mistakes_in(outline_of(tokens_of(text)), VOCABULARY)

    assert errors or not found


def expanded(selection_set, fragments):
    """Return the depth, fields, aliases and directives of a parsed selection set, by putting its fragments in place."""
    depth = fields = aliases = directives = 0
    for node in selection_set.selections:
        directives += len(node.directives)
        inner = getattr(node, "selection_set", None)
        if node.kind == "fragment_spread":
            fragment = fragments.get(node.name.value)
            inner = fragment and fragment.selection_set
            directives += len(fragment.directives) if fragment else 0
        below = expanded(inner, fragments) if inner else (0, 0, 0, 0)
        is_field = node.kind == "field"
        fields += is_field
        aliases += is_field and node.alias is not None
        depth = max(depth, below[0] + is_field)
        fields, aliases, directives = fields + below[1], aliases + below[2], directives + below[3]
    return depth, fields, aliases, directives


@given(st.builds(edited, st.sampled_from(GOOD[1:]), EDITS))
@settings(max_examples=examples(400), deadline=None)
def test_outline_is_as_large_as_the_parsed_document(text):
    try:
        nodes = parse(text).definitions
        assume(all(hasattr(node, "variable_definitions") for node in nodes))
        operations = [node for node in nodes if node.kind == "operation_definition"]
        fragments = {node.name.value: node for node in nodes if node.kind == "fragment_definition"}
        assume(len(nodes) == len(operations) + len(fragments))
        sizes = [expanded(node.selection_set, fragments) for node in nodes]
    except (GraphQLError, RecursionError):
        return
    own = [sum(len(each.directives) for each in (node, *(node.variable_definitions or ()))) for node in nodes]
    assume("__schema" not in text)

    found = measure(outline_of(tokens_of(text)), max_fields=None, max_merges=None)

    assert found.depth == max((expanded(node.selection_set, fragments)[0] for node in operations), default=0)
    assert found.fields == max(size[1] for size in sizes)
    assert found.aliases == max(size[2] for size in sizes)
    assert found.directives == max(size[3] + count for size, count in zip(sizes, own, strict=True))
