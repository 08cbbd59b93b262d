"""A project with coroutines for resolvers, and ways to ask it: by WSGI, by ASGI, with clients that go away."""

from __future__ import annotations

import asyncio
import json
import threading

import graphene
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import connection
from django.test import Client, override_settings
from django.urls import path
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import AsyncGraphQLView, DataLoader, batch, cache_control, optimize
from dbopt.tenancy import current_tenant
from tests.testapp.models import Author, Book

REGISTRY = Registry()
PATIENCE = 30


class AioLoader:
    """As aiodataloader: all loads until the event loop's next turn are one batch."""

    def __init__(self):
        self.waiting = {}

    def load(self, key):
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self.dispatch)
        return self.waiting.setdefault(key, loop.create_future())

    def dispatch(self):
        waiting, self.waiting = self.waiting, {}
        Gates.calls.append(("aio", list(waiting)))
        for key, future in waiting.items():
            future.set_result(key * 10)


class Titles(DataLoader):
    def batch_load(self, keys):
        Gates.calls.append(("titles", list(keys)))
        return dict(Book.objects.filter(pk__in=keys).values_list("pk", "title"))


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


class Gates:
    """Where resolvers meet the test and each other; set by the test. calls: (loader, keys) of each batch."""

    calls = []
    barrier = None
    threads = None
    begun = threading.Event()
    cancelled = None


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author")
        registry = REGISTRY

    later = graphene.String()
    promised = graphene.String()
    ten = graphene.Int()
    shout = graphene.String()

    async def resolve_later(self, info):
        return (await Book.objects.aget(pk=self.pk)).title

    async def resolve_promised(self, info):
        return await sync_to_async(lambda: Titles(info.context).load(self.pk))()

    async def resolve_ten(self, info):
        if not hasattr(info.context, "aio"):
            info.context.aio = AioLoader()
        return await info.context.aio.load(self.pk)

    @batch
    async def resolve_shout(books, info):  # noqa: N805  # of a whole column
        Gates.calls.append(("shout", [book.pk for book in books]))
        await asyncio.sleep(0)
        return [book.title.upper() for book in books]


class AuthorNode(DjangoObjectType):
    class Meta:
        model = Author
        fields = ("id", "name", "books")
        registry = REGISTRY


async def written(name):
    await Author.objects.acreate(name=name, email=f"{name}@example.com")
    return name


class Query(graphene.ObjectType):
    authors = graphene.List(AuthorNode)
    count = graphene.Int()
    kept = graphene.Int()
    meet = graphene.Int()
    meet_in_threads = graphene.Int()
    fail = graphene.Int()
    exit = graphene.Int()
    lost = graphene.Int()
    sleep = graphene.Int()
    sleep_later = graphene.Int()
    never = graphene.Int()
    tenant = graphene.String()
    tenant_later = graphene.String()
    tenant_in_thread = graphene.String()
    tenant_of_loader = graphene.String()
    first_in_loop = graphene.String()
    first_in_thread = graphene.String()
    nested = graphene.Field(lambda: Query)
    awaits_promise = graphene.String()

    def resolve_authors(self, info):
        return Author.objects.order_by("pk")

    async def resolve_count(self, info):
        return await Author.objects.acount()

    @cache_control(max_age=60, scope="PUBLIC")
    async def resolve_kept(self, info):
        Gates.calls.append(("kept", []))
        return await Author.objects.acount()

    async def resolve_meet(self, info):
        return 1 + await Gates.barrier.wait() * 0

    def resolve_meet_in_threads(self, info):
        return 1 + Gates.threads.wait(PATIENCE) * 0

    async def resolve_fail(self, info):
        await asyncio.sleep(0)
        raise ValueError("no")

    async def resolve_exit(self, info):
        raise SystemExit

    async def resolve_lost(self, info):
        raise asyncio.CancelledError

    def resolve_sleep(self, info):
        return len(execute("SELECT pg_sleep(60)"))

    async def resolve_sleep_later(self, info):
        return len(await sync_to_async(execute)("SELECT pg_sleep(60)"))

    async def resolve_never(self, info):
        try:
            Gates.begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            Gates.cancelled = "never"
            raise

    def resolve_tenant(self, info):
        return current_tenant()

    async def resolve_tenant_later(self, info):
        await asyncio.sleep(0)
        return current_tenant()

    async def resolve_tenant_in_thread(self, info):
        return await sync_to_async(current_tenant)()

    async def resolve_tenant_of_loader(self, info):
        class Tenants(DataLoader):
            def batch_load(self, keys):
                return [current_tenant() for _ in keys]

        return await sync_to_async(lambda: Tenants(info.context).load(1))()

    async def resolve_first_in_loop(self, info):
        return Titles(info.context).load(0)

    async def resolve_nested(self, info):
        return Query()

    def resolve_first_in_thread(self, info):
        return Titles(info.context).load(0)

    async def resolve_awaits_promise(self, info):
        return await (await sync_to_async(lambda: Titles(info.context).load(1))())


