"""`CypherConnection` over a real Neo4j: the pages, cursors and codes of `KeysetConnectionField`."""

from __future__ import annotations

import uuid
from itertools import product

import graphene
import pytest

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import CypherConnection, DboptExecutionContext
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.neo4j import graph
from dbopt.signals import cypher_executed
from dbopt.tenancy import tenant_context

pytestmark = pytest.mark.usefixtures("neo4j_server")

RUN = uuid.uuid4().hex


class Person(graphene.ObjectType):
    id = graphene.Int()
    name = graphene.String()
    born = graphene.DateTime()
    friends = CypherConnection(
        lambda: Person,
        key="id",
        match=f"(:PageTest {{run: '{RUN}', tenant: $tenant, id: key}})-[:KNOWS]-(p:PageTest)",
        returns="p {.id, .name}",
        order_by=("-p.rank", "p.id"),
        total_count="capped",
        total_cap=2,
    )


def people(order_by, **options):
    return CypherConnection(
        Person,
        match=f"(p:PageTest {{run: '{RUN}', tenant: $tenant}})",
        where="$least IS NULL OR p.rank >= $least",
        least=graphene.Int(),
        returns="p {.id, .name, .born}",
        order_by=order_by,
        **options,
    )


ORDERS = {
    "byId": ("p.id",),
    "byRank": ("p.rank", "p.id"),
    "mixed": ("-p.rank", "p.name", "-p.id"),
    "byBirth": ("-p.born", "p.id"),
    "byLocal": ("p.seen", "p.id"),
    "byDay": ("p.day", "p.awake", "p.asleep", "p.id"),
    "byShare": ("p.share", "p.flag", "p.id"),
}


class Query(graphene.ObjectType):
    locals().update({name: people(order) for name, order in ORDERS.items()})
    some = people(("p.rank", "p.id"), max_size=3, require_pagination=True, required=False)
    uncounted = people(("p.id",), total_count=None)
    people = graphene.List(Person)
    nobody = graphene.Field(Person)

    def resolve_people(self, info):
        return [{"id": number} for number in range(8)]

    def resolve_nobody(self, info):
        return {"name": "no key"}


SCHEMA = graphene.Schema(query=Query)


@pytest.fixture(autouse=True, scope="module")
def graph_of_people(neo4j_server):
    """Seven people of tenant 1 with ties in every key and nanoseconds, one without keys, one of tenant 2."""
    graph.write(
        """
        UNWIND range(0, 6) AS n
        CREATE (p:PageTest {
            run: $run, tenant: 1, id: n, name: ["Ann", "Bob"][n % 2], rank: n / 3, share: toFloat(n / 2) / 3, flag: n > 3,
            born: datetime("200" + n / 4 + "-01-01T00:00:00.00000000" + n % 2 + ["+02:00", "[Europe/Berlin]", "Z"][n % 3]),
            seen: localdatetime("2000-01-01T00:00:00.00000000" + n / 2), day: date("2000-0" + (1 + n / 4) + "-01"),
            awake: time("0" + n % 2 + ":00+01:00"), asleep: localtime("0" + n % 3 + ":00:00.000000005")
        })
        WITH collect(p) AS all
        UNWIND all AS a UNWIND all AS b
        WITH a, b WHERE a.id = 0 AND b.id > 0 OR a.id = 1 AND b.id = 2
        CREATE (a)-[:KNOWS]->(b)
        """,
        {"run": RUN},
    )
    graph.write("CREATE (:PageTest {run: $run, tenant: 1, name: 'no keys'})", {"run": RUN})
    graph.write("CREATE (:PageTest {run: $run, tenant: 2, id: 0, rank: 0, name: 'stranger'})", {"run": RUN})
    yield
    graph.write("MATCH (p:PageTest {run: $run}) DETACH DELETE p", {"run": RUN})


@pytest.fixture(params=["graphene", "dbopt"])
def ask(request):
    """Return (data, errors as (message, code), queries)."""
    executor = DboptExecutionContext if request.param == "dbopt" else None

    def execute(text, tenant=1, **variables):
        seen = []

        def receive(sender, name, **_):
            seen.append(name)

        cypher_executed.connect(receive)
        try:
            with tenant_context(tenant):
                result = SCHEMA.execute(text, context_value={}, variable_values=variables, **executed_by(executor))
        finally:
            cypher_executed.disconnect(receive)
        errors = [(error.message, (error.extensions or {}).get("code")) for error in result.errors or ()]
        return result.data, errors, seen

    execute.is_batching = executor is not None
    return execute


