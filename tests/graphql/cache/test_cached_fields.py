"""Resolvers whose results are kept."""

from __future__ import annotations

import graphene
import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.test import RequestFactory, override_settings
from graphene_django import DjangoListField, DjangoObjectType
from graphene_django.registry import Registry
from graphql import graphql_sync
from promise import Promise

from dbopt.cache import bypass, counters, invalidate
from dbopt.exceptions import ConfigurationError
from dbopt.graphql import DboptExecutionContext, GraphQLView, batch, cache_control, cached_field, optimize
from dbopt.graphql.execution.core_versions import executed_by, plain_variables
from dbopt.tenancy import current_tenant, tenant_context
from tests.graphql.cache import bookshop
from tests.testapp.models import Author, Book, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

REGISTRY = Registry()
CALLS = bookshop.CALLS


class BookType(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author")
        registry = REGISTRY

    @classmethod
    def get_queryset(cls, queryset, info):
        return queryset.exclude(title="Hidden")


class AuthorType(DjangoObjectType):
    class Meta:
        model = Author
        fields = ("id", "name")
        registry = REGISTRY

    best = graphene.List(BookType, first=graphene.Int(default_value=2))
    label = graphene.String()

    @cached_field(timeout=60, scope="PUBLIC")
    def resolve_best(self, info, first):
        CALLS.append(f"best {self.pk}")
        return Book.objects.filter(author=self.pk).order_by("pk")[:first]

    @cached_field(timeout=60, scope="PUBLIC")
    def resolve_label(self, info):
        CALLS.append("label")
        return f"{self.name} wrote {Book.objects.filter(author=self.pk).count()}"


def kept(**options):
    return cached_field(timeout=60, **options)


class Query(graphene.ObjectType):
    author = graphene.Field(AuthorType, pk=graphene.Int())
    books = graphene.List(BookType)
    listed = DjangoListField(BookType)
    mine = graphene.String()
    count = graphene.Int()
    look = graphene.String(at=graphene.String())
    selected = graphene.Field(AuthorType)
    codes = graphene.List(graphene.String)
    weather = graphene.String()
    later = graphene.String()
    given = graphene.String(value=graphene.Argument(graphene.JSONString))

    def resolve_author(self, info, pk):
        return Author.objects.get(pk=pk)

    @kept(scope="PUBLIC")
    def resolve_books(self, info):
        CALLS.append("books")
        return Book.objects.order_by("pk")

    @kept(scope="PUBLIC")
    def resolve_listed(self, info):
        CALLS.append("listed")
        return Book.objects.order_by("pk")

    @kept()
    def resolve_mine(self, info):
        CALLS.append("mine")
        return f"{info.context.user.username}:{Book.objects.count()}"

    @kept(scope="PUBLIC")
    def resolve_count(self, info):
        CALLS.append("count")
        return Book.objects.count()

    @kept(scope="PUBLIC")
    def resolve_look(self, info, at):
        CALLS.append("look")
        found = {
            "user": lambda: info.context.user.username,
            "cookies": lambda: info.context.COOKIES.get("cart", ""),
            "path": lambda: ".".join(map(str, info.path.as_list())),
            "variables": lambda: sorted(plain_variables(info.variable_values).items()),
            "unpacked": lambda: plain_variables(tuple(info)[9]),
        }[at]()
        return f"{found}:{Book.objects.count()}"

    @kept(scope="PUBLIC")
    def resolve_selected(self, info):
        CALLS.append("selected")
        names = [node.name.value for node in info.field_nodes[0].selection_set.selections]
        author = Author.objects.first()
        author.name = f"{','.join(names)} {Book.objects.count()}"
        return author

    @kept(scope="PUBLIC")
    def resolve_codes(self, info):
        return list(Shop.objects.filter(tenant=current_tenant()).values_list("code", flat=True))

    @kept(scope="PUBLIC", tags=["weather"])
    def resolve_weather(self, info):
        CALLS.append("weather")
        return f"sunny {len(CALLS)}"

    @kept(scope="PUBLIC")
    def resolve_later(self, info):
        CALLS.append("later")
        return Promise.resolve(str(Book.objects.count()))

    @kept(scope="PUBLIC")
    def resolve_given(self, info, value):
        CALLS.append("given")
        return f"{value} {Book.objects.count()}"


SCHEMA = optimize(graphene.Schema(query=Query))
VIEW = GraphQLView.as_view(schema=SCHEMA)


@pytest.fixture(autouse=True)
def nothing_learned_of_fields(nothing_learned):
    for field in (Query, AuthorType):
        for resolver in vars(field).values():
            spec = getattr(resolver, "spec", None)
            if spec is not None:
                spec.forget()


@pytest.fixture
def authors(shop_database):
    made = [Author.objects.create(name=name, email=f"{name}@example.com") for name in ("Ann", "Bob")]
    for author in made:
        Book.objects.bulk_create(Book(title=f"{author.name} {n}", author=author) for n in range(3))
    return made


def data(query, variables=None, **options):
    answer = bookshop.ask(query, variables, view=options.pop("view", VIEW), **options)
    assert "errors" not in answer, answer
    return answer["data"]


def test_second_result_costs_one_round_trip_and_no_statement(authors, commands, queries):
    first = data("{ books { title } }")

    with commands() as sent, queries() as ran:
        second = data("{ books { title } }")

    assert second == first
    assert [book["title"] for book in first["books"]] == ["Ann 0", "Ann 1", "Ann 2", "Bob 0", "Bob 1", "Bob 2"]
    assert (len(sent), ran, CALLS) == (1, [], ["books"])


def test_any_write_shows_at_once(authors):
    data("{ count }")

    Book.objects.all().delete()

    assert data("{ count }") == {"count": 0}
    assert CALLS == ["count", "count"]


def test_each_parent_and_each_argument_has_results_of_its_own(authors):
    query = "query ($pk: Int, $n: Int) { author(pk: $pk) { best(first: $n) { title } } }"
    for _ in range(2):
        for author in authors:
            for first in (1, 2):
                found = data(query, {"pk": author.pk, "n": first})["author"]["best"]
                assert found == [{"title": f"{author.name} {n}"} for n in range(first)]
    assert len(CALLS) == 4


def test_default_of_an_argument_is_that_argument(authors):
    pk = authors[0].pk
    data(f"{{ author(pk: {pk}) {{ best {{ title }} }} }}")
    data(f"{{ author(pk: {pk}) {{ other: best(first: 2) {{ id }} }} }}")

    assert len(CALLS) == 1


def test_changed_parent_is_another_parent(authors):
    """The resolver runs no statement for the name: it is on the row that it was given."""
    query = f"{{ author(pk: {authors[0].pk}) {{ label }} }}"
    assert data(query) == data(query) == {"author": {"label": "Ann wrote 3"}}

    Author.objects.filter(pk=authors[0].pk).update(name="Anna")

    assert data(query) == {"author": {"label": "Anna wrote 3"}}


def test_scopes(authors, people):
    ann, bob = people
    for _ in range(3):
        for user in (ann, bob, None):
            name = user.username if user else ""
            assert data("{ mine }", user=user) == {"mine": f"{name}:6"}
            assert data('{ look(at: "user") }', user=user) == {"look": f"{name}:6"}
            for cart in ("red", "blue"):
                found = data('{ look(at: "cookies") }', user=user, HTTP_COOKIE=f"cart={cart}")
                assert found == {"look": f"{cart}:6"}
    # The field learned from its second call that cookies count, and asked the first one anew.
    assert (CALLS.count("mine"), CALLS.count("look")) == (3, 3 + 6 + 1)


@pytest.mark.parametrize("required", [False, True])
def test_tenants(shop_database, required):
    for tenant in (1, 2):
        Shop.objects.create(code=f"shop {tenant}", tenant=tenant)
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y", "REQUIRED": required}}):
        for _ in range(2):
            for tenant in (1, 2):
                with tenant_context(tenant):
                    assert data("{ codes }") == {"codes": [f"shop {tenant}"]}
        assert data("{ codes }") == {"codes": []}


def test_selection_counts_where_the_resolver_looks_at_it(authors):
    for _ in range(3):
        assert data("{ selected { name } }") == {"selected": {"name": "name 6"}}
        assert data("{ selected { id name } }")["selected"]["name"] == "id,name 6"
    assert CALLS == ["selected"] * 2


def test_selection_does_not_count_elsewhere(authors):
    data("{ books { title } }")
    data("{ books { id author { name } } }")

    assert CALLS == ["books"]


def test_path_and_variables_count_where_the_resolver_looks_at_them(authors):
    for _ in range(2):
        assert data('{ a: look(at: "path") b: look(at: "path") }') == {"a": "a:6", "b": "b:6"}
        for value in (1, 2):
            query = (
                'query ($x: Int) { look(at: "variables") count @skip(if: true) author(pk: $x) @skip(if: true) { id } }'
            )
            assert data(query, {"x": value}) == {"look": f"[('x', {value})]:6"}
            query = query.replace("variables", "unpacked")
            assert data(query, {"x": value}) == {"look": f"{{'x': {value}}}:6"}


def test_permission_hook_of_a_django_list_applies(authors):
    Book.objects.filter(title="Ann 0").update(title="Hidden")
    for _ in range(2):
        assert [book["title"] for book in data("{ listed { title } }")["listed"]] == [
            "Ann 1",
            "Ann 2",
            "Bob 0",
            "Bob 1",
            "Bob 2",
        ]
    assert CALLS == ["listed"]


def test_tags_stand_for_what_is_not_read_by_sql(shop_database):
    assert data("{ weather }") == data("{ weather }") == {"weather": "sunny 1"}

    invalidate("weather")

    assert data("{ weather }") == {"weather": "sunny 2"}


def test_promise_is_passed_on_and_not_kept(authors):
    assert data("{ later }") == data("{ later }") == {"later": "6"}
    assert CALLS == ["later", "later"]


def test_argument_without_a_canonical_form_is_passed_on(authors):
    resolver, info = Query.resolve_given, None

    def execute(value):
        nonlocal info

        class Root(graphene.ObjectType):
            given = graphene.String()

            def resolve_given(self, info):
                return resolver(self, info, value=value)

        result = graphql_sync(graphene.Schema(query=Root).graphql_schema, "{ given }", context_value=request())
        assert not result.errors
        return result.data["given"]

    for _ in range(2):
        assert execute({1, 2}) == "{1, 2} 6"
        assert execute(object()).startswith("<object object")
    assert CALLS == ["given"] * 3


def request():
    made = RequestFactory().get("/")
    made.user = AnonymousUser()
    return made


@pytest.mark.parametrize("executor", [None, DboptExecutionContext])
def test_works_under_every_executor_and_any_context(authors, executor):
    def execute(query, context):
        result = graphql_sync(SCHEMA.graphql_schema, query, context_value=context, **executed_by(executor))
        assert not result.errors
        return result.data

    # A dictionary cannot be watched: it gets what others stored, and after each write computes for itself.
    for context, computed in ((request(), 1), (None, 0), (graphene.Context(), 0), ({"user": 1}, 2)):
        CALLS.clear()
        for _ in range(3):
            assert execute("{ count }", context) == {"count": 6}
            if isinstance(context, dict):
                Book.objects.filter(title="Ann 0").update(pages=1)
        assert len(CALLS) == computed


def test_user_scope_without_a_context_is_not_kept(authors):
    class Root(graphene.ObjectType):
        count = graphene.Int()

        @cached_field()
        def resolve_count(self, info):
            CALLS.append("count")
            return Book.objects.count()

    schema = graphene.Schema(query=Root)
    assert [schema.execute("{ count }").data for _ in range(2)] == [{"count": 6}] * 2
    assert CALLS == ["count", "count"]


def test_kept_field_inside_a_kept_response_makes_it_as_narrow(authors, people):
    class Root(graphene.ObjectType):
        mine = graphene.String()

        @cache_control(max_age=60, scope="PUBLIC")
        @cached_field(timeout=60)
        def resolve_mine(self, info):
            CALLS.append("mine")
            return f"{info.context.user.username}:{Book.objects.count()}"

    view = GraphQLView.as_view(schema=graphene.Schema(query=Root))
    for query in ("{ mine }", "{ a: mine }", "{ b: mine }"):
        # From the second document on, the field comes from the cache, and the response is new.
        for _ in range(2):
            for user in people:
                assert list(data(query, view=view, user=user).values()) == [f"{user.username}:6"]
    assert CALLS == ["mine"] * 2

    Book.objects.all().delete()

    assert data("{ b: mine }", view=view, user=people[0]) == {"b": "ann:0"}


def test_field_of_a_role_inside_a_kept_response(authors, people):
    class Root(graphene.ObjectType):
        may = graphene.Boolean()

        @cache_control(max_age=60, scope="PUBLIC")
        @cached_field(timeout=60, scope="ROLE")
        def resolve_may(self, info):
            CALLS.append("may")
            return Book.objects.exists() and info.context.user.is_superuser

    view = GraphQLView.as_view(schema=graphene.Schema(query=Root))
    User.objects.filter(pk=people[0].pk).update(is_superuser=True)
    for query in ("{ may }", "{ a: may }", "{ b: may }"):
        for _ in range(2):
            assert [list(data(query, view=view, user=user).values()) for user in people] == [[True], [False]]
    assert CALLS == ["may"] * 2


def test_bypass_and_cache_out_of_reach(authors):
    data("{ count }")
    with bypass():
        data("{ count }")
    with override_settings(CACHES={"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}):
        assert data("{ count }") == {"count": 6}

    assert CALLS == ["count"] * 3


def test_statistics_have_the_resolvers_name(authors):
    data("{ count }")
    data("{ count }")

    outcomes = counters.counters_of(f"{__name__}.Query.resolve_count").outcomes
    assert dict(outcomes) == {"miss": 1, "hit": 1}
    assert connection.alias == "default"


def test_batch_resolver_is_refused():
    with pytest.raises(ConfigurationError) as caught:

        @cached_field()
        @batch
        def resolve_label(parents, info):
            return []

    assert str(caught.value).startswith("cached_field cannot decorate ")
    assert str(caught.value).endswith(
        "which is a @batch resolver: it would ask for each parent alone. Load through a loader with a second_level."
    )


def test_bad_scope():
    with pytest.raises(ConfigurationError) as caught:
        cached_field(scope="all")

    assert str(caught.value) == 'cached_field(scope=\'all\'): choose one of "PUBLIC", "ROLE", "USER".'
