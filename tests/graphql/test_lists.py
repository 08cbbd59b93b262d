"""Lists of rows: pagination that is required, lists that are bounded."""

from __future__ import annotations

import graphene
import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from graphene import relay
from graphene_django import DjangoConnectionField, DjangoListField, DjangoObjectType
from graphene_django.registry import Registry

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError
from dbopt.graphql import DboptExecutionContext, GraphQLView, KeysetConnectionField, optimize
from dbopt.graphql.execution.core_versions import executed_by
from tests.graphql.posting import ask as post
from tests.graphql.posting import errors_of
from tests.testapp.models import Author, Book, Tag

pytestmark = pytest.mark.django_db
REGISTRY = Registry()


def graphql(**options):
    return override_settings(DBOPT={"GRAPHQL": options})


class TagNode(DjangoObjectType):
    class Meta:
        model = Tag
        fields = ("id", "slug")
        registry = REGISTRY


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author", "tags")
        interfaces = (relay.Node,)
        registry = REGISTRY


class AuthorNode(DjangoObjectType):
    titles = graphene.List(graphene.String)
    books = DjangoListField(BookNode)

    class Meta:
        model = Author
        fields = ("id", "name")
        registry = REGISTRY

    def resolve_titles(self, info):
        return ["a", "b", "c"]


class Found(graphene.Union):
    class Meta:
        types = (AuthorNode, TagNode)


class Query(graphene.ObjectType):
    authors = graphene.List(AuthorNode)
    author = graphene.Field(AuthorNode)
    tags = DjangoListField(TagNode)
    some = graphene.List(graphene.NonNull(AuthorNode), limit=graphene.Int(), required=True)
    ten = graphene.List(AuthorNode, limit=graphene.Int(default_value=10))
    books = DjangoConnectionField(BookNode)
    pages = KeysetConnectionField(AuthorNode, order_by="id")
    free = KeysetConnectionField(AuthorNode, order_by="id", require_pagination=False)
    found = graphene.List(Found)

    def resolve_authors(self, info):
        return Author.objects.order_by("pk")

    def resolve_author(self, info):
        return Author.objects.first()

    def resolve_some(self, info, limit=None):
        return Author.objects.order_by("pk")[:limit]

    resolve_ten = resolve_some

    def resolve_found(self, info):
        return [*Author.objects.all()]


SCHEMAS = {"plain": graphene.Schema(query=Query), "optimised": optimize(graphene.Schema(query=Query))}


@pytest.fixture(params=SCHEMAS)
def schema(request):
    return SCHEMAS[request.param]


@pytest.fixture
def authors(db):
    authors = Author.objects.bulk_create([Author(name=f"A{n}", email=f"{n}@example.com") for n in range(4)])
    Book.objects.bulk_create([Book(title=f"B{n}", author=authors[0]) for n in range(4)])
    Tag.objects.create(slug="t")
    return authors


def ask(schema, text, **options):
    result = schema.execute(text, context_value={}, **executed_by(DboptExecutionContext), **options)
    return result.data, [(error.message, error.path, error.extensions) for error in result.errors or ()]


REQUIRED = {"code": "PAGINATION_REQUIRED"}
NO_SIZE = "{} cannot be asked for: it takes no first, last or limit, and nothing bounds it."


@graphql(REQUIRE_PAGINATION=True)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ authors { id } }", NO_SIZE.format("Query.authors")),
        ("{ tags { id } }", NO_SIZE.format("Query.tags")),
        ("{ found { __typename } }", NO_SIZE.format("Query.found")),
        ("{ some { id } }", "Query.some must be paginated: give `limit`."),
        ("{ some(limit: null) { id } }", "Query.some must be paginated: give `limit`."),
        ("{ books { edges { node { id } } } }", "Query.books must be paginated: give `first` or `last`."),
        ("{ pages { nodes { id } } }", "This list must be paginated: give `first` or `last`, at most 1000."),
    ],
)
def test_list_without_a_size_is_refused(schema, authors, text, message):
    with CaptureQueriesContext(connection) as statements:
        _, errors = ask(schema, text)

    assert [(error[0], error[2]) for error in errors] == [(message, REQUIRED)]
    assert len(statements) == 0


@graphql(REQUIRE_PAGINATION=True)
@pytest.mark.parametrize(
    ("text", "name", "rows"),
    [
        ("{ some(limit: 2) { id } }", "some", 2),
        ("{ ten { id } }", "ten", 4),
        ("query($n: Int = 3) { some(limit: $n) { id } }", "some", 3),
    ],
)
def test_list_with_a_size_is_answered(schema, authors, text, name, rows):
    data, errors = ask(schema, text)

    assert (len(data[name]), errors) == (rows, [])


@graphql(REQUIRE_PAGINATION=True)
def test_connections_with_a_size_and_lists_of_other_things_are_answered(schema, authors):
    data, errors = ask(
        schema,
        """{ books(first: 2) { edges { node { id } } } pages(last: 2) { nodes { id } edges { node { id } } }
             free { nodes { id } } author { titles } __schema { types { name } } }""",
    )

    assert errors == []
    assert [len(data["books"]["edges"]), len(data["pages"]["nodes"]), len(data["free"]["nodes"])] == [2, 2, 4]
    assert data["author"] == {"titles": ["a", "b", "c"]}


