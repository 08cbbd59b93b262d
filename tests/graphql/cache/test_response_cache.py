"""Responses that are kept whole: which, under which key, and until when."""

from __future__ import annotations

import json
import logging
import threading

import graphene
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import RequestFactory, override_settings
from django.utils import translation

from dbopt.cache import bypass, counters, invalidate
from dbopt.exceptions import ConfigurationError
from dbopt.graphql import GraphQLView, cache_control
from dbopt.graphql.cache.operations import RESPONSES
from dbopt.graphql.execution.core_versions import ExecutionContext
from tests.graphql.cache.bookshop import CALLS, SCHEMA, VIEW, Query, ask, data, request_of
from tests.testapp.models import Author, Book, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

BOOKS = "{ books { title author { name } } }"


@pytest.fixture
def books(shop_database):
    author = Author.objects.create(name="Ann", email="ann@example.com")
    return [Book.objects.create(title=title, author=author, pages=pages) for title, pages in (("One", 1), ("Two", 2))]


def refusals():
    return dict(counters.counters_of(RESPONSES).refusals)


def test_second_answer_costs_one_round_trip_and_no_statement(books, commands, queries):
    first = ask(BOOKS)

    with commands() as sent, queries() as ran:
        second = ask(BOOKS)

    assert second == first == {"data": {"books": [{"title": t, "author": {"name": "Ann"}} for t in ("One", "Two")]}}
    assert (len(sent), ran, CALLS) == (1, [], ["books"])


def test_answer_that_depends_on_one_row_costs_one_round_trip_too(books, commands, queries):
    query = "query Q($pk: Int!) { book(pk: $pk) { title } }"
    for book in books:
        data(query, {"pk": book.pk})

    for book in books:
        with commands() as sent, queries() as ran:
            assert data(query, {"pk": book.pk}) == {"book": {"title": book.title}}
        assert (len(sent), ran) == (1, [])


def test_new_process_needs_one_round_trip_more_once(books, commands, new_process, queries):
    data(BOOKS)
    new_process()

    with commands() as sent, queries() as ran:
        data(BOOKS)
    assert (len(sent), ran) == (2, [])

    with commands() as sent:
        data(BOOKS)
    assert (len(sent), CALLS) == (1, ["books"])


@pytest.mark.parametrize("write", ["orm", "mutation", "raw", "related", "new"])
def test_write_between_two_hits_shows_at_once(books, write):
    data(BOOKS)
    data(BOOKS)

    if write == "orm":
        Book.objects.filter(pk=books[0].pk).update(title="Uno")
    elif write == "mutation":
        data(f'mutation {{ rename(pk: {books[0].pk}, title: "Uno") {{ ok }} }}')
    elif write == "raw":
        connection.cursor().execute("UPDATE testapp_book SET title = 'Uno' WHERE pages = 1")
    elif write == "related":
        Author.objects.update(name="Bea")
    else:
        Book.objects.create(title="Three", author=books[0].author)

    expected = [(book.title, book.author.name) for book in Book.objects.select_related("author").order_by("pk")]
    assert [(book["title"], book["author"]["name"]) for book in data(BOOKS)["books"]] == expected
    assert CALLS == ["books", "books"]


def test_write_to_another_row_leaves_an_answer_about_one(books):
    query = f"{{ book(pk: {books[0].pk}) {{ title }} }}"
    data(query)

    Book.objects.filter(pk=books[1].pk).update(title="Due")
    assert data(query) == {"book": {"title": "One"}}
    assert CALLS == ["book"]

    Book.objects.filter(pk=books[0].pk).update(title="Uno")
    assert data(query) == {"book": {"title": "Uno"}}


def test_uncommitted_write_is_seen_by_its_writer_and_by_nobody_else(books, threads):
    data(BOOKS)
    with transaction.atomic():
        Book.objects.update(title="Draft")
        assert {book["title"] for book in data(BOOKS)["books"]} == {"Draft"}
        assert {book["title"] for book in threads(data, BOOKS).result(20)["books"]} == {"One", "Two"}
        transaction.set_rollback(True)

    assert {book["title"] for book in data(BOOKS)["books"]} == {"One", "Two"}


