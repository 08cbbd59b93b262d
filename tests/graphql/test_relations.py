"""`optimize`: the answers of stock graphene-django, with a constant number of statements."""

from __future__ import annotations

import gc
from itertools import pairwise

import graphene
import pytest
from django.db import connection
from django.db.models import Count, F, Manager, Prefetch
from django.db.models.functions import Left
from django.test.utils import CaptureQueriesContext
from graphene_django import DjangoListField, DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import DboptExecutionContext, GraphQLView, ModelLoader, optimize
from dbopt.graphql.execution.core_versions import executed_by
from tests.graphql.running import messages
from tests.testapp.models import Author, Book, Cafe, Note, Place, Profile, Publisher, Shop, Stock, Tag

pytestmark = pytest.mark.django_db

EVERYTHING = """{
    authors {
        id name
        profile { id biography author { id } }
        books { id title author { name } editor { name } publisher { name } tags { slug books { title } } }
        edited { title }
        friends { name friends { name } }
    }
}"""


def build(**parts):
    """Make a schema over the bookshop; parts are methods for a type: ``Book_get_queryset=...``."""
    registry = Registry()

    def node(model, **attributes):
        meta = type("Meta", (), {"model": model, "fields": "__all__", "registry": registry})
        own = {key.partition("_")[2]: value for key, value in parts.items() if key.partition("_")[0] == model.__name__}
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta, **attributes, **own})

    nodes = {model.__name__: node(model) for model in (Author, Profile, Tag, Book, Publisher, Shop)}
    query = {
        "authors": graphene.List(nodes["Author"]),
        "resolve_authors": lambda root, info: parts.get("authors", Author.objects.order_by("pk")),
        "books": graphene.List(nodes["Book"]),
        "resolve_books": lambda root, info: parts.get("books", Book.objects.order_by("pk")),
        "profiles": graphene.List(nodes["Profile"]),
        "resolve_profiles": lambda root, info: parts.get("profiles", Profile.objects.order_by("pk")),
        "shops": graphene.List(nodes["Shop"]),
        "resolve_shops": lambda root, info: Shop.objects.order_by("pk"),
        "tags": graphene.List(nodes["Tag"]),
        "resolve_tags": lambda root, info: parts.get("tags", Tag.objects.order_by("pk")),
    }
    return graphene.Schema(query=type("Query", (graphene.ObjectType,), query))


def ask(schema, text, **options):
    """Return (result, statements)."""
    with CaptureQueriesContext(connection) as statements:
        result = schema.execute(text, context_value={}, **executed_by(DboptExecutionContext), **options)
    return result, len(statements)


def stock(text, **parts):
    return build(**parts).execute(text, context_value={})


def fill(count):
    """Count authors, each with a profile (but every third), two books, tags and friends."""
    publishers = Publisher.objects.bulk_create([Publisher(name=f"P{number}") for number in range(2)])
    tags = Tag.objects.bulk_create([Tag(slug=f"t{number}") for number in range(3)])
    authors = Author.objects.bulk_create(
        [Author(name=f"A{number}", email=f"a{number}@example.com") for number in range(count)]
    )
    Profile.objects.bulk_create([Profile(author=author) for author in authors if author.pk % 3])
    books = Book.objects.bulk_create(
        [
            Book(
                title=f"B{number}.{part}",
                author=author,
                editor=authors[0] if part else None,
                publisher=publishers[part] if number % 2 else None,
            )
            for number, author in enumerate(authors)
            for part in range(2)
        ]
    )
    through = Book.tags.through
    through.objects.bulk_create(
        [through(book=book, tag=tag) for book in books for tag in tags if (book.pk + tag.pk) % 2]
    )
    for first, second in pairwise(authors):
        first.friends.add(second)
    return authors


