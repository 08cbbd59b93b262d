"""graphene-django's own connections over relations: its answers, with two statements for all parents."""

from __future__ import annotations

import django_filters
import graphene
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphene import relay
from graphene_django import DjangoConnectionField, DjangoObjectType
from graphene_django.filter import DjangoFilterConnectionField
from graphene_django.registry import Registry
from graphql_relay import offset_to_cursor

from dbopt.graphql import DboptExecutionContext, optimize
from dbopt.graphql.execution.core_versions import executed_by
from tests.testapp.models import Author, Book, Tag

pytestmark = pytest.mark.django_db


class BookFilter(django_filters.FilterSet):
    least = django_filters.NumberFilter(field_name="pages", lookup_expr="gte")
    tag = django_filters.CharFilter(field_name="tags__slug", lookup_expr="startswith", distinct=True)

    class Meta:
        model = Book
        fields = {"title": ["exact", "startswith", "in"]}

    order_by = django_filters.OrderingFilter(fields=("title", "pages"))


class Counted(relay.Connection):
    class Meta:
        abstract = True

    total = graphene.Int()
    length = graphene.Int()

    def resolve_total(self, info):
        return self.iterable.count()

    def resolve_length(self, info):
        return self.length


def build(*, get_queryset=None, **parts):
    """Make a schema of authors, whose books are in a filtered connection and whose friends are in a plain one."""
    registry = Registry()

    def node(model, *fields, **attributes):
        meta = {"model": model, "fields": fields, "registry": registry, "name": model.__name__}
        meta |= {"interfaces": (relay.Node,), "connection_class": Counted, **attributes.pop("meta", {})}
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": type("Meta", (), meta), **attributes})

    see = {"get_queryset": classmethod(get_queryset or (lambda cls, rows, info: rows.order_by("pk")))}
    node(Tag, "slug", "books", get_queryset=classmethod(lambda cls, rows, info: rows.order_by("slug")))
    book = node(Book, "title", "pages", "tags", "author", meta={"filterset_class": BookFilter}, **see)
    author = node(Author, "name", "books", "friends", **{"edited": DjangoConnectionField(book, max_limit=2), **parts})
    query = {
        "authors": graphene.List(author),
        "resolve_authors": lambda root, info: Author.objects.order_by("pk"),
        "all_books": DjangoFilterConnectionField(book),
        "books": graphene.List(book),
        "resolve_books": lambda root, info: Book.objects.order_by("pk"),
    }
    return graphene.Schema(query=type("Query", (graphene.ObjectType,), query))


def ask(text, *, of=None, executor=DboptExecutionContext):
    """Return (data, messages, statements)."""
    with CaptureQueriesContext(connection) as captured:
        result = (of or optimize(build())).execute(text, context_value={}, **executed_by(executor))
    return result.data, [error.message for error in result.errors or ()], [q["sql"] for q in captured.captured_queries]


def stock(text, *, of=None):
    return ask(text, of=of or build(), executor=None)[:2]


@pytest.fixture
def authors():
    """Authors with 0 to 4 books, of which they edited the one before theirs, and friends."""
    tags = Tag.objects.bulk_create([Tag(slug=slug) for slug in ("one", "other", "two")])
    made = []
    for number in range(5):
        author = Author.objects.create(name=f"A{number}", email=f"{number}@example.com")
        author.friends.add(*made)
        made.append(author)
        for index in range(number):
            book = Book.objects.create(title=f"B{number}.{index}", author=author, pages=index, editor=made[number - 1])
            book.tags.add(*tags[: index + 1])
    return made


BOOKS = (
    "{ authors { name books%s { total length edges { cursor node { title } } "
    "pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }"
)
CURSORS = [offset_to_cursor(number) for number in (0, 2)]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "(first: 2)",
        "(first: 0)",
        f'(first: 1, after: "{CURSORS[0]}")',
        f'(after: "{CURSORS[1]}")',
        f'(first: 5, before: "{CURSORS[1]}")',
        "(last: 2)",
        f'(last: 1, before: "{CURSORS[1]}")',
        "(first: 3, last: 1)",
        "(offset: 1, first: 2)",
        f'(offset: 1, first: 1, after: "{CURSORS[0]}")',
        "(offset: 100)",
        '(first: 2, after: "nonsense")',
        "(least: 1)",
        "(least: 1, first: 1)",
        '(title_Startswith: "B4", first: 2)',
        '(title_In: ["B3.0", "B4.2"], orderBy: "-title")',
        '(orderBy: "-pages,title", first: 3)',
        '(tag: "o", first: 2)',
    ],
)
def test_answers_are_graphene_djangos_with_two_statements_for_all_parents(authors, arguments):
    text = BOOKS % arguments

    data, messages, asked = ask(text)

    assert (data, messages) == stock(text)
    # From the end, pages begin elsewhere for each parent: they are read one by one.
    assert len(asked) <= (1 + 3 * 5 if arguments.startswith("(last") else 3)


