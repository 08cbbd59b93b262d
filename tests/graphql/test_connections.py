"""`KeysetConnectionField`: pages of a list, under graphene's own executor and under ours."""

from __future__ import annotations

import graphene
import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from graphene import relay
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import DboptExecutionContext, KeysetConnectionField, optimize
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.tenancy import require_tenant, tenant_context
from tests.testapp.models import Author, Book, Tag

pytestmark = pytest.mark.django_db

REGISTRY = Registry()


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        name = "Book"
        fields = ("id", "title", "pages", "author")
        registry = REGISTRY

    @classmethod
    def get_queryset(cls, queryset, info):
        return queryset.exclude(title="hidden")


class AuthorNode(DjangoObjectType):
    class Meta:
        model = Author
        name = "Author"
        fields = ("id", "name")
        registry = REGISTRY

    books = KeysetConnectionField(BookNode, order_by="-pages")


class TagNode(DjangoObjectType):
    class Meta:
        model = Tag
        name = "Tag"
        fields = ("id", "slug")
        registry = REGISTRY
        interfaces = (relay.Node,)

    @classmethod
    def get_queryset(cls, queryset, info):
        require_tenant()
        return queryset


class Query(graphene.ObjectType):
    node = relay.Node.Field()
    books = KeysetConnectionField(lambda: BookNode, order_by=("-pages",), title=graphene.String())
    all_books = KeysetConnectionField(BookNode)
    few_books = KeysetConnectionField(BookNode, order_by="pk", max_size=2, require_pagination=True)
    no_books = KeysetConnectionField(BookNode, required=False, resolver=lambda root, info: None)
    listed_books = KeysetConnectionField(BookNode, required=False, resolver=lambda root, info: [])
    wrong_books = KeysetConnectionField(BookNode, required=False, resolver=lambda root, info: Author.objects.all())
    tags = KeysetConnectionField(TagNode, required=False)
    author = graphene.Field(AuthorNode)

    def resolve_books(self, info, title=None):
        return Book.objects.all() if title is None else Book.objects.filter(title=title)

    def resolve_author(self, info):
        return Author.objects.first()


SCHEMA = optimize(graphene.Schema(query=Query))


@pytest.fixture(params=["graphene", "dbopt"])
def ask(request):
    """Return (data, errors as (message, code), statements)."""
    options = executed_by(DboptExecutionContext) if request.param == "dbopt" else {}

    def execute(text, **variables):
        with CaptureQueriesContext(connection) as statements:
            result = SCHEMA.execute(text, context_value={}, variable_values=variables, **options)
        errors = [(error.message, (error.extensions or {}).get("code")) for error in result.errors or ()]
        return result.data, errors, len(statements)

    return execute


@pytest.fixture
def author():
    return Author.objects.create(name="A", email="a@example.com")


