"""What the source of a schema shows: found faults, and look-alikes about which nothing is said."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import graphene
import psycopg
import pytest
from django.db import connection, connections
from django.shortcuts import get_object_or_404
from graphene import relay
from graphene_django import DjangoConnectionField, DjangoListField, DjangoObjectType
from graphene_django.registry import Registry

from dbopt.cache import invalidate, writes
from dbopt.conf import GraphQLSettings
from dbopt.graphql import DataLoader, KeysetConnectionField, RelatedLoader, batch, optimize
from dbopt.graphql.audit.findings import audit
from dbopt.neo4j import graph
from tests.testapp.models import Author, Book, Note, Publisher, Tag

REGISTRY = Registry()


class Names(DataLoader):
    def batch_load(self, keys):
        return Author.objects.in_bulk(keys)


class Books(RelatedLoader):
    relation = Author.books


def count_books(author):
    return Book.objects.filter(author=author).count()


def indirectly(author):
    return count_books(author)


class TagNode(DjangoObjectType):
    class Meta:
        model = Tag
        fields = ("id", "slug")
        registry = REGISTRY


class BookNode(DjangoObjectType):
    author_name = graphene.String()
    editor_id = graphene.ID()
    pages_of = graphene.Int()

    class Meta:
        model = Book
        fields = ("id", "title", "author")
        interfaces = (relay.Node,)
        registry = REGISTRY

    def resolve_author_name(self, info):
        return self.author.name

    def resolve_editor_id(self, info):
        return self.editor_id

    def resolve_pages_of(self, info):
        return self.data.get("pages")


class Shelf(graphene.ObjectType):
    """One an author, so as many as authors."""

    size = graphene.Int()

    def resolve_size(self, info):
        return Book.objects.count()


class AuthorNode(DjangoObjectType):
    shelf = graphene.Field(Shelf)
    related = graphene.Int()
    managed = graphene.Int()
    helped = graphene.Int()
    shortcut = graphene.Field(BookNode)
    raw = graphene.Int()
    arrow = graphene.Int(resolver=lambda author, info: author.books.count())
    loaded = graphene.List(BookNode)
    batched = graphene.Int()
    batched_in_vain = graphene.Int()
    plain = graphene.String()
    allowed = graphene.Int()
    unreasoned = graphene.Int()
    pages = DjangoConnectionField(BookNode)

    class Meta:
        model = Author
        fields = ("id", "name")
        registry = REGISTRY

    def resolve_related(self, info):
        return self.books.count()

    def resolve_managed(self, info):
        return Book.objects.filter(author=self).count()

    def resolve_helped(self, info):
        return indirectly(self)

    def resolve_shortcut(self, info):
        return get_object_or_404(Book, author=self)

    def resolve_raw(self, info):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM testapp_book WHERE author_id = %s", [self.pk])
            return cursor.fetchone()[0]

    def resolve_loaded(self, info):
        return Books(info.context).load(self.pk)

    @batch
    def resolve_batched(parents, info):  # noqa: N805
        found = dict(Book.objects.values_list("author", "pages"))
        return [found.get(parent.pk) for parent in parents]

    @batch
    def resolve_batched_in_vain(parents, info):  # noqa: N805
        return [Book.objects.filter(author=parent).count() for parent in parents]

    def resolve_plain(self, info):
        return self.name.upper().strip().replace("A", "objects")

    # dbopt: allow W504 the list prefetches books
    def resolve_allowed(self, info):
        return len(self.books.all())

    def resolve_unreasoned(self, info):
        return len(self.books.all())  # dbopt: allow W504


class NoteNode(DjangoObjectType):
    about = graphene.String()

    class Meta:
        model = Note
        fields = ("id", "text")
        registry = REGISTRY

    def resolve_about(self, info):
        return str(self.subject)


class PublisherNode(DjangoObjectType):
    """Only ever one."""

    size = graphene.Int()

    class Meta:
        model = Publisher
        fields = ("id", "name")
        registry = REGISTRY

    def resolve_size(self, info):
        return self.book_set.count()


class Query(graphene.ObjectType):
    all_authors = graphene.List(AuthorNode)
    some_authors = graphene.List(AuthorNode, limit=graphene.Int())
    ten_authors = graphene.List(AuthorNode, first=graphene.Int(default_value=10))
    chosen_authors = graphene.List(AuthorNode, first=graphene.Int(required=True))
    tags = DjangoListField(TagNode)
    books = DjangoConnectionField(BookNode)
    open_books = DjangoConnectionField(BookNode, max_limit=None)
    notes = KeysetConnectionField(NoteNode, order_by="id")
    paged = KeysetConnectionField(AuthorNode, order_by="id")
    publisher = graphene.Field(PublisherNode)
    words = graphene.List(graphene.String)
    loop = graphene.Int()
    while_loop = graphene.Int()
    comprehension = graphene.Int()
    helper_loop = graphene.Int()
    waiting = graphene.Int()
    once = graphene.Int()
    saving = graphene.Int()

    def resolve_loop(self, info):
        total = 0
        for name in ["a", "b"]:
            total += Book.objects.filter(title=name).count()
        return total

    def resolve_while_loop(self, info):
        while Book.objects.exists():
            pass

    def resolve_comprehension(self, info):
        return sum(Author.objects.get(pk=pk).pk for pk in [1, 2])

    def resolve_helper_loop(self, info):
        return sum(indirectly(author) for author in Author.objects.all())

    def resolve_waiting(self, info):
        return len([Names(info.context).load(pk).get() for pk in [1, 2]])

    def resolve_saving(self, info):
        for author in self.authors:
            author.save(update_fields=["name"])

    def resolve_once(self, info):
        for name in ["a", "b"]:
            self.storage.delete(name)
        return sum(len(book.title) for book in Book.objects.all() if book.data.get("x"))


def mutation(function):
    attributes = {"ok": graphene.Boolean(), "mutate": function, "__module__": __name__}
    return type(function.__name__.title().replace("_", ""), (graphene.Mutation,), attributes)


def orm(root, info):
    Book.objects.update(title="x")
    {"a": 1}.copy()
    copy.copy([1])


def copies(root, info):
    with connection.cursor() as cursor, cursor.copy("COPY testapp_tag FROM STDIN"):
        pass


def raw_connection(root, info):
    connection.connection.execute("UPDATE testapp_book SET title = 'x'")


def raw_cursor(root, info):
    with connections["default"].cursor() as cursor:
        cursor.cursor.execute("UPDATE testapp_book SET title = 'x'")


def client(root, info):
    with psycopg.connect("") as own:
        own.execute("UPDATE testapp_book SET title = 'x'")


def procedure(root, info):
    with connection.cursor() as cursor:
        cursor.callproc("touch_book", [1])


def call(root, info):
    with connection.cursor() as cursor:
        cursor.execute("CALL touch_book(%s)", [1])


def session(root, info):
    with graph.session("w") as own:
        own.run("CREATE (:Book)")


def reading_session(root, info):
    with graph.session("r") as own:
        own.run("MATCH (n) RETURN n")


def declared_by_writes(root, info):
    with writes(Book):
        connection.connection.execute("UPDATE testapp_book SET title = 'x'")


def declared_by_invalidate(root, info):
    raw_connection(root, info)
    invalidate(Book)


def by_a_helper(root, info):
    raw_connection(root, info)


# dbopt: allow W503 nothing that is cached reads this table
def allowed(root, info):
    connection.connection.execute("UPDATE testapp_book SET title = 'x'")


class Relayed(relay.ClientIDMutation):
    ok = graphene.Boolean()

    @classmethod
    def mutate_and_get_payload(cls, root, info, **_):
        cls.save()

    @classmethod
    def save(cls):
        connection.connection.execute("UPDATE testapp_book SET title = 'x'")


FUNCTIONS = (
    orm, copies, raw_connection, raw_cursor, client, procedure, call, session, reading_session, declared_by_writes,
    declared_by_invalidate, by_a_helper, allowed,
)  # fmt: skip
Mutation = type(
    "Mutation",
    (graphene.ObjectType,),
    {**{function.__name__: mutation(function).Field() for function in FUNCTIONS}, "relayed": Relayed.Field()},
)
SCHEMA = graphene.Schema(query=Query, mutation=Mutation)


def found(code, schema=SCHEMA, *, declared=(), **options):
    messages = audit(schema.graphql_schema, GraphQLSettings(**options), declared=declared)
    return {message.obj: message.msg for message in messages if message.id == f"dbopt.{code}"}


def test_lists_without_a_limit():
    assert found("W501") == {
        "Query.allAuthors": "Query.allAuthors gives all rows.",
        "Query.someAuthors": "Query.someAuthors gives all rows: limit may be left out.",
        "Query.tags": "Query.tags gives all rows.",
        "Query.openBooks": "Query.openBooks gives all rows: first and last may be left out.",
        "AuthorNode.loaded": "AuthorNode.loaded gives all rows.",
    }


def test_bounds_and_exceptions_of_the_settings():
    assert found("W501", require_pagination=True) == {}
    assert set(found("W501", max_list_size=100)) == {"Query.openBooks"}
    assert "Query.tags" not in found("W501", list_sizes={"Query.tags": 5})
    assert "Query.tags" not in found("W501", check_exceptions={"Query.tags": "there are five"})


def test_settings_that_name_nothing():
    options = {
        "list_sizes": {"Query.tags": 5, "Query.words": 5},
        "check_exceptions": {"Query.nope": "x", "Query.tags": "x"},
    }

    assert found("W502", **options) == {
        "Query.words": 'DBOPT["GRAPHQL"]["LIST_SIZES"] names Query.words, which is no list of rows.',
        "Query.nope": 'DBOPT["GRAPHQL"]["CHECK_EXCEPTIONS"] names Query.nope, which is no field.',
    }


def test_resolvers_that_ask_for_each_row_of_a_list():
    shown = {
        coordinate: re.findall(r"(?:: |, )(\S.*?) \(tests/graphql/test_audit\.py:\d+\)", message)
        for coordinate, message in found("W504").items()
    }

    assert shown == {
        "BookNode.authorName": ["self.author"],
        "Shelf.size": ["Book.objects"],
        "NoteNode.about": ["self.subject"],
        "AuthorNode.related": ["self.books"],
        "AuthorNode.managed": ["Book.objects"],
        "AuthorNode.helped": ["Book.objects"],
        "AuthorNode.shortcut": ["get_object_or_404(Book, author=self)"],
        "AuthorNode.raw": ["connection.cursor()"],
        "AuthorNode.arrow": ["author.books"],
        "AuthorNode.unreasoned": ["self.books"],
        "AuthorNode.pages": [],
    }


def test_message_shows_what_asks_and_where():
    (line,) = re.findall(r"tests/graphql/test_audit\.py:(\d+)", found("W504")["AuthorNode.helped"])
    lines = Path(__file__).read_text().splitlines()
    assert lines[int(line) - 1] == "    return Book.objects.filter(author=author).count()"
    assert found("W504")["AuthorNode.related"].startswith(
        "AuthorNode.related asks for each AuthorNode of a list: self.books (tests/graphql/test_audit.py:"
    )
    assert found("W504")["AuthorNode.pages"] == (
        "AuthorNode.pages asks for a page, and counts, for each AuthorNode of a list."
    )


def test_resolvers_that_ask_in_a_loop():
    messages = found("W505")

    assert set(messages) == {
        "Query.loop", "Query.whileLoop", "Query.comprehension", "Query.helperLoop", "Query.waiting", "Query.saving", "AuthorNode.batchedInVain",
    }  # fmt: skip
    assert messages["Query.waiting"].startswith(
        "Query.waiting asks in a loop: Names(info.context).load(pk).get() (tests/graphql/test_audit.py:"
    )
    assert messages["Query.helperLoop"].startswith("Query.helperLoop asks in a loop: indirectly() (")


def test_mutations_that_write_unseen():
    messages = found("W503")

    assert set(messages) == {
        f"Mutation.{name}"
        for name in ("rawConnection", "rawCursor", "client", "procedure", "call", "session", "byAHelper", "relayed")
    }
    assert messages["Mutation.rawConnection"].startswith(
        "Mutation.rawConnection writes what no observer sees, as it seems: connection.connection, the driver itself ("
    )
    assert "cursor.cursor, the driver itself" in messages["Mutation.rawCursor"]
    assert "psycopg.connect of psycopg" in messages["Mutation.client"]
    assert "what the database's function 'touch_book' writes" in messages["Mutation.procedure"]
    assert "what CALL writes" in messages["Mutation.call"]
    assert "graph.session('w'), a session of the driver's own" in messages["Mutation.session"]


def test_functions_whose_writes_are_declared_are_seen():
    assert {"Mutation.procedure", "Mutation.call"}.isdisjoint(found("W503", declared={"touch_book"}))


def test_optimised_schema_has_loaders_and_is_read_alike():
    schema = graphene.Schema(query=Query, mutation=Mutation)
    before = found("W504", schema)

    assert found("W508", schema) == {
        "BookNode.author": "BookNode.author asks for each row of a list: no loader stands behind."
    }
    open_lists = found("W501", schema)
    assert found("W508", optimize(schema)) == {}
    assert found("W504", schema) == before
    assert found("W501", schema) == open_lists


def test_connection_over_a_relation_is_open_only_without_a_limit_and_optimised_has_a_loader():
    registry_of = Registry()

    class Titles(DjangoObjectType):
        class Meta:
            model = Book
            fields = ("title",)
            interfaces = (relay.Node,)
            registry = registry_of

    class Writer(DjangoObjectType):
        books = DjangoConnectionField(Titles)

        class Meta:
            model = Author
            fields = ("id",)
            registry = registry_of

    class Root(graphene.ObjectType):
        writers = KeysetConnectionField(Writer, order_by="id")

    schema = graphene.Schema(query=Root)
    assert (set(found("W501", schema)), set(found("W504", schema))) == (set(), {"Writer.books"})
    optimize(schema)
    assert (set(found("W501", schema)), set(found("W504", schema))) == (set(), set())


def test_resolvers_of_keyset_connections_are_read():
    class Root(graphene.ObjectType):
        authors = KeysetConnectionField(AuthorNode, order_by="id")

        def resolve_authors(self, info):
            for name in ["a", "b"]:
                Author.objects.filter(name=name)
            return Author.objects.all()

    assert "Root.authors" in found("W505", graphene.Schema(query=Root))


@pytest.mark.parametrize("code", ["W503", "W504", "W505"])
def test_exception_silences_a_field(code):
    (first, *_) = found(code)

    assert first not in found(code, check_exceptions={first: "known"})
