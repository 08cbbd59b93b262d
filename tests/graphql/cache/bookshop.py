"""A cached schema over the bookshop, and ways to ask it in tests."""

from __future__ import annotations

import json

import graphene
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.cache import cached_query
from dbopt.graphql import GraphQLView, ModelLoader, cache_control, optimize
from dbopt.tenancy import current_tenant
from tests.testapp.models import Author, Book, Shop, Tag

REGISTRY = Registry()
CALLS = []

# What WSGI calls the header X-Cart.
CART_VARIABLE = "HTTP_X_CART"


@cache_control(max_age=60, scope="PUBLIC")
class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author", "pages")
        registry = REGISTRY

    reader = graphene.String()

    def resolve_reader(self, info):
        return info.context.user.username


@cache_control(max_age=120, scope="PUBLIC")
class AuthorNode(DjangoObjectType):
    class Meta:
        model = Author
        fields = ("id", "name", "books")
        registry = REGISTRY


class TagNode(DjangoObjectType):
    class Meta:
        model = Tag
        fields = ("slug",)
        registry = REGISTRY


class AuthorByPk(ModelLoader):
    model = Author


@cached_query(timeout=60)
def count_tags():
    return Tag.objects.count()


class Filter(graphene.InputObjectType):
    title = graphene.String()
    pages = graphene.Int(default_value=0)


def public(function):
    return cache_control(max_age=60, scope="PUBLIC")(function)


class Query(graphene.ObjectType):
    books = graphene.List(BookNode, where=Filter(), first=graphene.Int(default_value=10))
    book = graphene.Field(BookNode, pk=graphene.Int(required=True))
    authors = graphene.List(AuthorNode)
    tags = graphene.List(TagNode)
    who = graphene.String()
    may = graphene.Boolean()
    may_i = graphene.Boolean()
    peek = graphene.String(at=graphene.String(required=True))
    shops = graphene.List(graphene.String)
    fail = graphene.String()
    tag_count = graphene.Int()
    name = graphene.String(pk=graphene.Int(required=True))
    unknown = graphene.Int()
    hello = graphene.String()
    weather = graphene.String()
    never = graphene.String()

    def resolve_books(self, info, first, where=None):
        CALLS.append("books")
        rows = Book.objects.order_by("pk")
        if where is not None:
            rows = rows.filter(pages__gte=where.pages)
            rows = rows.filter(title=where.title) if where.title else rows
        return rows[:first]

    def resolve_book(self, info, pk):
        CALLS.append("book")
        return Book.objects.filter(pk=pk).first()

    def resolve_authors(self, info):
        return Author.objects.order_by("pk")

    @cache_control
    def resolve_who(self, info):
        CALLS.append("who")
        user = info.context.user
        return f"{user.username}:{Book.objects.count()}"

    @cache_control
    def resolve_may_i(self, info):
        CALLS.append("may_i")
        return Book.objects.exists() or info.context.user.has_perm("testapp.view_book")

    @cache_control(max_age=60, scope="ROLE")
    def resolve_may(self, info):
        CALLS.append("may")
        return Book.objects.exists() and info.context.user.has_perm("testapp.view_book")

    @public
    def resolve_peek(self, info, at):
        CALLS.append("peek")
        request, count = info.context, Book.objects.count()
        found = {
            "nothing": lambda: "",
            "user": lambda: request.user.username,
            "session": lambda: request.session.get("cart", ""),
            "cookies": lambda: request.COOKIES.get("cart", ""),
            "meta": lambda: request.META.get(CART_VARIABLE, ""),
            "headers": lambda: request.headers.get("X-Cart", ""),
            "authorization": lambda: request.headers.get("Authorization", ""),
            "host": request.get_host,
            "dict": lambda: vars(request)["environ"]["HTTP_COOKIE"].rpartition("=")[2],
            "own": lambda: own_note(request),
            "attribute": lambda: getattr(request, "plan", "none"),
        }[at]()
        return f"{found}:{count}"

    @public
    def resolve_shops(self, info):
        return list(Shop.objects.filter(tenant=current_tenant()).values_list("code", flat=True))

    @public
    def resolve_fail(self, info):
        CALLS.append("fail")
        Book.objects.count()
        raise ValueError("no")

    @public
    def resolve_tag_count(self, info):
        CALLS.append("tag_count")
        return count_tags()

    @public
    def resolve_name(self, info, pk):
        CALLS.append("name")
        return AuthorByPk(info.context).load(pk).then(lambda author: author and author.name)

    def resolve_unknown(self, info):
        return Book.objects.count()

    @public
    def resolve_hello(self, info):
        CALLS.append("hello")
        return "hello"

    @cache_control(max_age=60, scope="PUBLIC", tags=["weather"])
    def resolve_weather(self, info):
        CALLS.append("weather")
        return f"sunny {len(CALLS)}"

    @cache_control(max_age=0, scope="PUBLIC")
    def resolve_never(self, info):
        return str(Book.objects.count())


def own_note(request):
    request.note = "mine"
    return request.note


class Rename(graphene.Mutation):
    class Arguments:
        pk = graphene.Int()
        title = graphene.String()

    ok = graphene.Boolean()

    def mutate(self, info, pk, title):
        Book.objects.filter(pk=pk).update(title=title)
        return Rename(ok=True)


class Mutation(graphene.ObjectType):
    rename = Rename.Field()


SCHEMA = optimize(graphene.Schema(query=Query, mutation=Mutation))
VIEW = GraphQLView.as_view(schema=SCHEMA)


def request_of(query, variables=None, *, user=None, method="post", session=None, **headers):
    factory = RequestFactory()
    if method == "get":
        request = factory.get("/graphql", {"query": query, "variables": json.dumps(variables or {})}, **headers)
    else:
        body = json.dumps({"query": query, "variables": variables})
        request = factory.post("/graphql", body, content_type="application/json", **headers)
    request.user = AnonymousUser() if user is None else type(user)._default_manager.get(pk=user.pk)
    if session is not None:
        request.session = session
    return request


def ask(query, variables=None, *, view=VIEW, **options):
    """Return what a view answers, as from JSON."""
    return json.loads(view(request_of(query, variables, **options)).content)


def data(query, variables=None, **options):
    answer = ask(query, variables, **options)
    assert "errors" not in answer, answer
    return answer["data"]