@pytest.fixture
def books(author):
    made = [Book.objects.create(title=f"book {n}", author=author, pages=n // 2) for n in range(5)]
    Book.objects.create(title="hidden", author=author, pages=9)
    return made[::-1]


PAGE = """query($first: Int, $after: String, $last: Int, $before: String) {
    books(first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { title } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
}"""


def titles(data, field="books"):
    return [edge["node"]["title"] for edge in data[field]["edges"]]


def test_pages_follow_each_other_forwards_and_backwards(ask, books):
    right = [book.title for book in books]

    forwards, after = [], None
    while True:
        data, errors, _ = ask(PAGE, first=2, after=after)
        assert errors == []
        forwards += titles(data)
        after = data["books"]["pageInfo"]["endCursor"]
        if not data["books"]["pageInfo"]["hasNextPage"]:
            break
    backwards, before = [], None
    while True:
        data, errors, _ = ask(PAGE, last=2, before=before)
        assert errors == []
        backwards = titles(data) + backwards
        before = data["books"]["pageInfo"]["startCursor"]
        if not data["books"]["pageInfo"]["hasPreviousPage"]:
            break

    assert forwards == right
    assert backwards == right


def test_cursors_of_edges_are_those_of_the_page(ask, books):
    data, _, _ = ask(PAGE, first=3)

    cursors = [edge["cursor"] for edge in data["books"]["edges"]]
    info = data["books"]["pageInfo"]
    assert (info["startCursor"], info["endCursor"]) == (cursors[0], cursors[2])
    assert titles(ask(PAGE, first=1, after=cursors[0])[0]) == [books[1].title]


@pytest.mark.parametrize(
    ("selection", "statements"),
    [
        ("edges { cursor node { title } } nodes { title } pageInfo { hasNextPage endCursor startCursor }", 1),
        ("nodes { title } pageInfo { hasNextPage hasPreviousPage }", 2),
        ("nodes { title } pageInfo { hasNextPage } totalCount", 2),
        ("totalCount", 1),
        ("__typename", 0),
    ],
)
def test_only_what_is_selected_is_asked_for(ask, books, selection, statements):
    after = ask(PAGE, first=1)[0]["books"]["pageInfo"]["endCursor"]

    data, errors, asked = ask(
        f"query($after: String) {{ books(first: 2, after: $after) {{ {selection} }} }}", after=after
    )

    assert errors == []
    assert asked == statements
    assert data["books"].get("totalCount", 5) == 5


def test_first_page_without_cursor_asks_once_for_everything_but_the_total(ask, books):
    data, errors, statements = ask(PAGE, first=2)

    assert (errors, statements) == ([], 1)
    assert data["books"]["pageInfo"]["hasPreviousPage"] is False


def test_resolver_filters_and_get_queryset_decides_what_is_seen(ask, books):
    data, errors, _ = ask('{ books(title: "book 3") { totalCount nodes { title } } }')
    assert (data, errors) == ({"books": {"totalCount": 1, "nodes": [{"title": "book 3"}]}}, [])

    data, errors, _ = ask('{ books(title: "hidden") { totalCount nodes { title } } }')
    assert (data, errors) == ({"books": {"totalCount": 0, "nodes": []}}, [])


def test_without_resolver_all_rows_of_the_model_are_listed(ask, books):
    data, errors, _ = ask("{ allBooks { nodes { title } } }")

    assert errors == []
    assert [node["title"] for node in data["allBooks"]["nodes"]] == [f"book {n}" for n in range(5)]


def test_relation_of_a_parent_is_paged(ask, books):
    stranger = Author.objects.create(name="B", email="b@example.com")
    Book.objects.create(title="other", author=stranger)

    data, errors, _ = ask("{ author { books(first: 2) { totalCount nodes { title } } } }")

    assert errors == []
    assert data["author"]["books"] == {"totalCount": 5, "nodes": [{"title": "book 4"}, {"title": "book 3"}]}


def test_resolver_that_returns_nothing_is_null_and_never_all_rows(ask, books):
    assert ask("{ noBooks { totalCount } }") == ({"noBooks": None}, [], 0)


@pytest.mark.parametrize(("field", "found"), [("listedBooks", "list"), ("wrongBooks", "Author")])
def test_resolver_that_returns_no_queryset_of_the_type_is_an_error(ask, field, found):
    _, errors, statements = ask(f"{{ {field} {{ totalCount }} }}")

    assert statements == 0
    assert errors == [
        (
            f"The resolver of Query.{field} must return a QuerySet of Book, not {found}: a page is cut by the database.",
            None,
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ("books(first: -1)", "`first` is -1; it must not be negative.", "BAD_PAGINATION"),
        ("books(first: 1, last: 1)", "Give `first` or `last`, not both.", "BAD_PAGINATION"),
        ("books(last: 1001)", "`last` is 1001; at most 1000 rows can be asked for at once.", "PAGE_TOO_LARGE"),
        ("fewBooks(first: 3)", "`first` is 3; at most 2 rows can be asked for at once.", "PAGE_TOO_LARGE"),
        ("fewBooks", "This list must be paginated: give `first` or `last`, at most 2.", "PAGINATION_REQUIRED"),
        (
            'books(after: "YXJyYXljb25uZWN0aW9uOjk5")',
            "Argument `after` is not a valid cursor for this list: its signature does not match.",
            "INVALID_CURSOR",
        ),
        (
            'books(last: 1, before: "x")',
            "Argument `before` is not a valid cursor for this list: it is not base64url.",
            "INVALID_CURSOR",
        ),
    ],
)
def test_wrong_page_is_an_error_with_a_code_and_no_statement(ask, arguments, message, code):
    _, errors, statements = ask(f"{{ {arguments} {{ totalCount }} }}")

    assert errors == [(message, code)]
    assert statements == 0


def test_cursor_of_another_field_is_refused_when_its_order_differs(ask, books):
    cursor = ask(PAGE, first=1)[0]["books"]["pageInfo"]["endCursor"]

    _, errors, _ = ask("query($after: String) { allBooks(after: $after) { totalCount } }", after=cursor)

    assert [code for _, code in errors] == ["INVALID_CURSOR"]


def test_settings_give_the_sizes(ask, books):
    with override_settings(DBOPT={"GRAPHQL": {"DEFAULT_PAGE_SIZE": 2, "MAX_PAGE_SIZE": 3}}):
        assert len(titles(ask(PAGE)[0])) == 2
        assert ask("{ books(first: 4) { totalCount } }")[1] == [
            ("`first` is 4; at most 3 rows can be asked for at once.", "PAGE_TOO_LARGE")
        ]
    with override_settings(DBOPT={"GRAPHQL": {"REQUIRE_PAGINATION": True}}):
        assert ask(PAGE)[1] == [
            ("This list must be paginated: give `first` or `last`, at most 1000.", "PAGINATION_REQUIRED")
        ]


def test_tenant_is_asked_for_and_bound_to_the_cursor(ask):
    Tag.objects.bulk_create(Tag(slug=slug) for slug in "abc")
    text = "query($after: String) { tags(first: 1, after: $after) { pageInfo { endCursor } nodes { slug } } }"

    _, errors, statements = ask(text)
    assert ([code for _, code in errors], statements) == (["TENANT_REQUIRED"], 0)
    with tenant_context(1):
        cursor = ask(text)[0]["tags"]["pageInfo"]["endCursor"]
        assert ask(text, after=cursor)[0]["tags"]["nodes"] == [{"slug": "b"}]
    with tenant_context(2):
        assert ask(text, after=cursor)[1] == [
            (
                "Argument `after` is not a valid cursor for this list: it belongs to another list, ordering or tenant.",
                "INVALID_CURSOR",
            )
        ]


def test_order_that_cannot_be_paged_is_a_mistake_of_the_schema(books):
    class Wrong(graphene.ObjectType):
        books = KeysetConnectionField(BookNode, order_by="?", required=False)

    result = graphene.Schema(query=Wrong).execute("{ books { totalCount } }", context_value={})

    assert isinstance(result.errors[0].original_error, ConfigurationError)
    assert result.errors[0].message == "Cannot page in random order ('?'). Order by columns."


def test_schema_reads_like_relay():
    text = str(SCHEMA)

    assert "type BookConnection {" in text
    assert "edges: [BookEdge!]!" in text
    assert "nodes: [Book!]!" in text
    assert "pageInfo: PageInfo!" in text
    assert "totalCount: Int!" in text
    # graphene-django has a TagConnection of its own for nodes.
    assert "type TagKeysetConnection {" in text
