from __future__ import annotations

import subprocess
import sys

import pytest

import dbopt.neo4j
from dbopt.exceptions import GraphSchemaError
from dbopt.neo4j import (
    Exists,
    FullText,
    GraphSchema,
    Key,
    Node,
    Point,
    Range,
    Relationship,
    Text,
    Typed,
    Unique,
    Vector,
)
from dbopt.neo4j.schema.discover import declared_rules, graph_schemas
from dbopt.neo4j.schema.identifiers import derived_name, quote
from dbopt.neo4j.schema.render import create_statement


def rules_of(*targets, owner="zt"):
    schema = type("S", (GraphSchema,), {f"t{number}": target for number, target in enumerate(targets)})
    return schema.rules(app_label=owner)


def test_root_exports_are_sorted_and_there():
    assert dbopt.neo4j.__all__ == sorted(dbopt.neo4j.__all__)
    assert all(hasattr(dbopt.neo4j, name) for name in dbopt.neo4j.__all__)


def test_declarations_need_no_client_and_no_settings():
    script = (
        "import sys; sys.modules['neo4j'] = None\n"
        "from dbopt.neo4j import GraphSchema, Node, Range, graphs\n"
        "class S(GraphSchema):\n    a = Node('A', indexes=[Range('b')])\n"
        "print(S.rules(app_label='x')[0].name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("x_range_a_b\n", "")


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        (Range("a", "b"), "CREATE RANGE INDEX `zt_range_l_a_b` FOR (n:`L`) ON (n.`a`, n.`b`)"),
        (Text("a"), "CREATE TEXT INDEX `zt_text_l_a` FOR (n:`L`) ON (n.`a`)"),
        (Point("a", name="where"), "CREATE POINT INDEX `where` FOR (n:`L`) ON (n.`a`)"),
        (
            FullText("a", "b", analyzer="english", eventually_consistent=True, labels=["M"]),
            ("CREATE FULLTEXT INDEX `zt_fulltext_l_m_a_b` FOR (n:`L`|`M`) ON EACH [n.`a`, n.`b`] OPTIONS "
            "{indexConfig: {`fulltext.analyzer`: 'english', `fulltext.eventually_consistent`: true}}"),
        ),
        (
            Vector("a", dimensions=384, similarity="euclidean", quantization=False),
            ("CREATE VECTOR INDEX `zt_vector_l_a` FOR (n:`L`) ON (n.`a`) OPTIONS {indexConfig: {`vector.dimensions`: 384, "
            "`vector.quantization.enabled`: false, `vector.similarity_function`: 'euclidean'}}"),
        ),
        (Unique("a"), "CREATE CONSTRAINT `zt_unique_l_a` FOR (n:`L`) REQUIRE (n.`a`) IS UNIQUE"),
        (Key("a", "b"), "CREATE CONSTRAINT `zt_key_l_a_b` FOR (n:`L`) REQUIRE (n.`a`, n.`b`) IS NODE KEY"),
        (Exists("a"), "CREATE CONSTRAINT `zt_exists_l_a` FOR (n:`L`) REQUIRE n.`a` IS NOT NULL"),
        (Typed("a", "list<string not null>"), "CREATE CONSTRAINT `zt_typed_l_a` FOR (n:`L`) REQUIRE n.`a` IS :: LIST<STRING NOT NULL>"),
    ],
)  # fmt: skip
def test_statement_of_a_node(part, statement):
    where = "constraints" if isinstance(part, Unique | Key | Exists | Typed) else "indexes"
    (rule,) = rules_of(Node("L", **{where: [part]}))

    assert create_statement(rule) == statement


def test_statement_of_a_relationship():
    range_index, key = sorted(
        rules_of(Relationship("T", constraints=[Key("a")], indexes=[Range("b")])), key=lambda rule: rule.is_constraint
    )

    assert create_statement(range_index) == "CREATE RANGE INDEX `zt_range_t_b` FOR ()-[n:`T`]-() ON (n.`b`)"
    assert (
        create_statement(key) == "CREATE CONSTRAINT `zt_key_t_a` FOR ()-[n:`T`]-() REQUIRE (n.`a`) IS RELATIONSHIP KEY"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Range, "Range needs at least one property."),
        (lambda: Text("a", "b"), "Text takes one property, not 2."),
        (lambda: Range(""), "A property must be a string that is not empty, not ''."),
        (lambda: Range(3), "A property must be a string that is not empty, not 3."),
        (
            lambda: Node("A\\u0060) DETACH DELETE n //"),
            "A label or type is 'A\\\\u0060) DETACH DELETE n //': it may hold neither control characters nor \\u escapes.",
        ),
        (lambda: Range("a\n"), "A property is 'a\\n': it may hold neither control characters nor \\u escapes."),
        (lambda: Vector("a", dimensions=0), "dimensions is 0; it must be 1 to 4096."),
        (lambda: Vector("a", dimensions=True), "dimensions is True; it must be 1 to 4096."),
        (lambda: Vector("a", dimensions=3, similarity="dot"), "similarity is 'dot'; it must be 'cosine' or 'euclidean'."),
        (lambda: FullText("a", analyzer="x' }"), "analyzer is \"x' }\"; it must be a name such as 'english'."),
        (lambda: Key("a", fallback="drop"), "fallback is 'drop'; it must be 'unique' or 'skip'."),
        (lambda: Node("A", indexes=[Unique("a")]), "indexes holds Unique('a'); it takes Range, Text, Point, FullText, Vector."),
        (lambda: Node("A", constraints=[Range("a")]), "constraints holds Range('a'); it takes Unique, Key, Exists, Typed."),
    ],
)  # fmt: skip
def test_wrong_declaration_says_what_is_wrong(make, message):
    with pytest.raises(GraphSchemaError) as raised:
        make()

    assert str(raised.value) == message


def test_wrong_type_lists_the_known_ones():
    with pytest.raises(GraphSchemaError, match=r"^'NUMBER' is not a property type\. Known: BOOLEAN, DATE, "):
        Typed("a", "NUMBER")


def test_unknown_meta_option_is_refused():
    class Wrong(GraphSchema):
        class Meta:
            database = "x"

    with pytest.raises(GraphSchemaError, match=r"Wrong\.Meta has no option 'database'\. Known: alias, owner\.$"):
        Wrong.rules(app_label="x")


def test_long_and_lossy_names_keep_a_hash():
    long = derived_name("owner", "range", "L" * 60, "a")

    assert len(long) == 64
    assert long != derived_name("owner", "range", "L" * 60, "b")
    assert derived_name("o", "range", "A B", "c").startswith("o_range_a_b_c_")
    assert derived_name("o", "range", "A", "tenantId") == "o_range_a_tenantid"


def test_quote_doubles_backticks():
    assert quote("a`b") == "`a``b`"


def test_apps_are_searched_for_declarations():
    found = {(item.app_label, item.schema.__name__, item.alias) for item in graph_schemas()}

    assert {("testapp", "Bookshop", "bookshop"), ("intelgraph", "IntelGraph", "default")} <= found
    assert [rule.name for rule in declared_rules("bookshop")] == [
        "shop_unique_author_id",
        "shop_unique_book_key",
        "shop_range_book_title",
        "shop_unique_wrote_id",
    ]
    assert "idx_entity_id" in [rule.name for rule in declared_rules("default")]