def sorted_lists(value):
    """Sort lists of which nothing promises an order."""
    if isinstance(value, dict):
        return {key: sorted_lists(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((sorted_lists(item) for item in value), key=repr)
    return value


def test_answers_are_those_of_stock_graphene_django():
    fill(5)

    result, _ = ask(optimize(build()), EVERYTHING)

    assert result.errors is None
    assert sorted_lists(result.data) == sorted_lists(stock(EVERYTHING).data)


@pytest.mark.parametrize("guarded", [False, True])
def test_nested_relations_cost_a_constant_number_of_statements(guarded):
    def get_queryset(cls, queryset, info):
        return queryset.filter(pk__gt=0)

    hooks = {f"{name}_get_queryset": classmethod(get_queryset) for name in ("Author", "Book", "Tag", "Profile")}
    schema = optimize(build(**(hooks if guarded else {})))
    counts = []
    for total in (1, 10, 100):
        more(total)
        result, count = ask(schema, EVERYTHING)
        assert result.errors is None
        assert len(result.data["authors"]) == total
        counts.append(count)

    # authors; profile; books; edited; friends in pairs and rows; then below: authors of profiles, books and friends...
    assert counts[1] == counts[2]
    assert counts[2] <= 15
    assert counts[0] <= counts[1]


def more(total):
    """Add authors with books to what `fill` made."""
    have = Author.objects.count() or len(fill(1))
    tag = Tag.objects.first()
    authors = Author.objects.bulk_create(
        [Author(name=f"A{number}", email=f"a{number}@example.com") for number in range(have, total)]
    )
    previous = Author.objects.first()
    for author in authors:
        Profile.objects.create(author=author)
        book = Book.objects.create(
            title=f"B{author.pk}", author=author, editor=previous, publisher=Publisher.objects.first()
        )
        book.tags.add(tag)
        author.friends.add(previous)


def test_two_foreign_keys_to_one_type_share_a_loader():
    fill(3)

    result, statements = ask(optimize(build()), "{ books { author { name } editor { name } } }")

    assert result.errors is None
    assert statements == 2


def test_null_foreign_key_costs_nothing():
    author = Author.objects.create(name="A", email="a@example.com")
    Book.objects.create(title="B", author=author)

    result, statements = ask(optimize(build()), "{ books { editor { name } publisher { name } } }")

    assert result.data == {"books": [{"editor": None, "publisher": None}]}
    assert statements == 1


def test_missing_one_to_one_is_null_both_ways():
    first, second = fill(3)[1:]
    Profile.objects.all().delete()
    Profile.objects.create(author=first, biography="long")

    result, statements = ask(optimize(build()), "{ authors { name profile { biography author { name } } } }")

    assert result.data["authors"][1:] == [
        {"name": first.name, "profile": {"biography": "long", "author": {"name": first.name}}},
        {"name": second.name, "profile": None},
    ]
    assert statements == 3


def test_foreign_key_to_another_column_and_other_kinds_of_keys():
    author = Author.objects.create(name="A", email="a@example.com")
    book = Book.objects.create(title="B", author=author)
    Shop.objects.create(code="one", bestseller=book)
    Shop.objects.create(code="two", bestseller=None)
    text = "{ shops { code bestseller { key title shopSet { code bestseller { title } } } } }"

    result, statements = ask(optimize(build()), text)

    assert result.errors is None
    assert result.data == stock(text).data
    assert result.data["shops"][0]["bestseller"]["shopSet"] == [{"code": "one", "bestseller": {"title": "B"}}]
    assert statements == 3


def test_duplicate_pairs_of_a_many_to_many_relation_give_rows_twice():
    through = Book.tags.through
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'u' AND conrelid = %s::regclass",
            [through._meta.db_table],
        )
        (name,) = cursor.fetchone()
        cursor.execute(f'ALTER TABLE {through._meta.db_table} DROP CONSTRAINT "{name}"')
    author = Author.objects.create(name="A", email="a@example.com")
    book = Book.objects.create(title="B", author=author)
    tag = Tag.objects.create(slug="t")
    book.tags.add(tag)
    through.objects.create(book=book, tag=tag)

    text = "{ books { tags { slug books { title } } } }"
    result, _ = ask(optimize(build()), text)

    assert result.data == stock(text).data
    assert [item["slug"] for item in result.data["books"][0]["tags"]] == ["t", "t"]


def test_self_relation_reads_both_directions():
    fill(3)

    result, statements = ask(optimize(build()), "{ authors { name friends { name } } }")

    found = {row["name"]: sorted(friend["name"] for friend in row["friends"]) for row in result.data["authors"]}
    assert found == {"A0": ["A1"], "A1": ["A0", "A2"], "A2": ["A1"]}
    assert statements == 3


def test_prefetched_and_selected_relations_win():
    fill(3)
    books = Book.objects.select_related("author").prefetch_related(
        "tags", Prefetch("tags__books", Book.objects.filter(title="B0.0"))
    )

    result, statements = ask(optimize(build(books=books)), "{ books { author { name } tags { books { title } } } }")

    assert {book["title"] for row in result.data["books"] for tag in row["tags"] for book in tag["books"]} <= {"B0.0"}
    assert statements == 3


def test_prefetched_reverse_foreign_key_and_one_to_one_win():
    fill(3)
    authors = Author.objects.select_related("profile").prefetch_related("books")

    result, statements = ask(optimize(build(authors=authors)), "{ authors { profile { id } books { title } } }")

    assert result.errors is None
    assert statements == 2


def test_some_parents_with_loaded_relations_and_some_without():
    fill(3)
    books = [Book.objects.select_related("author").first(), *Book.objects.all()[1:]]

    result, statements = ask(optimize(build(books=books)), "{ books { author { name } } }")

    assert [row["author"]["name"] for row in result.data["books"]] == [book.author.name for book in books]
    assert statements == 1


def test_permissions_are_asked_even_where_a_relation_is_loaded_already():
    fill(3)

    def get_queryset(cls, queryset, info):
        return queryset.filter(name="A1")

    books = Book.objects.select_related("author", "editor").order_by("pk")
    schema = optimize(build(books=books, Author_get_queryset=classmethod(get_queryset)))

    result, statements = ask(schema, "{ books { title editor { name } } }")
    assert [row["editor"] for row in result.data["books"]] == [None] * 6
    assert statements == 2

    result, _ = ask(schema, "{ books { title author { name } } }")
    assert [row and row["title"] for row in result.data["books"]] == [None, None, "B1.0", "B1.1", None, None]
    assert messages(result)[0] == (
        "Cannot return null for non-nullable field BookNode.author.",
        ["books", 0, "author"],
    )


def test_hidden_prefetched_rows_stay_hidden():
    fill(3)

    def get_queryset(cls, queryset, info):
        return queryset.filter(title="B1.0")

    authors = Author.objects.prefetch_related("books").order_by("pk")
    schema = optimize(build(authors=authors, Book_get_queryset=classmethod(get_queryset)))

    result, _ = ask(schema, "{ authors { books { title } } }")

    assert result.data == {"authors": [{"books": []}, {"books": [{"title": "B1.0"}]}, {"books": []}]}


@pytest.mark.parametrize(
    "get_queryset",
    [
        lambda rows: rows.order_by("slug"),
        # What a filter, an order or an annotation says of the relation, it says of the parent's own pair.
        lambda rows: rows.filter(books__title="B0.0").order_by("slug"),
        lambda rows: rows.filter(books__pages__gt=0).exclude(books__title="B1.1").order_by("slug"),
        lambda rows: rows.order_by("-books__pages", "slug"),
        lambda rows: rows.annotate(pages=F("books__pages")).filter(pages__gt=1).order_by("slug"),
        lambda rows: rows.annotate(count=Count("books")).filter(count=1).order_by("slug"),
        lambda rows: rows.filter(books__author__name__startswith="A").distinct().order_by("-slug"),
        lambda rows: rows.annotate(kind=Left("slug", 1)).order_by("kind", "-slug").distinct("kind"),
        lambda rows: rows.filter(slug="t0").union(rows.filter(slug="t1")).order_by("slug"),
        lambda rows: Tag.objects.filter(pk__in=rows).order_by("slug"),
        lambda rows: rows.select_related().prefetch_related("books").only("slug").order_by("slug"),
    ],
)
def test_get_queryset_of_a_many_to_many_relation_sees_what_stock_shows_it(get_queryset):
    fill(3)
    for number, book in enumerate(Book.objects.order_by("pk")):
        Book.objects.filter(pk=book.pk).update(pages=number)
    text = "{ books { title tags { slug } } tags { slug books { title } } }"
    hook = {"Tag_get_queryset": classmethod(lambda cls, rows, info: get_queryset(rows))}

    result, statements = ask(optimize(build(**hook)), text)

    assert result.errors is None
    expected = stock(text, **hook).data
    assert sorted_lists(result.data) == sorted_lists(expected)
    assert [book["tags"] for book in result.data["books"]] == [book["tags"] for book in expected["books"]]
    assert statements <= 6


def test_get_queryset_that_starts_anew_is_asked_for_the_rows_of_each_parent():
    fill(3)
    hook = {"Tag_get_queryset": classmethod(lambda cls, rows, info: Tag.objects.exclude(slug="t0"))}
    text = "{ books { tags { slug } } }"

    result, statements = ask(optimize(build(**hook)), text)

    every = stock(text).data["books"]
    assert sorted_lists(result.data) == sorted_lists(
        {"books": [{"tags": [tag for tag in book["tags"] if tag["slug"] != "t0"]} for book in every]}
    )
    assert statements == 3


@pytest.mark.parametrize("relation", ["author { name }", "tags { slug }"])
def test_get_queryset_that_gives_no_queryset_is_an_error_that_says_so(relation):
    fill(1)
    hook = classmethod(lambda cls, rows, info: list(rows))
    schema = optimize(build(Author_get_queryset=hook, Tag_get_queryset=hook))

    result, _ = ask(schema, f"{{ books {{ {relation} }} }}")

    assert "Node.get_queryset must return a queryset, not list" in messages(result)[0][0]


def test_order_of_the_model_may_lead_through_the_relation(monkeypatch):
    fill(3)
    monkeypatch.setattr(Tag._meta, "ordering", ["-books__title", "slug"])
    text = "{ books { title tags { slug } } }"

    result, statements = ask(optimize(build()), text)

    assert result.data == stock(text).data
    assert statements == 2


def test_get_queryset_with_a_slice_is_an_error_of_the_field():
    fill(2)

    def get_queryset(cls, queryset, info):
        return queryset[:1]

    hook = classmethod(get_queryset)
    schema = optimize(build(Publisher_get_queryset=hook, Tag_get_queryset=hook))
    result, _ = ask(schema, "{ books { title publisher { name } } }")

    assert [row["publisher"] for row in result.data["books"]] == [None] * 4
    assert {message for message, _ in messages(result)} == {"Cannot filter a query once a slice has been taken."}

    result, _ = ask(schema, "{ books { tags { slug } } }")

    assert result.data == {"books": [None] * 4}
    assert {message for message, _ in messages(result)} == {"Cannot filter a query once a slice has been taken."}


def test_get_queryset_sees_the_info_of_the_operation():
    fill(1)
    seen = []

    def get_queryset(cls, queryset, info):
        seen.append(info.context["user"])
        return queryset

    schema = optimize(build(Author_get_queryset=classmethod(get_queryset)))
    schema.execute("{ books { author { name } } }", context_value={"user": "Ann"}, **executed_by(DboptExecutionContext))

    assert seen == ["Ann"]


def test_unsaved_parents_answer_as_stock_does():
    unsaved = [Book(title="new", author=Author(name="not saved"))]
    text = "{ books { title author { name } editor { name } tags { slug } } }"

    result, statements = ask(optimize(build(books=unsaved)), text)
    expected = stock(text, books=unsaved)

    assert result.data == expected.data
    assert messages(result) == messages(expected)
    assert statements == 0


def test_parents_that_no_database_knows_may_stand_among_others():
    fill(2)
    for books in ([Book(title="new"), Book(title="newer")], [Book(title="new"), *Book.objects.order_by("pk")]):
        text = "{ books { title author { name } editor { name } publisher { name } } }"

        result, _ = ask(optimize(build(books=books)), text)
        expected = stock(text, books=books)

        assert result.data == expected.data
        assert messages(result) == messages(expected)


def test_own_resolvers_arguments_and_get_node_are_left_alone():
    fill(1)

    schema = build(
        Author_resolve_friends=lambda root, info: [],
        Author_get_queryset=classmethod(lambda cls, queryset, info: queryset),
        Author_get_node=classmethod(lambda cls, info, pk: Author(pk=pk, name="from get_node")),
    )
    optimize(schema)

    result, _ = ask(schema, "{ authors { friends { name } } books { author { name } } }")

    assert result.data["authors"] == [{"friends": []}]
    assert result.data["books"][0] == {"author": {"name": "from get_node"}}


def test_each_value_that_is_no_row_is_an_error_of_its_own():
    values = [{"name": "A"}, {"name": "B"}]

    result, _ = ask(optimize(build(authors=values)), "{ authors { name } }")

    assert messages(result) == messages(stock("{ authors { name } }", authors=values))
    assert [message for message, _ in messages(result)] == [f'Received incompatible instance "{v}".' for v in values]


def test_list_field_with_a_resolver_of_its_own_keeps_it():
    registry = Registry()
    meta = type("Meta", (), {"model": Tag, "fields": ["slug"], "registry": registry})
    tag_node = type("TagNode", (DjangoObjectType,), {"Meta": meta})
    meta = type("Meta", (), {"model": Book, "fields": ["title"], "registry": registry})
    fields = {"tags": DjangoListField(tag_node, resolver=lambda root, info: Tag.objects.none())}
    book_node = type("BookNode", (DjangoObjectType,), {"Meta": meta, **fields})
    query = {"books": graphene.List(book_node), "resolve_books": lambda root, info: Book.objects.all()}
    schema = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query)))
    fill(1)

    result, _ = ask(schema, "{ books { tags { slug } } }")

    assert result.data == {"books": [{"tags": []}, {"tags": []}]}