def page(field):
    return f"""query($first: Int, $after: String, $last: Int, $before: String) {{
        {field}(first: $first, after: $after, last: $last, before: $before) {{
            edges {{ cursor node {{ id }} }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }}
        }}
    }}"""


def ids(connection):
    return [edge["node"]["id"] for edge in connection["edges"]]


@pytest.mark.parametrize("field", ORDERS)
def test_pages_of_any_size_give_every_row_once_in_order_from_both_ends(ask, field):
    everything = ask(page(field))[0][field]
    right = ids(everything)
    assert sorted(right) == list(range(7))

    for size, end in product((1, 2, 7), ("first", "last")):
        found, cursor = [], None
        for _ in range(8):
            data, errors, _ = ask(page(field), **{end: size, ("after" if end == "first" else "before"): cursor})
            assert errors == []
            info = data[field]["pageInfo"]
            found = found + ids(data[field]) if end == "first" else ids(data[field]) + found
            cursor = info["endCursor" if end == "first" else "startCursor"]
            if not info["hasNextPage" if end == "first" else "hasPreviousPage"]:
                break
        assert found == right


def test_after_and_before_may_be_combined(ask):
    edges = ask(page("mixed"))[0]["mixed"]["edges"]

    data, errors, _ = ask(page("mixed"), after=edges[1]["cursor"], before=edges[5]["cursor"])

    assert errors == []
    assert ids(data["mixed"]) == [edge["node"]["id"] for edge in edges[2:5]]
    assert data["mixed"]["pageInfo"]["hasNextPage"] is data["mixed"]["pageInfo"]["hasPreviousPage"] is True


def test_order_is_that_of_cypher(ask):
    records = graph.read(
        "MATCH (p:PageTest {run: $run, tenant: 1}) WHERE p.id IS NOT NULL RETURN p.id AS id ORDER BY p.rank DESC, p.name, p.id DESC",
        {"run": RUN},
    )

    assert ids(ask(page("mixed"))[0]["mixed"]) == [record["id"] for record in records]


@pytest.mark.parametrize(
    ("selection", "queries"),
    [
        ("nodes { id } edges { cursor } pageInfo { hasNextPage endCursor }", 1),
        ("nodes { id } pageInfo { hasPreviousPage }", 2),
        ("totalCount", 1),
        ("__typename", 0),
    ],
)
def test_only_what_is_selected_is_asked_for(ask, selection, queries):
    after = ask(page("byRank"), first=1)[0]["byRank"]["pageInfo"]["endCursor"]

    _, errors, asked = ask(
        f"query($after: String) {{ byRank(first: 2, after: $after) {{ {selection} }} }}", after=after
    )

    assert errors == []
    assert asked == ["Query.byRank"] * queries


def test_arguments_are_parameters_and_the_tenant_is_one(ask):
    text = "query($least: Int) { byRank(least: $least) { totalCount nodes { name } } }"

    assert ask(text, least=1)[0]["byRank"]["totalCount"] == 4
    assert ask(text)[0]["byRank"]["totalCount"] == 7
    assert ask(text, tenant=2)[0] == {"byRank": {"totalCount": 1, "nodes": [{"name": "stranger"}]}}


def test_temporal_values_are_those_of_python(ask):
    data, errors, _ = ask("{ byId(first: 1) { nodes { born } } }")

    assert errors == []
    assert data["byId"]["nodes"] == [{"born": "2000-01-01T00:00:00+02:00"}]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("some(first: -1)", "BAD_PAGINATION"),
        ("some(first: 1, last: 1)", "BAD_PAGINATION"),
        ("some(first: 4)", "PAGE_TOO_LARGE"),
        ("some", "PAGINATION_REQUIRED"),
        ('some(first: 1, after: "YXJyYXljb25uZWN0aW9uOjk5")', "INVALID_CURSOR"),
    ],
)
def test_wrong_page_has_a_code_and_asks_nothing(ask, arguments, code):
    data, errors, asked = ask(f"{{ {arguments} {{ totalCount }} }}")

    assert data == {"some": None}
    assert [found for _, found in errors] == [code]
    assert asked == []