@pytest.mark.parametrize("is_written", [True, False])
def test_write_between_read_and_store_is_not_lost(books, threads, is_written):
    """The rows are read, and the resolver waits; what is written then makes its answer wrong before it is stored."""
    has_read, may_go = threading.Event(), threading.Event()

    class Slow(graphene.ObjectType):
        titles = graphene.List(graphene.String)

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_titles(self, info):
            CALLS.append("titles")
            titles = list(Book.objects.order_by("pk").values_list("title", flat=True))
            has_read.set()
            assert may_go.wait(20)
            return titles

    view = GraphQLView.as_view(schema=graphene.Schema(query=Slow))
    slow = threads(ask, "{ titles }", view=view)
    assert has_read.wait(20)
    if is_written:
        Book.objects.filter(pk=books[0].pk).update(title="Uno")
    may_go.set()

    assert slow.result(20) == {"data": {"titles": ["One", "Two"]}}
    assert ask("{ titles }", view=view) == {"data": {"titles": ["Uno" if is_written else "One", "Two"]}}
    # Without the write the first answer would have been served.
    assert len(CALLS) == 1 + is_written


def test_inner_cached_query_adds_what_it_depends_on(shop_database):
    Tag.objects.create(slug="a")
    assert [data("{ tagCount }") for _ in range(2)] == [{"tagCount": 1}] * 2
    ask("{ hello tagCount }")
    ask("{ hello tagCount }")
    assert CALLS == ["tag_count", "hello", "tag_count"]

    Tag.objects.create(slug="b")

    assert data("{ tagCount }") == {"tagCount": 2}
    assert data("{ hello tagCount }") == {"hello": "hello", "tagCount": 2}


def test_loaders_are_observed(books):
    query = f"{{ name(pk: {books[0].author_id}) }}"
    assert [data(query) for _ in range(2)] == [{"name": "Ann"}] * 2

    Author.objects.update(name="Bea")

    assert data(query) == {"name": "Bea"}
    assert CALLS == ["name", "name"]


VARIANTS = [
    ("{ books { title } }", None),
    ("{ list: books { title } }", None),
    ("{ books { name: title } }", None),
    ("{ books { title pages } }", None),
    ("{ books { ...F } } fragment F on BookNode { title }", None),
    ("{ books { ...F } } fragment F on BookNode { pages }", None),
    ("{ books { ... on BookNode { title id } } }", None),
    ("{ books { ...F pages } } fragment F on BookNode { title }", None),
    ("query ($n: Int = 1) { books(first: $n) { title } }", None),
    ("query ($n: Int = 2) { books(first: $n) { title } }", None),
    ("query ($n: Int = 1) { books(first: $n) { title } }", {"n": 2}),
    ("query ($n: Int = 1) { books(first: $n) { title } }", {"n": 1}),
    ("query ($n: Int) { books(first: $n) { title } }", {"n": 0}),
    ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"title": "One"}}),
    ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"title": "Two"}}),
    ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"pages": 2}}),
    ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"title": None, "pages": 3}}),
    ("query ($t: String) { books(where: {title: $t}) { title } }", {"t": "Two"}),
    ("query ($b: Boolean!) { books { title @include(if: $b) pages } }", {"b": True}),
    ("query ($b: Boolean!) { books { title @include(if: $b) pages } }", {"b": False}),
    ("query ($b: Boolean!) { books { title @skip(if: $b) pages } }", {"b": False}),
    ("query ($b: Boolean!) { books { title @skip(if: $b) pages } }", {"b": True}),
    ("{ books(first: 1) { title } more: books { id } }", None),
]