def test_second_optimize_changes_nothing():
    schema = build()
    assert optimize(schema) is schema
    field = schema.graphql_schema.type_map["BookNode"].fields["author"]
    resolver = field.resolve

    optimize(schema)

    assert field.resolve is resolver


def test_optimized_schema_works_under_graphql_core_where_nothing_is_related():
    Tag.objects.create(slug="t")

    assert optimize(build()).execute("{ tags { slug } }", context_value={}).data == {"tags": [{"slug": "t"}]}


def test_ten_thousand_keys_are_loaded_in_chunks(batches):
    author = Author.objects.create(name="A", email="a@example.com")
    tag = Tag.objects.create(slug="t")
    books = Book.objects.bulk_create([Book(title="B", author=author) for _ in range(10_000)])
    through = Book.tags.through
    through.objects.bulk_create([through(book=book, tag=tag) for book in books])

    result, statements = ask(optimize(build()), "{ books { tags { slug } } }")

    assert len(result.data["books"]) == 10_000
    assert {len(row["tags"]) for row in result.data["books"]} == {1}
    assert batches == [("ToManyLoader", 1000)] * 10
    assert statements == 21


def test_multi_table_children_and_proxies_are_followed():
    registry = Registry()

    def node(model, **attributes):
        meta = type("Meta", (), {"model": model, "fields": "__all__", "registry": registry})
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta, **attributes})

    node(Place)
    cafes = graphene.List(node(Cafe))
    query = {"cafes": cafes, "resolve_cafes": lambda root, info: Cafe.objects.order_by("pk")}
    schema = graphene.Schema(query=type("Query", (graphene.ObjectType,), query))
    for number in range(3):
        Cafe.objects.create(name=f"C{number}", seats=number)
    text = "{ cafes { name seats placePtr { name cafe { seats name } } } }"

    expected = schema.execute(text, context_value={})
    result, statements = ask(optimize(schema), text)

    assert result.errors is None
    assert result.data == expected.data
    assert statements == 3