def test_cursor_is_of_one_order_and_one_tenant(ask):
    cursor = ask(page("byRank"), first=1)[0]["byRank"]["pageInfo"]["endCursor"]

    assert ask(page("mixed"), after=cursor)[1][0][1] == "INVALID_CURSOR"
    assert ask(page("byRank"), tenant=2, after=cursor)[1][0][1] == "INVALID_CURSOR"
    # The same nodes in the same order.
    assert ask(page("byRank"), after=cursor)[1] == []


NESTED = """query($after: String) { people { id friends(first: 2, after: $after) {
    totalCount edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage } } } }"""


def test_lists_of_many_parents_are_one_query(ask):
    data, errors, asked = ask(NESTED)

    assert errors == []
    found = [ids(row["friends"]) for row in data["people"]]
    assert found == [[6, 3], [0, 2], [0, 1], [0], [0], [0], [0], []]
    assert [row["friends"]["totalCount"] for row in data["people"]] == [3, 2, 2, 1, 1, 1, 1, 0]
    assert [row["friends"]["pageInfo"]["hasNextPage"] for row in data["people"]] == [True] + [False] * 7
    if ask.is_batching:
        assert asked == ["Person.friends"] * 2

    after = data["people"][0]["friends"]["edges"][1]["cursor"]
    data, errors, asked = ask(NESTED, after=after)

    assert errors == []
    # After rank 1, id 3: a cursor of one list is a place in all of them.
    assert [ids(row["friends"]) for row in data["people"]] == [[4, 5], [0, 2], [0, 1], [0], [0], [0], [0], []]
    assert [row["friends"]["pageInfo"]["hasPreviousPage"] for row in data["people"]] == [True] + [False] * 7
    if ask.is_batching:
        assert asked == ["Person.friends"] * 3


def test_parent_without_a_key_has_no_list(ask):
    data, errors, asked = ask("{ nobody { name friends { totalCount } } }")

    assert data == {"nobody": None}
    assert [message for message, _ in errors] == ["Cannot return null for non-nullable field Person.friends."]
    assert asked == []


def test_connection_without_a_total_has_none(ask):
    assert ask("{ uncounted { totalCount } }")[1][0][0] == (
        "Cannot query field 'totalCount' on type 'PersonUncountedConnection'."
    )


def test_index_gives_where_a_page_begins():
    """The bound of the first key is a seek in an index, also where it is one of several conditions."""
    graph.write("CREATE INDEX page_test_rank IF NOT EXISTS FOR (p:PageTest) ON (p.rank)")
    graph.write("CALL db.awaitIndexes(60)")
    try:
        text = Query._meta.fields["byRank"].list
        condition = text.beyond(["", ""], name="dbopt_after", is_backward=False, is_inclusive=False)
        plan = graph.explain(
            text.rows([condition], is_backward=False),
            {"keys": [0], "tenant": 1, "least": None, "dbopt_after0": 0, "dbopt_after1": 0, "dbopt_limit": 3},
        )
    finally:
        graph.write("DROP INDEX page_test_rank IF EXISTS")

    assert "NodeIndexSeek" in str(plan)


def test_order_is_demanded_and_no_estimate_is_made():
    with pytest.raises(ConfigurationError, match=r"order_by is 'p.id'. Give a sequence of expressions"):
        people("p.id")
    with pytest.raises(ConfigurationError, match="Neo4j estimates no total"):
        people(("p.id",), total_count="estimated")


def test_row_that_is_no_map_and_key_without_an_order_are_mistakes_of_the_schema(ask):
    class Wrong(graphene.ObjectType):
        scalar = CypherConnection(Person, match="(p:PageTest)", returns="p.id", order_by=("p.id",))
        duration = CypherConnection(
            Person, match="(p:PageTest)", returns="p {.id}", order_by=("duration({days: p.id})", "p.id")
        )

    schema = graphene.Schema(query=Wrong)
    messages = [
        schema.execute(text).errors[0].message
        for text in ("{ scalar { nodes { id } } }", "{ duration { pageInfo { endCursor } } }")
    ]

    assert messages == [
        "A row is a int. `returns` must be a map: e {.id, .name}.",
        "Cannot page by a Duration: it has no order. Order by a number of it.",
    ]