class Mutation(graphene.ObjectType):
    write = graphene.String(name=graphene.String())
    write_and_fail = graphene.Int()
    write_and_sleep = graphene.Int()
    count = graphene.Int()

    def resolve_write(self, info, name):
        return written(name)

    async def resolve_write_and_fail(self, info):
        await written("failing")
        raise ValueError("no")

    async def resolve_write_and_sleep(self, info):
        await written("sleeping")
        return await sync_to_async(execute)("SELECT pg_sleep(60)")

    async def resolve_count(self, info):
        return await Author.objects.acount()


SCHEMA = optimize(graphene.Schema(query=Query, mutation=Mutation))
VIEW = AsyncGraphQLView.as_view(schema=SCHEMA)
urlpatterns = [path("graphql", VIEW), path("batch", AsyncGraphQLView.as_view(schema=SCHEMA, batch=True))]


def tenant_of(request):
    return request.headers.get("X-Tenant")


def installed():
    """Make this module the project's addresses."""
    return override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=["dbopt.tenancy.TenantMiddleware"])


def options(**sections):
    """Override sections of DBOPT; the tenant is that of a header, always."""
    return override_settings(DBOPT={"TENANCY": {"RESOLVER": f"{__name__}.tenant_of"}, **sections})


def by_wsgi(body, address="/graphql", tenant="blue"):
    """Ask as a WSGI server does, in this thread."""
    with installed():
        response = Client().post(address, body, content_type="application/json", headers={"x-tenant": tenant})
    return response.status_code, response.json()


class Caller:
    """A client of the ASGI application."""

    def __init__(self, text, tenant="blue"):
        body = json.dumps({"query": text}).encode()
        headers = [(b"host", b"testserver"), (b"content-type", b"application/json"), (b"x-tenant", tenant.encode())]
        headers.append((b"content-length", str(len(body)).encode()))
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/graphql", "headers": headers}
        self.body = body
        self.communicator = ApplicationCommunicator(ASGIHandler(), {**scope, "query_string": b"", "scheme": "http"})

    async def send(self):
        await self.communicator.send_input({"type": "http.request", "body": self.body})

    async def answer(self):
        start = await self.communicator.receive_output(PATIENCE)
        body = await self.communicator.receive_output(PATIENCE)
        await self.communicator.wait(PATIENCE)
        return start["status"], json.loads(body["body"])

    async def go_away(self):
        await self.communicator.send_input({"type": "http.disconnect"})
        await self.communicator.wait(PATIENCE)


async def ask(text, tenant):
    caller = Caller(text, tenant)
    await caller.send()
    return await caller.answer()


def by_asgi(*texts, tenants=None):
    """Ask as clients of an ASGI server do, all at once."""

    async def ask_all():
        return await asyncio.gather(*map(ask, texts, tenants or ["blue"] * len(texts)))

    with installed():
        return asyncio.run(ask_all())