def test_two_types_of_one_model_read_and_permit_apart():
    registry = Registry()
    tag_fields = ["slug"]

    def node(name, model, fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry, "name": name})
        return type(name, (DjangoObjectType,), {"Meta": meta, **attributes})

    hidden = node("Hidden", Tag, tag_fields, get_queryset=classmethod(lambda cls, rows, info: rows.none()))
    shown = node("Shown", Tag, tag_fields)
    one = node("One", Book, ["title"], tags=DjangoListField(hidden))
    two = node("Two", Book, ["pages"], tags=DjangoListField(shown))
    query = {"ones": graphene.List(one), "twos": graphene.List(two)}
    query |= {f"resolve_{name}": lambda root, info: Book.objects.order_by("pk") for name in ("ones", "twos")}
    schema = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), query)))
    author = Author.objects.create(name="A", email="a@example.com")
    Book.objects.create(title="B", author=author, pages=3).tags.add(Tag.objects.create(slug="t"))

    result, statements = ask(schema, "{ ones { title tags { slug } } twos { pages tags { slug } } }")

    assert result.errors is None
    assert result.data == {"ones": [{"title": "B", "tags": []}], "twos": [{"pages": 3, "tags": [{"slug": "t"}]}]}
    # Books twice, pairs and shown tags; none() asks for nothing.
    assert statements == 4


