"""Connections below a list: the pages of all parents in one statement, each as it would be by itself."""

from __future__ import annotations

import gc

import graphene
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import DboptExecutionContext, KeysetConnectionField, optimize
from dbopt.graphql.execution.core_versions import executed_by
from dbopt.pagination import declarations
from dbopt.pagination.declarations import declared_orders
from tests.testapp.models import Author, Book, Note, Publisher, Shop, Tag

pytestmark = pytest.mark.django_db


def schema(*, get_queryset=None, optimized=True, **books):
    """Make a schema: authors with pages of books, books with pages of tags, tags with pages of books."""
    registry = Registry()

    def node(model, *fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry, "name": model.__name__})
        return type(model.__name__, (DjangoObjectType,), {"Meta": meta, **attributes})

    see = {} if get_queryset is None else {"get_queryset": classmethod(get_queryset)}
    tag = node(Tag, "id", "slug", books=KeysetConnectionField(lambda: book, order_by=("-pages",)))
    publisher = node(Publisher, "id", "name", library=KeysetConnectionField(lambda: book, relation="book_set"))
    book = node(
        Book, "id", "title", "pages", "publisher", tags=KeysetConnectionField(tag, order_by="-slug", max_size=3), **see
    )
    note = node(Note, "id", "text")
    options = {"order_by": ("-pages",), **books}
    author = node(
        Author,
        "id",
        "name",
        books=KeysetConnectionField(book, **options),
        notes=KeysetConnectionField(note, order_by="text", total_count=None),
        friends=KeysetConnectionField(lambda: author, order_by="name"),
        some_books=KeysetConnectionField(
            book, relation="books", order_by="title", filters={"least": "pages__gte"}, least=graphene.Int()
        ),
        own_books=KeysetConnectionField(book, order_by="title"),
        resolve_own_books=lambda root, info: Book.objects.filter(author=root),
    )
    query = {
        "authors": graphene.List(author),
        "resolve_authors": lambda root, info: Author.objects.order_by("pk"),
        "books": graphene.List(book),
        "resolve_books": lambda root, info: Book.objects.order_by("pk"),
        "tags": graphene.List(tag),
        "resolve_tags": lambda root, info: Tag.objects.order_by("pk"),
        "publishers": graphene.List(publisher),
        "resolve_publishers": lambda root, info: Publisher.objects.order_by("pk"),
    }
    made = graphene.Schema(query=type("Query", (graphene.ObjectType,), query))
    return optimize(made) if optimized else made


SCHEMA = schema()


def ask(text, *, of=None, executor=DboptExecutionContext, **variables):
    """Return (data, errors as (message, code), statements)."""
    with CaptureQueriesContext(connection) as captured:
        result = (of or SCHEMA).execute(text, context_value={}, variable_values=variables, **executed_by(executor))
    errors = [(error.message, (error.extensions or {}).get("code")) for error in result.errors or ()]
    return result.data, errors, [query["sql"] for query in captured.captured_queries]


def one_by_one(text, **variables):
    """Ask graphene's own executor, which makes a page for each parent."""
    data, errors, _ = ask(text, executor=None, of=schema(optimized=False), **variables)
    assert errors == []
    return data


@pytest.fixture
def authors():
    """Authors with 0 to 5 books; ties in pages, tags on some of them."""
    tags = Tag.objects.bulk_create([Tag(slug=f"t{number}") for number in range(4)])
    publishers = [Publisher.objects.create(name=name) for name in "PQ"]
    made = []
    for number in range(6):
        author = Author.objects.create(name=f"A{number}", email=f"{number}@example.com")
        made.append(author)
        for index in range(number):
            book = Book.objects.create(
                title=f"B{number}.{index}", author=author, pages=index // 2, publisher=publishers[index % 2]
            )
            book.tags.add(*tags[: index + 1])
    return made


PAGE = """query($first: Int, $after: String, $last: Int, $before: String) {
    authors { name books(first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { title } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        totalCount
    } }
}"""