@graphql(REQUIRE_PAGINATION=True)
def test_nested_list_is_an_error_at_its_place_and_the_rest_is_answered(schema, authors):
    data, errors = ask(schema, "{ author { name books { id } } }")

    assert data == {"author": {"name": "A0", "books": None}}
    assert errors == [(NO_SIZE.format("AuthorNode.books"), ["author", "books"], REQUIRED)]


@graphql(REQUIRE_PAGINATION=True, LIST_SIZES={"Query.tags": 5, "AuthorNode.books": 4})
def test_bounded_list_needs_no_size(schema, authors):
    data, errors = ask(schema, "{ tags { slug } author { books { title } } }")

    assert errors == []
    assert (len(data["tags"]), len(data["author"]["books"])) == (1, 4)


@graphql(REQUIRE_PAGINATION=True)
def test_view_answers_with_the_code(authors):
    status, answer = post(GraphQLView.as_view(schema=SCHEMAS["optimised"]), {"query": "{ authors { id } }"})

    assert (status, answer["data"]) == (200, {"authors": None})
    assert errors_of(answer) == [(NO_SIZE.format("Query.authors"), REQUIRED)]


@pytest.mark.parametrize(("most", "rows"), [(4, 4), (3, None), (0, None)])
@pytest.mark.parametrize("setting", ["MAX_LIST_SIZE", "LIST_SIZES"])
def test_list_that_is_too_long_is_refused_and_not_read(schema, authors, setting, most, rows):
    message = f"Query.authors has more than {most} rows, which is the most it may give."
    value = most if setting == "MAX_LIST_SIZE" else {"Query.authors": most}

    with graphql(**{setting: value}), CaptureQueriesContext(connection) as statements:
        data, errors = ask(schema, "{ authors { id } }")

    assert (data["authors"] and len(data["authors"])) == rows
    assert errors == ([] if rows else [(message, ["authors"], {"code": "PAGE_TOO_LARGE"})])
    assert [query["sql"].endswith(f"LIMIT {most + 1}") for query in statements] == [True]


@graphql(MAX_LIST_SIZE=3)
def test_relation_of_a_hub_is_not_read_whole(authors):
    with CaptureQueriesContext(connection) as statements:
        data, errors = ask(SCHEMAS["optimised"], "{ author { name books { title } } }")

    assert data == {"author": {"name": "A0", "books": None}}
    assert [message for message, *_ in errors] == [
        "AuthorNode.books has more than 3 rows, which is the most it may give."
    ]
    assert "LIMIT 4" in statements[-1]["sql"]


@graphql(MAX_LIST_SIZE=1, LIST_SIZES={"Query.authors": 10})
def test_size_of_a_field_goes_before_that_of_all(schema, authors):
    data, errors = ask(schema, "{ authors { id } tags { id } }")

    assert (len(data["authors"]), len(data["tags"]), errors) == (4, 1, [])


@graphql(MAX_LIST_SIZE=1)
def test_pages_have_their_own_limit(schema, authors):
    data, errors = ask(schema, "{ pages(first: 3) { nodes { id } } books(first: 3) { edges { node { id } } } }")

    assert errors == []
    assert (len(data["pages"]["nodes"]), len(data["books"]["edges"])) == (3, 3)


@graphql(MAX_LIST_SIZE=2)
@pytest.mark.parametrize("value", [[1, 2, 3], (1, 2, 3), iter([1, 2, 3])])
def test_any_iterable_is_bounded(value):
    class Root(graphene.ObjectType):
        authors = graphene.List(AuthorNode)

        def resolve_authors(self, info):
            return value

    data, errors = ask(graphene.Schema(query=Root), "{ authors { id } }")

    assert (data, errors[0][2]) == ({"authors": None}, {"code": "PAGE_TOO_LARGE"})


def test_without_settings_nothing_is_refused(schema, authors):
    data, errors = ask(schema, "{ authors { books { id } } tags { id } some { id } books { edges { node { id } } } }")

    assert errors == []
    assert len(data["authors"]) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"LIST_SIZES": {"Query.a": -1}}, 'DBOPT["GRAPHQL"]["LIST_SIZES"]["Query.a"] is -1; it must be at least 0.'),
        ({"MAX_LIST_SIZE": -1}, 'DBOPT["GRAPHQL"]["MAX_LIST_SIZE"] is -1; it must be at least 0.'),
        (
            {"CHECK_EXCEPTIONS": {"Query.a": " "}},
            (
                'DBOPT["GRAPHQL"]["CHECK_EXCEPTIONS"]["Query.a"] gives no reason. '
                "Say why its findings do not matter: whoever reads it next will ask."
            ),
        ),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with graphql(**options), pytest.raises(ConfigurationError) as caught:
        dbopt_settings.graphql.list_sizes  # noqa: B018

    assert str(caught.value) == message