def test_keys_of_two_columns():
    Stock.objects.create(shop_code="one", title="A", copies=3)
    Stock.objects.create(shop_code="one", title="B", copies=4)

    class StockLoader(ModelLoader):
        model = Stock

    found = StockLoader().batch_load([("one", "B"), ("two", "A")])

    assert {key: row.copies for key, row in found.items()} == {("one", "B"): 4}


def test_select_related_with_only_that_leaves_the_key_out_is_djangos_error_of_the_field():
    fill(1)
    books = Book.objects.select_related("author").only("title")

    result, _ = ask(optimize(build(books=books)), "{ books { title author { name } } }")

    assert result.data == {"books": None}
    assert "cannot be both deferred and traversed using select_related" in messages(result)[0][0]


def test_get_queryset_that_joins_gives_a_row_once_a_key():
    fill(2)
    joins = classmethod(lambda cls, rows, info: rows.filter(books__title__startswith="B"))
    schema = optimize(build(Author_get_queryset=joins))

    result, statements = ask(schema, "{ books { author { name } } }")

    assert [row["author"]["name"] for row in result.data["books"]] == ["A0", "A0", "A1", "A1"]
    assert statements == 2


def test_request_leaves_nothing_for_the_garbage_collector(rf, settings):
    settings.DBOPT = {"GRAPHQL": {"MAX_COST": 10**9}}
    fill(5)
    view = GraphQLView.as_view(schema=optimize(build()))

    def ask_view():
        response = view(rf.post("/graphql", {"query": EVERYTHING}, content_type="application/json"))
        assert response.status_code == 200

    ask_view()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ask_view()
        gc.collect()
        left = [
            type(thing).__qualname__ for thing in gc.garbage if type(thing).__module__.startswith(("dbopt.", "tests."))
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []


def test_undeclared_generic_relations_are_left_alone():
    assert "notes" not in build().graphql_schema.type_map["AuthorNode"].fields
    assert Note._meta.get_field("subject").related_model is None


def test_single_rows_come_from_objects_as_in_stock_whatever_the_default_manager_hides(monkeypatch):
    class Hiding(Manager):
        def get_queryset(self):
            return super().get_queryset().none()

    hiding = Hiding()
    hiding.model = Publisher
    monkeypatch.setattr(Publisher._meta, "default_manager", hiding)
    fill(2)
    text = "{ books { title publisher { name } } }"
    hook = {"Publisher_get_queryset": classmethod(lambda cls, rows, info: rows.exclude(name="P1"))}

    result, statements = ask(optimize(build(**hook)), text)

    assert result.data == stock(text, **hook).data
    assert [book["publisher"] for book in result.data["books"]] == [None, None, {"name": "P0"}, None]
    assert statements == 2


def declared_by_hand(field, list_field=DjangoListField, **of_author):
    """Make a schema of books whose author, and whose tags, are declared by hand."""
    registry = Registry()

    def node(model, fields, **attributes):
        meta = type("Meta", (), {"model": model, "fields": fields, "registry": registry})
        return type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta, **attributes})

    author, tag = node(Author, ["name"], **of_author), node(Tag, ["slug"])
    book = node(Book, ["title"], author=field(author), editor=graphene.NonNull(author), tags=list_field(tag))
    query = {"books": graphene.List(book), "resolve_books": lambda root, info: Book.objects.order_by("pk")}
    return graphene.Schema(query=type("Query", (graphene.ObjectType,), query))


