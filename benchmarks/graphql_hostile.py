"""Hostile documents: what the view takes to refuse each, and what graphene-django's own view takes.

python -m benchmarks graphql_hostile [--stock] [--write]

Processor time, the best of several rounds, so that a busy machine does not count. The stock view may take seconds each.
"""

from __future__ import annotations

import json
import os
import sys
import time


def fan_out(levels):
    """2 to the power of levels fields in a few hundred bytes."""
    spreads = [f"fragment F{n} on Node {{ ...F{n + 1} a {{ ...F{n + 1} }} }}" for n in range(levels)]
    return "{ node { ...F0 } } " + " ".join(spreads) + f" fragment F{levels} on Node {{ name }}"


def spread_only(levels):
    """Each fragment spreads the next one twice."""
    spreads = [f"fragment F{n} on Node {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    return "{ node { ...F0 } } " + " ".join(spreads) + f" fragment F{levels} on Node {{ name }}"


def chain(levels):
    """Each fragment spreads the next one a level deeper."""
    spreads = [f"fragment F{n} on Node {{ a {{ ...F{n + 1} }} }}" for n in range(levels)]
    return "{ node { ...F0 } } " + " ".join(spreads) + f" fragment F{levels} on Node {{ name }}"


def words(pattern, count):
    """A pattern again and again, with numbers."""
    return " ".join(pattern.format(number) for number in range(count))


# Name -> (document, code of the refusal; None is a refusal by validation or the parser).
DOCUMENTS = {
    "fan-out 2^18": (spread_only(18), "FIELD_LIMIT"),
    "fan-out 2^20": (spread_only(20), "FIELD_LIMIT"),
    "fan-out of 60 levels": (spread_only(60), "FIELD_LIMIT"),
    "fan-out over fields": (fan_out(60), "DEPTH_LIMIT"),
    "depth through fragments": (chain(12), "DEPTH_LIMIT"),
    "aliases through fragments": (
        "{ node { ...A ...A } } fragment A on Node { " + " ".join(f"x{n}: name" for n in range(20)) + " }",
        "ALIAS_LIMIT",
    ),
    "cycle of one": ("{ node { ...A } } fragment A on Node { name ...A }", "FRAGMENT_CYCLE"),
    "cycle of two": (
        "{ node { ...A } } fragment A on Node { a { ...B } } fragment B on Node { b { ...A } }",
        "FRAGMENT_CYCLE",
    ),
    "cycle that nobody spreads": ("{ node { name } } fragment A on Node { a { ...A } }", "FRAGMENT_CYCLE"),
    "unknown fragment": ("{ node { ...Nobody } }", None),
    "3,000 aliases": ("{ " + " ".join(f"x{n}: node {{ name }}" for n in range(3000)) + " }", "SIZE_LIMIT"),
    "300 aliases": ("{ " + " ".join(f"x{n}: node {{ name }}" for n in range(300)) + " }", "ALIAS_LIMIT"),
    "200 repeats of a nested field": ("{ node { " + "a { b { name } } " * 200 + "} }", "MERGE_LIMIT"),
    "20,000 unknown names": ("{ " + " ".join(f"n{n}" for n in range(20_000)) + " }", "SIZE_LIMIT"),
    "2,000 tokens of one field": ("{ node { " + "name " * 1900 + "} }", "FIELD_LIMIT"),
    "tokens alone": ("{ " + "x " * 5000 + "}", "TOKEN_LIMIT"),
    "5,000 levels": ("{ node " + "{ a " * 5000 + "}" * 5000 + " }", "SIZE_LIMIT"),
    "900 levels": ("{ node " + "{ a " * 900 + "{ name }" + "}" * 900 + " }", "TOKEN_LIMIT"),
    "400 levels": ("{ node " + "{ a " * 400 + "{ name }" + "}" * 400 + " }", "DEPTH_LIMIT"),
    "400 lists in an argument": ("{ node(x: " + "[" * 400 + "]" * 400 + ") { name } }", "DEPTH_LIMIT"),
    "250 directives": ("{ node { name " + "@skip(if: false) " * 250 + "} }", "DIRECTIVE_LIMIT"),
    "140 operations": (" ".join(f"query Q{n} {{ node {{ name }} }}" for n in range(140)), "DEFINITION_LIMIT"),
    "unterminated strings": ('{ node(x: "' + '\\"' * 9000 + " ) }", None),
    "string that ends with the line": ('{ node(x: "' + '\\"' * 9000 + '\n") { name } }', None),
    "unterminated block string": ('{ node(x: """' + '\\"""' * 4000 + " ) }", None),
    "comments": ("#\n" * 9000 + "{ node { name } }", "TOKEN_LIMIT"),
    "nothing but brackets": ("{" * 19_000, "TOKEN_LIMIT"),
    "introspection of introspection": (
        "{ __schema { types { " + "fields { type { " * 20 + "name" + " } }" * 20 + " } } }",
        "DEPTH_LIMIT",
    ),
    "introspection through fragments": (
        (
            '{ __type(name: "Node") { ...A } } fragment A on __Type { fields { type { ...B } } } '
            "fragment B on __Type { interfaces { ...C } } fragment C on __Type { possibleTypes { name } }"
        ),
        "DEPTH_LIMIT",
    ),
    "990 unknown fields": ("{ node { " + words("n{}", 990) + " } }", "MISTAKE_LIMIT"),
    "490 unknown fields with selections": ("{ node { " + words("n{} {{ x }}", 490) + " } }", "MISTAKE_LIMIT"),
    "640 unknown arguments": ("{ node(" + words("n{}: 1", 640) + ") { name } }", "MISTAKE_LIMIT"),
    "one argument 640 times": ("{ node(" + "x: 1 " * 640 + ") { name } }", "MISTAKE_LIMIT"),
    "one key 640 times": ("{ node(input: {" + "a: 1 " * 640 + "}) { name } }", "MISTAKE_LIMIT"),
    "480 unused variables": ("query (" + words("$v{}: Int", 480) + ") { node { name } }", "MISTAKE_LIMIT"),
    "one variable 480 times": ("query (" + "$v: Int " * 480 + ") { node { name } }", "MISTAKE_LIMIT"),
    "900 undefined variables": ("{ node(n: [" + words("$v{}", 900) + "]) { name } }", "MISTAKE_LIMIT"),
    "99 unused fragments": ("{ node { name } } " + words("fragment F{} on Node {{ name }}", 99), "MISTAKE_LIMIT"),
    "400 unknown fragments": ("{ node { " + words("...F{}", 400) + " } }", "MISTAKE_LIMIT"),
    "300 unknown types": ("{ node { " + words("... on T{} {{ name }}", 300) + " } }", "MISTAKE_LIMIT"),
    "90 operations of one name": ("query Q { node { name } } " * 90, "MISTAKE_LIMIT"),
    "90 operations without one": ("{ node { name } } " * 90, "MISTAKE_LIMIT"),
    "50 unknown directives": ("{ node { name " + words("@d{}", 50) + " } }", "MISTAKE_LIMIT"),
    "49 equal directives": ("{ node { name " + "@skip(if: false) " * 49 + "} }", None),
    "900 scalars defined": (words("scalar S{}", 900), "MISTAKE_LIMIT"),
    "enum of 1,900 values defined": ("enum E { " + words("V{}", 1900) + " }", "MISTAKE_LIMIT"),
    "300 inline fragments of one field": ("{ node { " + "... on Node { name } " * 300 + "} }", "MERGE_LIMIT"),
    "98 fragments in a row": (
        "{ node { ...F0 } } "
        + " ".join(f"fragment F{n} on Node {{ ...F{n + 1} }}" for n in range(97))
        + " fragment F97 on Node { name }",
        "MERGE_LIMIT",
    ),
    "44 fragments side by side": (
        "{ node { " + words("...F{}", 46) + " } } " + words("fragment F{} on Node {{ name a {{ name }} }}", 46),
        "MERGE_LIMIT",
    ),
    "fragment of 46 equal fields, defined twice": (
        "{ node { ...F } } fragment F on Node { " + "name " * 46 + "} fragment F on Node { name }",
        "MERGE_LIMIT",
    ),
    "cost of nested lists": ("{ node { nodes { all { all { all { name } } } } } }", "COST_LIMIT"),
    "cost of one huge page": ("{ node { page(first: 2000000000) { name } } }", "COST_LIMIT"),
}

# Within all limits: name -> (document, variables). They cost what the parser, validation and variables take, and no more.
HONEST_SIZES = {
    "1,900 numbers in a list": ("{ node(n: [" + "1 " * 1900 + "]) { name } }", None),
    "1,900 texts for numbers": ("{ node(n: [" + '"a" ' * 1900 + "]) { name } }", None),
    "1,900 unknown values of an enum": ("{ node(e: [" + words("V{}", 1900) + "]) { name } }", None),
    "640 unknown keys": ("{ node(input: {" + words("k{}: 1", 640) + "}) { name } }", None),
    "900 uses of a variable of another type": (
        "query ($a: [Int]) { node(x: [" + "$a " * 900 + "]) { name } }",
        None,
    ),
    "30 equal fields with other arguments": ("{ node { " + words("page(first: {}) {{ name }}", 30) + " } }", None),
    "400 spreads of one fragment": ("{ node { " + "...F " * 400 + "} } fragment F on Node { name }", None),
    "99 operations": (words("query Q{} {{ node {{ name }} }}", 99), None),
    "90 operations that share 100 fields": (
        words("query Q{} {{ node {{ ...F }} }}", 90)
        + " fragment F on Node { "
        + "a { "
        + words("a {{ b {{ a {{ name }} b {{ name }} nodes {{ name }} }} }} b {{ a {{ name }} }}", 8)
        + "} }",
        None,
    ),
    "string of 18,000 characters": ('{ node(x: "' + "a" * 18_000 + '") { name } }', None),
    "integer of 18,000 digits": ("{ node(n: " + "9" * 18_000 + ") { name } }", None),
    "name of 18,000 characters": ("{ node { " + "n" * 18_000 + " } }", None),
    "escape that is none after 9,000": ('{ node(x: "' + "\\n" * 9000 + '\\q") { name } }', None),
    "19,000 lines": ("{ node { name" + "\n" * 19_000 + "} }", None),
    "variable of 9,990 numbers": ("query ($n: [Int]) { node(n: $n) { name } }", {"n": [1] * 9990}),
    "variable of 9,990 texts for numbers": ("query ($n: [Int]) { node(n: $n) { name } }", {"n": ["a"] * 9990}),
    "variable of 9,990 unknown keys": (
        "query ($i: Input) { node(input: $i) { name } }",
        {"i": {f"k{n}": 1 for n in range(9990)}},
    ),
    "variable of a million characters": ("query ($x: [String]) { node(x: $x) { name } }", {"x": "a" * 999_000}),
    "variables of 320,000 numbers": ("query ($n: [Int]) { node(n: $n) { name } }", {"n": [1] * 320_000}),
    "variables of 45,000 keys": ("{ node { name } }", {f"key{n}": n for n in range(45_000)}),
}

ROUNDS = 7
UNREMEMBERED = {"GRAPHQL": {"DOCUMENT_CACHE_CHARACTERS": 0}}


def build_schema():
    import graphene

    class Node(graphene.ObjectType):
        name = graphene.String()
        a = graphene.Field(lambda: Node)
        b = graphene.Field(lambda: Node)
        nodes = graphene.List(lambda: Node)
        all = graphene.List(lambda: Node)
        page = graphene.List(lambda: Node, first=graphene.Int())

    class Input(graphene.InputObjectType):
        a = graphene.Int()

    arguments = {
        "x": graphene.List(graphene.String),
        "n": graphene.List(graphene.Int),
        "e": graphene.List(graphene.Enum("Choice", [(f"C{n}", n) for n in range(500)])),
        "input": Input(),
    }

    class Query(graphene.ObjectType):
        node = graphene.Field(Node, **arguments)

        def resolve_node(self, info, **arguments):
            return None

    return graphene.Schema(query=Query)


def ask(view, text, variables=None):
    from django.test import RequestFactory

    body = json.dumps({"query": text, "variables": variables}, ensure_ascii=False)
    request = RequestFactory().post("/", body, content_type="application/json")
    started = time.process_time()
    try:
        status = view(request).status_code
    except Exception as error:  # noqa: BLE001  # the stock view may raise anything
        status = type(error).__name__
    return (time.process_time() - started) * 1000, status


def row(name, text, variables, views):
    cells = []
    for way, view in views.items():
        taken, status = min(ask(view, text, variables) for _ in range(ROUNDS if way == "dbopt" else 1))
        cells.append(f"{taken:.2f} ({status})")
    size = len(text) + (len(json.dumps(variables)) if variables else 0)
    return f"| {name} | {size} | {' | '.join(cells)} |"


def main(arguments):
    """Return a table of the times."""
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark", DATABASES={}, GRAPHENE={}, INSTALLED_APPS=["graphene_django"], DBOPT=UNREMEMBERED
    )
    import django

    django.setup()
    import graphene_django.views
    import graphql

    from dbopt.graphql import GraphQLView

    schema = build_schema()
    views = {"dbopt": GraphQLView.as_view(schema=schema)}
    if "--stock" in arguments:
        views["stock"] = graphene_django.views.GraphQLView.as_view(schema=schema)
    head = f"Python {sys.version.split()[0]}, graphql-core {graphql.version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}."
    lines = ["", f"{head} Processor time from request to response; in brackets the status."]
    hostile = {name: (text, None) for name, (text, _) in DOCUMENTS.items()}
    for title, documents in (("Refused early", hostile), ("Within the limits, or refused late", HONEST_SIZES)):
        lines += ["", f"### {title}", "", f"| document | bytes | {' | '.join(f'{way}, ms' for way in views)} |"]
        lines.append("|---|---|" + "---|" * len(views))
        lines += [row(name, text, variables, views) for name, (text, variables) in documents.items()]
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