@pytest.mark.parametrize(
    "arguments", ["(first: -1)", "(last: -1)", "(first: 101)", '(least: "x")', '(offset: 1, before: "x")']
)
def test_refusals_are_graphene_djangos(authors, arguments):
    text = BOOKS % arguments

    data, messages, _ = ask(text)

    assert (data, messages) == stock(text)
    assert messages


def test_filter_that_is_not_valid_is_refused_as_graphene_django_does(authors):
    text = BOOKS % '(orderBy: "nothing")'

    data, messages, asked = ask(text)

    assert (data, messages) == stock(text)
    assert "nothing" in messages[0]
    assert len(asked) == 1


def test_plain_connections_with_a_limit_of_their_own_and_many_to_many(authors):
    text = "{ authors { edited { length edges { node { title } } } friends(first: 2) { length edges { node { name } } } } }"

    data, messages, asked = ask(text)

    assert messages == []
    assert [row["edited"]["length"] for row in data["authors"]] == [1, 2, 3, 4, 0]
    assert [len(row["edited"]["edges"]) for row in data["authors"]] == [1, 2, 2, 2, 0]
    assert [row["friends"]["length"] for row in data["authors"]] == [4] * 5
    assert {len(row["friends"]["edges"]) for row in data["authors"]} == {2}
    assert len(asked) == 5


def test_connections_below_connections_stay_constant(authors):
    text = "{ authors { books(first: 3) { edges { node { title tags(first: 1) { edges { node { slug } } } author { name } } } } } }"

    data, messages, asked = ask(text)

    assert messages == []
    assert data == stock(text)[0]
    # Authors, books and tags with their counts, authors of books.
    assert len(asked) == 6
    assert not any('"price"' in sql for sql in asked)


def test_first_rows_are_read_by_lateral_and_no_others(authors):
    _, _, asked = ask(BOOKS % "(first: 2)")

    assert [sql for sql in asked if "LATERAL" in sql and "LIMIT 2" in sql]


def test_permissions_are_asked_once(authors):
    seen = []

    def get_queryset(cls, rows, info):
        seen.append(info.field_name)
        return rows.exclude(pages=0)

    data, messages, _ = ask(BOOKS % "(first: 9)", of=optimize(build(get_queryset=get_queryset)))

    assert messages == []
    assert seen == ["books"]
    assert [row["books"]["total"] for row in data["authors"]] == [0, 0, 1, 2, 3]


def test_resolvers_and_resolver_classes_of_the_project_are_left_alone(authors):
    class Own(DjangoConnectionField):
        @classmethod
        def connection_resolver(cls, *arguments, **named):
            return None

    registry = Registry()
    meta = {"model": Tag, "fields": ["slug"], "registry": registry, "interfaces": (relay.Node,)}
    tag = type("TagNode", (DjangoObjectType,), {"Meta": type("Meta", (), meta)})
    meta = {"model": Book, "fields": ["title"], "registry": registry}
    fields = {
        "tags": Own(tag),
        "none": DjangoConnectionField(tag),
        "resolve_none": lambda root, info, **arguments: Tag.objects.none(),
    }
    book = type("BookNode", (DjangoObjectType,), {"Meta": type("Meta", (), meta), **fields})
    query = {"books": graphene.List(book), "resolve_books": lambda root, info: Book.objects.order_by("pk")[:1]}
    schema = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query)))

    data, messages, _ = ask(
        "{ books { tags { edges { node { slug } } } none { edges { node { slug } } } } }", of=schema
    )

    assert messages == []
    assert data == {"books": [{"tags": None, "none": {"edges": []}}]}


def test_root_connection_is_graphene_djangos(authors):
    text = "{ allBooks(first: 2, least: 1) { length edges { cursor node { title } } } }"

    data, messages, asked = ask(text)

    assert messages == []
    assert data == stock(text)[0]
    assert len(asked) == 2


def test_optimised_schema_answers_under_graphenes_executor_too(authors):
    assert ask(BOOKS % "(first: 2)", executor=None)[:2] == stock(BOOKS % "(first: 2)")


def test_first_of_each_kind_is_found_for_each_parent(authors):
    """distinct() with field names: over all parents together it would leave some without."""
    Book.objects.update(title="same")
    text = "{ authors { books { length edges { node { title } } } } }"
    see = {"get_queryset": lambda cls, rows, info: rows.order_by("title").distinct("title")}

    data, messages, _ = ask(text, of=optimize(build(**see)))

    assert (data, messages) == stock(text, of=build(**see))
    assert [row["books"]["length"] for row in data["authors"]] == [0, 1, 1, 1, 1]


def test_first_of_each_kind_cannot_be_found_in_one_list(authors):
    see = {"get_queryset": lambda cls, rows, info: rows.order_by("title").distinct("title").select_related("editor")}

    _, messages, _ = ask("{ authors { books(first: 1) { edges { node { title } } } } }", of=optimize(build(**see)))

    assert len(set(messages)) == 1
    assert messages[0] == (
        "distinct() with field names picks among each parent's rows, which cannot be read together on this database, "
        "or with select_related. Leave one of them out."
    )