def test_fields_declared_by_hand_are_loaded_and_ask_get_queryset():
    fill(3)
    Book.objects.filter(editor=None).update(editor=Author.objects.first())
    text = "{ books { title author { name } editor { name } tags { slug } } }"

    result, statements = ask(optimize(declared_by_hand(graphene.Field)), text)

    expected = declared_by_hand(graphene.Field).execute(text)
    assert result.errors is expected.errors is None
    assert sorted_lists(result.data) == sorted_lists(expected.data)
    assert statements == 4

    hook = classmethod(lambda cls, rows, info: rows.exclude(name="A1"))
    result, _ = ask(
        optimize(declared_by_hand(graphene.Field, get_queryset=hook)), "{ books { title author { name } } }"
    )

    assert [book["author"] and book["author"]["name"] for book in result.data["books"]] == [
        "A0", "A0", None, None, "A2", "A2",
    ]  # fmt: skip


def test_field_classes_of_the_project_keep_their_ways():
    class Guarded(graphene.Field):
        def wrap_resolve(self, parent_resolver):
            return lambda root, info: None

    class GuardedList(DjangoListField):
        def wrap_resolve(self, parent_resolver):
            return lambda root, info: []

    def other(kind):
        return graphene.Field(kind, source="editor")

    fill(2)
    text = "{ books { author { name } tags { slug } } }"

    result, _ = ask(optimize(declared_by_hand(Guarded, GuardedList)), text)
    assert result.data == {"books": [{"author": None, "tags": []}] * 4}

    result, _ = ask(optimize(declared_by_hand(other)), "{ books { author { name } } }")
    assert result.data["books"] == [{"author": None}, {"author": {"name": "A0"}}] * 2
