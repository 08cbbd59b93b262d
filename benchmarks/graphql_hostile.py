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


# Name -> (document, code of the refusal; None is a refusal by validation or the parser).
DOCUMENTS = {
    "fan-out 2^18": (spread_only(18), "FIELD_LIMIT"),
    "fan-out 2^20": (spread_only(20), "FIELD_LIMIT"),
    "fan-out of 60 levels": (spread_only(60), "FIELD_LIMIT"),
    "fan-out over fields": (fan_out(60), "FIELD_LIMIT"),
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
    "cost of nested lists": ("{ node { nodes { all { all { all { name } } } } } }", "COST_LIMIT"),
    "cost of one huge page": ("{ node { page(first: 2000000000) { name } } }", "COST_LIMIT"),
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

    class Query(graphene.ObjectType):
        node = graphene.Field(Node, x=graphene.List(graphene.String))

    return graphene.Schema(query=Query)


def ask(view, text):
    from django.test import RequestFactory

    request = RequestFactory().post("/", json.dumps({"query": text}), content_type="application/json")
    started = time.process_time()
    try:
        status = view(request).status_code
    except Exception as error:  # noqa: BLE001  # the stock view may raise anything
        status = type(error).__name__
    return (time.process_time() - started) * 1000, status


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
    lines = ["", f"{head} Processor time from request to response; in brackets the status.", ""]
    lines += [f"| document | bytes | {' | '.join(f'{way}, ms' for way in views)} |", "|---|---|" + "---|" * len(views)]
    for name, (text, _) in DOCUMENTS.items():
        cells = []
        for way, view in views.items():
            taken, status = min(ask(view, text) for _ in range(ROUNDS if way == "dbopt" else 1))
            cells.append(f"{taken:.2f} ({status})")
        lines.append(f"| {name} | {len(text)} | {' | '.join(cells)} |")
    print("\n".join(lines))
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