def test_variants_of_a_query_never_get_each_others_answer(books):
    with bypass():
        expected = [data(query, variables) for query, variables in VARIANTS]

    for _ in range(3):
        assert [data(query, variables) for query, variables in VARIANTS] == expected
        assert [data(query, variables) for query, variables in reversed(VARIANTS)] == expected[::-1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("{ books { title } }", None), ("{\n  books {\n    title,\n  }\n} # the same", None)),
        (
            ("query ($n: Int = 1) { books(first: $n) { title } }", None),
            ("query ($n: Int = 1) { books(first: $n) { title } }", {"n": 1, "not": "declared"}),
        ),
        (
            ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"title": "One"}}),
            ("query ($w: Filter) { books(where: $w) { title } }", {"w": {"title": "One", "pages": 0}}),
        ),
    ],
)
def test_same_question_in_other_letters_shares_an_answer(books, first, second):
    assert data(*first) == data(*second)

    assert CALLS == ["books"]


def test_operations_of_one_document_have_answers_of_their_own(books):
    text = "query A { books { ...F } } query B { books(first: 1) { ...F } } fragment F on BookNode { title }"

    def named(name):
        body = json.dumps({"query": text, "operationName": name})
        request = RequestFactory().post("/graphql", body, content_type="application/json")
        return len(json.loads(VIEW(request).content)["data"]["books"])

    assert [named("A"), named("B"), named("A"), named("B")] == [2, 1, 2, 1]
    assert CALLS == ["books", "books"]


def test_include_of_a_field_without_a_word(books):
    query = "query ($b: Boolean!) { hello books { title } unknown @include(if: $b) }"

    assert [data(query, {"b": flag}).keys() for flag in (False, True, False, True)] == [
        {"hello", "books"},
        {"hello", "books", "unknown"},
        {"hello", "books"},
        {"hello", "books", "unknown"},
    ]
    assert CALLS.count("books") == 3


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ books { title } fail }", "errors"),
        ("{ fail }", "errors"),
        ("{ never }", "max_age"),
        ("{ hello }", "no_dependencies"),
    ],
)
def test_what_is_never_stored_and_why(books, query, reason):
    assert ask(query) == ask(query)

    assert refusals() == {reason: 2}


def test_object_field_without_a_word_is_not_stored(books):
    """The type of the rows says nothing, and neither does the field."""
    assert [data("{ books { title } tags { slug } }") for _ in range(2)]
    assert CALLS == ["books", "books"]
    assert refusals() == {}


def test_introspection_is_not_stored(books):
    query = "{ books { title } __schema { queryType { name } } }"

    data(query)
    data(query)

    assert CALLS == ["books", "books"]


def test_typename_is_no_obstacle(books):
    query = "{ __typename books { __typename title } }"

    assert data(query) == data(query)
    assert CALLS == ["books"]


def test_tags_stand_for_what_is_not_read_by_sql(shop_database):
    assert data("{ weather }") == data("{ weather }")
    assert CALLS == ["weather"]

    invalidate("weather")

    assert data("{ weather }") == {"weather": "sunny 2"}


def test_bypass_and_switch(books):
    data(BOOKS)
    with bypass():
        data(BOOKS)
    with override_settings(DBOPT={"GRAPHQL": {"RESPONSE_CACHE": False}}):
        data(BOOKS)
    data(BOOKS)

    assert CALLS == ["books"] * 3


def test_language_has_answers_of_its_own(books):
    for language in ("en", "de", "en", "de"):
        with translation.override(language):
            data(BOOKS)

    assert CALLS == ["books"] * 2


def test_two_schemas_never_share(books):
    class Other(graphene.ObjectType):
        books = graphene.List(graphene.String)

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_books(self, info):
            return [f"other {count}" for count in [Book.objects.count()]]

    view = GraphQLView.as_view(schema=graphene.Schema(query=Other))
    for _ in range(2):
        assert ask("{ books }", view=view) == {"data": {"books": ["other 2"]}}
        assert "errors" in ask("{ books }")