def cursors(authors):
    """Cursors of all books of the author who has most, in order."""
    data, _, _ = ask(PAGE, first=10)
    return [edge["cursor"] for edge in data["authors"][-1]["books"]["edges"]]


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("end", ["first", "last"])
def test_each_parent_gets_the_page_that_it_gets_alone(authors, size, end):
    places = cursors(authors)
    for after in (None, *places[:4]):
        for before in (None, *places[2::2]):
            variables = {end: size, "after": after, "before": before}

            data, errors, _ = ask(PAGE, **variables)

            assert errors == []
            assert data == one_by_one(PAGE, **variables)


@pytest.mark.parametrize(
    ("selection", "statements"),
    [
        ("nodes { title } edges { cursor } pageInfo { hasNextPage startCursor endCursor }", 1),
        ("nodes { title } pageInfo { hasNextPage hasPreviousPage }", 2),
        ("nodes { title } totalCount", 2),
        ("totalCount", 1),
        ("pageInfo { hasPreviousPage }", 1),
        ("__typename", 0),
    ],
)
def test_statements_are_those_of_what_is_selected_for_any_number_of_parents(authors, selection, statements):
    after = cursors(authors)[2]
    text = f"query($after: String) {{ authors {{ books(first: 2, after: $after) {{ {selection} }} }} }}"

    _, errors, asked = ask(text, after=after)

    assert errors == []
    assert len(asked) == 1 + statements


def test_page_of_the_first_rows_knows_without_asking_that_nothing_is_before(authors):
    data, errors, asked = ask(PAGE, first=2)

    assert errors == []
    # Authors, books, totals.
    assert len(asked) == 3
    assert "LATERAL" in asked[1]
    assert "LIMIT 3" in asked[1]
    assert {author["books"]["pageInfo"]["hasPreviousPage"] for author in data["authors"]} == {False}


def test_deeper_levels_cost_one_statement_each(authors):
    text = "{ authors { books(first: 3) { nodes { title tags(first: 2) { nodes { slug books(first: 1) { nodes { title } } } } } } } }"

    data, errors, asked = ask(text)

    assert errors == []
    assert len(asked) == 4
    assert data == one_by_one(text)


def test_same_page_in_two_columns_is_one_statement(authors):
    text = "{ a: authors { books(first: 1) { nodes { title } } } b: authors { books(first: 1) { nodes { title } } } }"

    data, errors, asked = ask(text)

    assert errors == []
    assert data["a"] == data["b"]
    assert len(asked) == 3


def test_different_pages_of_one_relation_are_apart(authors):
    text = "{ authors { x: books(first: 1) { nodes { title } } y: books(last: 1) { nodes { title } } } }"

    data, _, asked = ask(text)

    assert data["authors"][5] == {"x": {"nodes": [{"title": "B5.4"}]}, "y": {"nodes": [{"title": "B5.0"}]}}
    assert len(asked) == 3


def test_many_to_many_relations_of_both_directions_and_to_itself(authors):
    authors[1].friends.add(*authors[2:5])
    text = "{ authors { friends(first: 2) { totalCount nodes { name } pageInfo { hasNextPage } } } }"

    data, errors, asked = ask(text)

    assert errors == []
    assert data == one_by_one(text)
    assert data["authors"][1]["friends"] == {
        "totalCount": 3,
        "nodes": [{"name": "A2"}, {"name": "A3"}],
        "pageInfo": {"hasNextPage": True},
    }
    assert len(asked) == 3


