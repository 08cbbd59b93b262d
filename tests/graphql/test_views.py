"""The view over HTTP."""

from __future__ import annotations

import json

import graphene
import pytest
from django.db import connection
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry
from promise import Promise
from promise.promise import async_instance

from dbopt.exceptions import InvalidCursorError, PageSizeError, TenantRequiredError
from dbopt.graphql import DataLoader, GraphQLView, optimize
from dbopt.tenancy import require_tenant
from tests.graphql.running import run
from tests.testapp.models import Author, Book

REGISTRY = Registry()


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author")
        registry = REGISTRY


class AuthorNode(DjangoObjectType):
    class Meta:
        model = Author
        fields = ("id", "name", "books")
        registry = REGISTRY


class AuthorNames(DataLoader):
    context_key = "author_names"

    def batch_load(self, keys):
        return dict(Author.objects.filter(pk__in=keys).values_list("pk", "name"))


class Query(graphene.ObjectType):
    authors = graphene.List(AuthorNode)
    name = graphene.String(pk=graphene.Int())
    fail = graphene.String(how=graphene.String())

    def resolve_authors(self, info):
        return Author.objects.order_by("pk")

    def resolve_name(self, info, pk):
        return AuthorNames(info.context).load(pk).then(lambda name: name and f"Dr {name}")

    def resolve_fail(self, info, how):
        if how == "tenant":
            require_tenant()
        raise {
            "cursor": InvalidCursorError("after", "it was changed"),
            "size": PageSizeError("Too many.", code="PAGE_TOO_LARGE"),
            "value": ValueError("plain"),
        }[how]


class Rename(graphene.Mutation):
    class Arguments:
        pk = graphene.Int()
        name = graphene.String()

    name = graphene.String()

    def mutate(self, info, pk, name):
        Author.objects.filter(pk=pk).update(name=name)
        if name == "fail":
            raise ValueError("after the write")
        AuthorNames(info.context).clear(pk)
        return AuthorNames(info.context).load(pk).then(lambda loaded: Rename(name=loaded))


class Mutation(graphene.ObjectType):
    rename = Rename.Field()


SCHEMA = optimize(graphene.Schema(query=Query, mutation=Mutation))


def post(query, **options):
    batch = isinstance(query, list)
    body = [{"query": text} for text in query] if batch else {"query": query}
    request = RequestFactory().post("/graphql", json.dumps(body), content_type="application/json")
    response = GraphQLView.as_view(schema=SCHEMA, batch=batch, **options)(request)
    assert not hasattr(request, "_dbopt_loaders")
    return response.status_code, json.loads(response.content)


@pytest.fixture
def author(db):
    author = Author.objects.create(name="Ann", email="ann@example.com")
    Book.objects.create(title="One", author=author)
    return author


def test_promise_loaders_work_in_the_sync_view(author, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = post(f"{{ a: name(pk: {author.pk}) b: name(pk: {author.pk}) c: name(pk: 0) }}")

    assert answer == (200, {"data": {"a": "Dr Ann", "b": "Dr Ann", "c": None}})


@pytest.mark.parametrize("count", [1, 10, 100])
@pytest.mark.django_db
def test_nested_list_costs_two_statements_over_http(count):
    authors = Author.objects.bulk_create([Author(name=f"A{n}", email=f"{n}@example.com") for n in range(count)])
    Book.objects.bulk_create([Book(title="B", author=author) for author in authors])

    with CaptureQueriesContext(connection) as statements:
        status, answer = post("{ authors { name books { title author { name } } } }")

    assert status == 200
    assert answer["data"]["authors"][-1] == {
        "name": f"A{count - 1}",
        "books": [{"title": "B", "author": {"name": f"A{count - 1}"}}],
    }
    assert len(statements) == 3


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (
            "tenant",
            {
                "message": (
                    "No tenant is set. In a request, dbopt.tenancy.TenantMiddleware sets it; "
                    "in a command, task or thread use: with tenant_context(pk): ..."
                ),
                "extensions": {"code": "TENANT_REQUIRED"},
            },
        ),
        (
            "cursor",
            {
                "message": "Argument `after` is not a valid cursor for this list: it was changed.",
                "extensions": {"code": "INVALID_CURSOR"},
            },
        ),
        ("size", {"message": "Too many.", "extensions": {"code": "PAGE_TOO_LARGE"}}),
        ("value", {"message": "plain"}),
    ],
)
def test_errors_of_dbopt_have_a_code(how, error):
    status, answer = post(f'{{ fail(how: "{how}") }}')

    assert status == 200
    assert answer == {
        "errors": [{**error, "locations": [{"line": 1, "column": 3}], "path": ["fail"]}],
        "data": {"fail": None},
    }


def test_error_outside_execution_has_a_code_too():
    assert GraphQLView.format_error(TenantRequiredError("No tenant.")) == {
        "message": "No tenant.",
        "extensions": {"code": "TENANT_REQUIRED"},
    }
    assert GraphQLView.format_error(ValueError("plain")) == {"message": "plain"}


def test_invalid_document_is_refused_as_by_stock():
    status, answer = post("{ nothing }")

    assert status == 400
    assert [error["message"] for error in answer["errors"]] == ["Cannot query field 'nothing' on type 'Query'."]


def test_operation_after_a_mutation_in_a_batch_sees_the_write(author):
    query = f"{{ name(pk: {author.pk}) }}"

    status, answers = post([query, f'mutation {{ rename(pk: {author.pk}, name: "Bea") {{ name }} }}', query])

    assert status == 200
    assert [answer["data"] for answer in answers] == [
        {"name": "Dr Ann"},
        {"rename": {"name": "Bea"}},
        {"name": "Dr Bea"},
    ]


def test_get_may_not_mutate(author):
    request = RequestFactory().get("/graphql", {"query": "mutation { rename(pk: 1) { name } }"})

    response = GraphQLView.as_view(schema=SCHEMA)(request)

    assert response.status_code == 405


def test_what_another_user_of_the_thread_left_behind_never_runs(author):
    ran = []
    async_instance.is_tick_used = True
    Promise.resolve(1).then(lambda _: ran.append("of another request"))

    answer = post(f"{{ name(pk: {author.pk}) }}")

    assert answer == (200, {"data": {"name": "Dr Ann"}})
    assert ran == []


def test_request_inside_a_resolver_leaves_the_outer_operation_alone(author):
    def name(root, info):
        first = AuthorNames(info.context).load(author.pk)
        assert post(f"{{ name(pk: {author.pk}) }}") == (200, {"data": {"name": "Dr Ann"}})
        return first

    assert run("type Query { name: String }", "{ name }", resolvers={"Query.name": name}).data == {"name": "Ann"}


@override_settings(GRAPHENE={"MIDDLEWARE": []})
def test_empty_middleware_leaves_columns_on(author, django_assert_num_queries):
    with django_assert_num_queries(2):
        post("{ authors { books { title } } }", middleware=[])


def test_middleware_sees_fields_and_relations_still_batch(author, django_assert_num_queries):
    seen = []

    def middleware(following, root, info, **arguments):
        seen.append(info.field_name)
        return following(root, info, **arguments)

    with django_assert_num_queries(3):
        post("{ authors { books { title author { id } } } }", middleware=[middleware])

    assert seen == ["authors", "books", "title", "author", "id"]