def test_two_schemas_that_look_alike_are_not_cached(books, caplog):
    def schema(answer):
        class Query(graphene.ObjectType):
            answer = graphene.String()

            @cache_control(max_age=60, scope="PUBLIC")
            def resolve_answer(self, info):
                return f"{answer} {Book.objects.count()}"

        return graphene.Schema(query=Query)

    first = GraphQLView.as_view(schema=schema("public"))
    second = GraphQLView.as_view(schema=schema("secret"))

    with caplog.at_level(logging.WARNING):
        answers = [ask("{ answer }", view=view)["data"]["answer"] for view in (first, second, first, second)]

    assert answers == ["public 2", "secret 2"] * 2
    assert [record.getMessage() for record in caplog.records] == [
        "Two schemas of this process look alike, resolvers included: their responses are not cached."
    ]


def test_views_of_one_schema_have_answers_of_their_own(books):
    class Other(GraphQLView):
        pass

    other = Other.as_view(schema=SCHEMA)
    ask(BOOKS)
    ask(BOOKS, view=other)
    ask(BOOKS, view=other)

    assert CALLS == ["books", "books"]


def test_root_value_and_other_context_forbid_storing(books):
    class Rooted(GraphQLView):
        def get_root_value(self, request):
            return {"who": request.GET}

    class Wrapped(GraphQLView):
        def get_context(self, request):
            return {"request": request}

    for kind in (Rooted, Wrapped):
        view = kind.as_view(schema=SCHEMA)
        ask(BOOKS, view=view)
        ask(BOOKS, view=view)

    assert CALLS == ["books"] * 4
    assert refusals() == {"context": 4}


def test_other_executors_are_not_observed_and_not_cached(books):
    view = GraphQLView.as_view(schema=SCHEMA, execution_context_class=ExecutionContext)
    query = "{ books { title } }"

    assert ask(query, view=view) == ask(query, view=view)
    assert refusals() == {"executor": 2}


def test_upload_is_no_variable_to_keep_an_answer_for(books):
    variables = {"w": SimpleUploadedFile("a.txt", b"a")}

    class Uploading(GraphQLView):
        def parse_body(self, request):
            return {"query": "query ($w: Any) { sized(file: $w) }", "variables": variables}

    class Any(graphene.Scalar):
        parse_value = staticmethod(lambda value: value)

    class Query(graphene.ObjectType):
        sized = graphene.Int(file=Any())

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_sized(self, info, file):
            CALLS.append("sized")
            return len(file) + Book.objects.count()

    view = Uploading.as_view(schema=graphene.Schema(query=Query))
    for text, size in ((b"a", 3), (b"bcd", 5)):
        variables["w"] = SimpleUploadedFile("a.txt", text)
        assert ask("", view=view) == {"data": {"sized": size}}


def test_batch_and_pretty_print_get_stored_answers(books):
    query = "{ books { title } }"
    plain = {"data": data(query)}
    body = json.dumps([{"id": n, "query": query} for n in range(2)])
    request = RequestFactory().post("/graphql", body, content_type="application/json")

    batch = json.loads(GraphQLView.as_view(schema=SCHEMA, batch=True)(request).content)
    assert batch == [{**plain, "id": n, "status": 200} for n in range(2)]

    request = request_of(query)
    response = GraphQLView.as_view(schema=SCHEMA, pretty=True)(request)
    assert json.loads(response.content) == plain
    assert response.content.startswith(b'{\n  "data"')
    assert CALLS == ["books"]