def test_generic_relation_is_paged_by_the_type_of_its_parents(authors):
    types = [ContentType.objects.get_for_model(model) for model in (Author, Tag)]
    for text, kind in (("a", types[0]), ("b", types[0]), ("stranger", types[1])):
        Note.objects.create(text=text, content_type=kind, object_id=authors[0].pk)
    Note.objects.create(text="c", content_type=types[0], object_id=authors[1].pk)

    data, errors, asked = ask("{ authors { notes(first: 2) { nodes { text } pageInfo { hasNextPage } } } }")

    assert errors == []
    assert [row["notes"]["nodes"] for row in data["authors"][:3]] == [
        [{"text": "a"}, {"text": "b"}],
        [{"text": "c"}],
        [],
    ]
    assert data["authors"][0]["notes"]["pageInfo"] == {"hasNextPage": False}
    assert len(asked) == 2


def test_relation_has_another_name_than_the_field_and_filters(authors):
    text = "query($least: Int) { authors { someBooks(first: 2, least: $least) { totalCount nodes { title } } } }"

    data, errors, asked = ask(text, least=1)

    assert errors == []
    assert data["authors"][5]["someBooks"] == {"totalCount": 3, "nodes": [{"title": "B5.2"}, {"title": "B5.3"}]}
    assert len(asked) == 3
    assert data == one_by_one(text, least=1)
    assert ask(text, least=None)[0]["authors"][5]["someBooks"]["totalCount"] == 5


def test_relation_without_a_related_name(authors):
    data, errors, asked = ask("{ publishers { library(first: 1) { totalCount nodes { title } } } }")

    assert errors == []
    assert [row["library"]["totalCount"] for row in data["publishers"]] == [9, 6]
    assert len(asked) == 3


def test_resolver_of_the_projects_own_is_asked_for_each_parent(authors):
    data, errors, asked = ask("{ authors { ownBooks(first: 1) { nodes { title } } } }")

    assert errors == []
    assert data["authors"][5]["ownBooks"]["nodes"] == [{"title": "B5.0"}]
    assert len(asked) == 1 + 6