def test_statistics_go_with_a_stored_answer(books, settings):
    data(BOOKS)
    settings.DEBUG = True

    answer = ask(BOOKS)

    assert answer["data"]["books"]
    assert answer["extensions"]["dbopt"]["statements"] == 0
    assert CALLS == ["books"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_headers_tell_clients_only_on_get(books, method):
    first, second = (VIEW(request_of(BOOKS, method=method)) for _ in range(2))

    assert first.content == second.content
    expected = ("public, max-age=60", "0") if method == "get" else (None, None)
    for response in (first, second):
        assert (response.get("Cache-Control"), response.get("Age")) == expected


def test_headers_of_what_is_not_for_everybody(books, django_user_model):
    user = django_user_model.objects.create_user("ann")
    headers = [VIEW(request_of("{ who }", user=user, method="get")).get("Cache-Control") for _ in range(2)]
    assert headers == ["private, max-age=300"] * 2

    peeking = '{ peek(at: "cookies") }'
    headers = [VIEW(request_of(peeking, method="get")).get("Cache-Control") for _ in range(3)]
    assert headers == ["private, max-age=60"] * 3

    assert VIEW(request_of("{ unknown }", method="get")).get("Cache-Control") is None
    assert VIEW(request_of("{ fail }", method="get")).get("Cache-Control") is None


def test_shortest_age_of_the_resolved_fields_counts(books, valkey):
    data("{ authors { name } }")
    (key,) = valkey.keys("*:v:*")
    assert 60_000 < valkey.pttl(key) <= 120_000
    valkey.delete(key)

    data(BOOKS)
    (key,) = valkey.keys("*:v:*")
    assert 30_000 < valkey.pttl(key) <= 60_000
    valkey.delete(key)

    Book.objects.all().delete()
    data("{ authors { books { title } } }")
    (key,) = valkey.keys("*:v:*")
    assert 30_000 < valkey.pttl(key) <= 60_000


def test_cache_server_out_of_reach_is_no_error(books):
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}}
    with override_settings(CACHES=caches):
        assert data(BOOKS) == data(BOOKS)

    assert CALLS == ["books", "books"]


def test_project_without_redis_answers(books):
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}):
        assert data(BOOKS) == data(BOOKS)

    assert CALLS == ["books", "books"]


def test_truncated_bytes_are_a_miss(books, valkey):
    expected = data(BOOKS)
    (key,) = valkey.keys("*:v:*")
    valkey.set(key, valkey.get(key)[:-5])

    assert data(BOOKS) == expected
    assert CALLS == ["books", "books"]


def test_large_answers_are_stored_compressed(books, valkey):
    Book.objects.bulk_create(Book(title="Same title", author=books[0].author) for _ in range(100))
    answer = VIEW(request_of("{ books(first: 100) { title } }")).content
    (key,) = valkey.keys("*:v:*")

    assert valkey.strlen(key) < len(answer) / 4
    assert VIEW(request_of("{ books(first: 100) { title } }")).content == answer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_age": -1}, "cache_control(max_age=-1): give seconds, 0 or more, or None for TIMEOUT."),
        ({"scope": "ALL"}, 'cache_control(scope=\'ALL\'): choose one of "PUBLIC", "ROLE", "USER".'),
        ({"tags": "one"}, "cache_control(tags='one'): tags are a list of text."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigurationError) as caught:
        cache_control(**arguments)

    assert str(caught.value) == message


def test_bad_target():
    with pytest.raises(ConfigurationError) as caught:
        cache_control(graphene.String())

    assert str(caught.value) == (
        "cache_control cannot decorate a String. Put it on a resolver, on a graphene type, or around a graphene.Field."
    )


def test_field_and_pages_carry_words(books):
    class Query(graphene.ObjectType):
        count = cache_control(max_age=60, scope="PUBLIC")(graphene.Field(graphene.Int))

        def resolve_count(self, info):
            CALLS.append("count")
            return Book.objects.count()

    view = GraphQLView.as_view(schema=graphene.Schema(query=Query))

    assert ask("{ count }", view=view) == ask("{ count }", view=view) == {"data": {"count": 2}}
    assert CALLS == ["count"]


def test_rows_of_a_connection_speak_for_it(books):
    from dbopt.graphql import KeysetConnectionField
    from tests.graphql.cache.bookshop import BookNode

    class Query(graphene.ObjectType):
        books = KeysetConnectionField(BookNode, order_by=("pk",))

        def resolve_books(self, info, **arguments):
            CALLS.append("books")
            return Book.objects.all()

    view = GraphQLView.as_view(schema=graphene.Schema(query=Query))
    query = "{ books(first: 1) { edges { cursor node { title } } pageInfo { hasNextPage } totalCount } }"

    assert ask(query, view=view) == ask(query, view=view)
    assert CALLS == ["books"]


def test_query_that_the_schema_says_nothing_about_asks_no_cache(books, commands):
    with commands() as sent:
        data("{ unknown }")

    assert sent == []
    assert Query.resolve_unknown