def test_only_selected_columns_and_keys_are_read_and_nothing_later(authors):
    data, errors, asked = ask("{ authors { books(first: 2) { edges { cursor node { title } } } } }")

    assert errors == []
    assert data["authors"][1]["books"]["edges"][0]["node"] == {"title": "B1.0"}
    assert len(asked) == 2
    for column in ("price", "rating", "data"):
        assert f'"{column}"' not in asked[1]
    for column in ("title", "pages", "author_id"):
        assert f'"{column}"' in asked[1]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ("books(first: -1)", "`first` is -1; it must not be negative.", "BAD_PAGINATION"),
        ("books(first: 1, last: 1)", "Give `first` or `last`, not both.", "BAD_PAGINATION"),
        ("books(last: 5)", "`last` is 5; at most 4 rows can be asked for at once.", "PAGE_TOO_LARGE"),
        ("books", "This list must be paginated: give `first` or `last`, at most 4.", "PAGINATION_REQUIRED"),
        (
            'books(first: 1, after: "YXJyYXljb25uZWN0aW9uOjk5")',
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
@pytest.mark.parametrize("executor", [DboptExecutionContext, None])
def test_wrong_page_is_an_error_with_a_code_and_no_statement_below(authors, arguments, message, code, executor):
    strict = schema(max_size=4, require_pagination=True, required=False)

    data, errors, asked = ask(f"{{ authors {{ {arguments} {{ nodes {{ title }} }} }} }}", of=strict, executor=executor)

    assert {row["books"] for row in data["authors"]} == {None}
    assert set(errors) == {(message, code)}
    assert len(asked) == 1


def test_cursor_of_another_order_is_refused(authors):
    cursor = cursors(authors)[0]

    _, errors, _ = ask("query($c: String) { authors { someBooks(after: $c) { totalCount } } }", c=cursor)

    assert {code for _, code in errors} == {"INVALID_CURSOR"}


def test_capped_total_counts_no_further_than_one_behind_the_cap(authors):
    capped = schema(total_count="capped", total_cap=2)

    data, errors, asked = ask("{ authors { books { totalCount } } }", of=capped)

    assert errors == []
    assert [row["books"]["totalCount"] for row in data["authors"]] == [0, 1, 2, 3, 3, 3]
    assert len(asked) == 2
    assert "LIMIT 3" in asked[1]
    assert data == ask("{ authors { books { totalCount } } }", of=capped, executor=None)[0]


def test_connection_without_a_total_has_a_type_of_its_own():
    assert "type NoteUncountedConnection {" in str(SCHEMA)
    _, errors, _ = ask("{ authors { notes { totalCount } } }")
    assert errors == [("Cannot query field 'totalCount' on type 'NoteUncountedConnection'.", None)]


def test_total_of_a_relation_cannot_be_estimated():
    with pytest.raises(ConfigurationError, match=r"The total of Author.books cannot be estimated.*\"capped\""):
        schema(total_count="estimated")


def test_estimated_total_of_a_root_list_counts_nothing(authors):
    class Query(graphene.ObjectType):
        tags = KeysetConnectionField(SCHEMA.graphql_schema.type_map["Tag"].graphene_type, total_count="estimated")

    data, errors, asked = ask("{ tags { totalCount } }", of=graphene.Schema(query=Query))

    assert errors == []
    assert isinstance(data["tags"]["totalCount"], int)
    assert len(asked) == 1
    assert asked[0].startswith("EXPLAIN")


def test_permissions_are_asked_once_for_all_parents(authors):
    seen = []

    def get_queryset(cls, queryset, info):
        seen.append(info.field_name)
        return queryset.exclude(pages=0)

    data, errors, asked = ask(
        "{ authors { books(first: 1) { totalCount nodes { title } } } }", of=schema(get_queryset=get_queryset)
    )

    assert errors == []
    assert seen == ["books"]
    assert [row["books"]["totalCount"] for row in data["authors"]] == [0, 0, 0, 1, 2, 3]
    assert len(asked) == 3


@pytest.mark.parametrize("shape", ["distinct", "select_related", "both", "annotated"])
def test_querysets_of_any_shape_give_what_each_parent_gets_alone(authors, shape):
    """Distinct rows stay LATERAL, select_related numbers the rows."""

    def get_queryset(cls, queryset, info):
        if shape == "annotated":
            return queryset.annotate(tag_count=Count("tags"))
        rows = queryset.filter(tags__isnull=False).distinct() if shape != "select_related" else queryset
        return rows.select_related("publisher") if shape != "distinct" else rows

    made = schema(get_queryset=get_queryset)
    text = """query($after: String) {
        authors { books(first: 2, after: $after) { nodes { title publisher { name } } totalCount pageInfo { hasPreviousPage } } }
        tags { books(last: 2) { nodes { title } totalCount } }
    }"""
    after = ask(PAGE, first=10, of=made)[0]["authors"][-1]["books"]["edges"][1]["cursor"]

    data, errors, asked = ask(text, of=made, after=after)
    alone, alone_errors, _ = ask(
        text, of=schema(get_queryset=get_queryset, optimized=False), executor=None, after=after
    )

    assert errors == alone_errors == []
    assert data == alone
    assert len(asked) <= 10
    assert any("LATERAL" in sql for sql in asked) == (shape in ("distinct", "annotated"))


def test_get_queryset_that_defers_the_foreign_key_asks_for_no_row_again(authors):
    _, errors, asked = ask(
        "{ authors { books(first: 2) { nodes { title } } } }",
        of=schema(get_queryset=lambda cls, queryset, info: queryset.only("title")),
    )

    assert errors == []
    assert len(asked) == 2


def test_failed_statement_is_an_error_of_each_page_and_is_not_tried_for_each(authors):
    def get_queryset(cls, queryset, info):
        return queryset.extra(where=["1 / 0 = 1"])

    data, errors, asked = ask(
        "{ authors { books(first: 1) { nodes { title } } } }", of=schema(get_queryset=get_queryset, required=False)
    )

    assert {row["books"] for row in data["authors"]} == {None}
    assert [message.strip() for message, _ in errors] == ["division by zero"] * 6
    assert len(asked) == 2


def test_parent_that_was_never_saved_is_an_error_of_its_own(authors):
    class Query(graphene.ObjectType):
        authors = graphene.List(SCHEMA.graphql_schema.type_map["Author"].graphene_type)

        def resolve_authors(self, info):
            return [Author(name="new"), authors[1]]

    data, errors, _ = ask("{ authors { name books { nodes { title } } } }", of=graphene.Schema(query=Query))

    assert data["authors"][1] == {"name": "A1", "books": {"nodes": [{"title": "B1.0"}]}}
    assert data["authors"][0] is None
    assert "needs to have a primary key value before this relationship can be used" in errors[0][0]


def test_foreign_key_to_a_column_that_is_not_the_primary_key():
    registry = Registry()

    def node(model, field, **attributes):
        meta = type("Meta", (), {"model": model, "fields": [field], "registry": registry, "name": model.__name__})
        return type(model.__name__, (DjangoObjectType,), {"Meta": meta, **attributes})

    shop = node(Shop, "code")
    book = node(Book, "title", shops=KeysetConnectionField(shop, relation="shop_set", order_by="-code"))

    class Query(graphene.ObjectType):
        books = graphene.List(book)

        def resolve_books(self, info):
            return Book.objects.order_by("title")

    author = Author.objects.create(name="A", email="a@example.com")
    books = [Book.objects.create(title=title, author=author) for title in "ab"]
    for code in ("x", "y", "z"):
        Shop.objects.create(code=code, bestseller=books[code == "z"])

    data, errors, asked = ask(
        "{ books { shops(first: 1) { totalCount pageInfo { hasNextPage } } } }",
        of=optimize(graphene.Schema(query=Query)),
    )

    assert errors == []
    # The column that is pointed at is read with the parents.
    assert data["books"] == [
        {"shops": {"totalCount": 2, "pageInfo": {"hasNextPage": True}}},
        {"shops": {"totalCount": 1, "pageInfo": {"hasNextPage": False}}},
    ]
    assert len(asked) == 3


def test_ten_thousand_parents_are_asked_about_in_chunks(batches):
    author = Author.objects.create(name="A", email="a@example.com")
    books = Book.objects.bulk_create([Book(title="B", author=author) for _ in range(2_500)])
    Book.tags.through.objects.bulk_create(
        [Book.tags.through(book=book, tag=tag) for tag in [Tag.objects.create(slug="t")] for book in books]
    )

    data, errors, asked = ask("{ books { tags(first: 1) { nodes { slug } } } }")

    assert errors == []
    assert {row["tags"]["nodes"][0]["slug"] for row in data["books"]} == {"t"}
    assert batches == [("PagesLoader", 1000), ("PagesLoader", 1000), ("PagesLoader", 500)]
    assert len(asked) == 4


@pytest.mark.parametrize(
    "order_by", [("-pages", "title"), ("rating",), ("-rating", "title"), ("publisher__name", "-pk")]
)
def test_mixed_directions_and_nulls_are_paged_for_all_parents(authors, order_by):
    for number, book in enumerate(Book.objects.order_by("title")):
        Book.objects.filter(pk=book.pk).update(
            rating=[None, 1, 2][number % 3], publisher=book.publisher if number % 4 else None
        )
    made, plain = (schema(order_by=order_by, optimized=optimized) for optimized in (True, False))
    rows, cursors = [], {}

    for _ in range(4):
        for end, cursor in (("first", "after"), ("last", "before")):
            variables = {end: 2, cursor: cursors.get(end)}
            data, errors, asked = ask(PAGE, of=made, **variables)
            assert errors == []
            assert len(asked) <= 4
            assert data == ask(PAGE, of=plain, executor=None, **variables)[0]
            info = data["authors"][5]["books"]["pageInfo"]
            cursors[end] = info["endCursor" if end == "first" else "startCursor"]
            if end == "first":
                rows += [edge["node"]["title"] for edge in data["authors"][5]["books"]["edges"]]

    # The cursors of the author who has most lead through all five; then the list is empty.
    assert sorted(rows[:5]) == [f"B5.{number}" for number in range(5)]


def test_orders_are_declared_for_the_check_of_indexes(monkeypatch):
    monkeypatch.setattr(declarations, "_declared", {})

    schema(equality=("price",))

    found = {(declared.model, declared.order_by, declared.equality) for declared in declared_orders()}
    assert found == {
        (Book, ("-pages",), ("author_id", "price")),
        (Book, ("title",), ("author_id",)),
        (Book, None, ("publisher_id",)),
        (Note, ("text",), ("content_type", "object_id")),
        # With a resolver: who knows what it filters by.
        (Book, ("title",), ()),
    }


def test_middleware_leaves_the_pages_together(authors):
    seen = []

    def middleware(resolve, root, info, **arguments):
        seen.append(info.field_name)
        return resolve(root, info, **arguments)

    with CaptureQueriesContext(connection) as captured:
        result = SCHEMA.execute(
            "{ authors { books(first: 1) { nodes { title } } } }",
            context_value={},
            **executed_by(DboptExecutionContext),
            middleware=[middleware],
        )

    assert result.errors is None
    assert seen.count("books") == 6
    assert len(captured) == 2


def test_request_leaves_nothing_for_the_garbage_collector(authors):
    text = "{ authors { books(first: 1) { totalCount edges { cursor node { title } } pageInfo { hasPreviousPage } } } }"
    ask(text)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ask(text)
        gc.collect()
        left = {type(thing).__qualname__ for thing in gc.garbage if type(thing).__module__.startswith("dbopt.")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == set()


def test_writes_of_a_mutation_are_seen_by_the_pages_behind_them(authors):
    class Delete(graphene.Mutation):
        author = graphene.Field(SCHEMA.graphql_schema.type_map["Author"].graphene_type)

        def mutate(self, info):
            Book.objects.filter(author=authors[5]).first().delete()
            return {"author": authors[5]}

    class Mutations(graphene.ObjectType):
        delete = Delete.Field()

    made = optimize(graphene.Schema(query=SCHEMA.query, mutation=Mutations))
    text = "delete { author { books { totalCount } } }"

    data, errors, _ = ask(f"mutation {{ one: {text} two: {text} }}", of=made)

    assert errors == []
    assert [data[name]["author"]["books"]["totalCount"] for name in ("one", "two")] == [4, 3]


def test_filter_that_is_no_argument_is_a_mistake_of_the_schema():
    with pytest.raises(
        ConfigurationError, match=r"The filter 'kind' is no argument of the connection. Declare it: kind="
    ):
        KeysetConnectionField(graphene.ObjectType, filters=("kind",))


@pytest.mark.parametrize("relation", ["nothing", "author"])
def test_relation_that_does_not_exist_is_a_mistake_of_the_schema(relation):
    registry = Registry()
    meta = type("Meta", (), {"model": Tag, "fields": ["slug"], "registry": registry})
    tag = type("TagNode", (DjangoObjectType,), {"Meta": meta})
    meta = type("Meta", (), {"model": Book, "fields": ["title"], "registry": registry})
    book = type("BookNode", (DjangoObjectType,), {"Meta": meta, "x": KeysetConnectionField(tag, relation=relation)})

    class Query(graphene.ObjectType):
        books = graphene.List(book)

    with pytest.raises(ConfigurationError, match=f"Book has no to-many relation '{relation}' to Tag."):
        optimize(graphene.Schema(query=Query))


def test_relation_and_a_resolver_are_one_too_many():
    class Query(graphene.ObjectType):
        books = KeysetConnectionField(
            SCHEMA.graphql_schema.type_map["Book"].graphene_type, relation="books", resolver=lambda root, info: []
        )

    with pytest.raises((ConfigurationError, TypeError), match="has the relation 'books' and a resolver"):
        graphene.Schema(query=Query)
