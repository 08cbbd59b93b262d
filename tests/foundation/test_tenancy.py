"""The current tenant: blocks, threads, tasks, requests, managers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings
from django.test.utils import isolate_apps
from django.urls import path

from dbopt.exceptions import ConfigurationError, TenantRequiredError
from dbopt.tenancy import TenantManager, TenantMiddleware, current_tenant, require_tenant, tenant_context
from tests.testapp.models import Publisher, Shop

HERE = __name__


def by_header(request):
    return request.headers.get("X-Tenant")


async def by_header_async(request):
    await asyncio.sleep(0)
    return request.headers.get("X-Tenant")


def by_query(request):
    return Shop.objects.get(code=request.headers["X-Tenant"]).tenant


def forbidding(request):
    raise PermissionDenied("not a member")


def missing(request):
    raise Http404("no such tenant")


not_a_function = 5


def show(request):
    return HttpResponse(repr(current_tenant()))


def fail(request):
    raise ZeroDivisionError(repr(current_tenant()))


async def show_async(request):
    await asyncio.sleep(0)
    return HttpResponse(repr(current_tenant()))


def need(request):
    return HttpResponse(repr(require_tenant()))


urlpatterns = [path("show", show), path("show-async", show_async), path("need", need), path("fail", fail)]


def tenancy(resolver, **options):
    return override_settings(
        DBOPT={"TENANCY": {"RESOLVER": f"{HERE}.{resolver}" if resolver else None, **options}},
        MIDDLEWARE=["dbopt.tenancy.TenantMiddleware"],
        ROOT_URLCONF=HERE,
    )


# Blocks


def test_blocks_nest_and_end():
    with tenant_context(1):
        with tenant_context(2):
            assert current_tenant() == 2
        with tenant_context(None):
            assert current_tenant() is None
        assert current_tenant() == 1

    assert current_tenant() is None


def test_a_block_ends_with_its_error():
    with pytest.raises(ZeroDivisionError), tenant_context(1):
        raise ZeroDivisionError

    assert current_tenant() is None


@pytest.mark.parametrize("pk", [0, "", 7, "acme"])
def test_falsy_keys_are_tenants(pk):
    with tenant_context(pk):
        assert current_tenant() == require_tenant() == pk


def test_a_saved_instance_stands_for_its_key():
    with tenant_context(Publisher(pk=9)):
        assert current_tenant() == 9


def test_an_unsaved_instance_is_refused():
    with pytest.raises(ValueError, match=r"^This Publisher has no primary key yet. Save it first.$"):
        tenant_context(Publisher(name="x"))


def test_one_object_may_be_entered_twice():
    block = tenant_context(1)

    with block, tenant_context(2), block:
        assert current_tenant() == 1


def test_require_tenant_says_what_to_do():
    with pytest.raises(TenantRequiredError) as caught:
        require_tenant()

    assert str(caught.value) == (
        "No tenant is set. In a request, dbopt.tenancy.TenantMiddleware sets it; "
        "in a command, task or thread use: with tenant_context(pk): ..."
    )


def test_a_decorated_function_runs_in_its_tenant_each_time():
    @tenant_context(3)
    def double(number: int) -> tuple[int, object]:
        """Double it."""
        return number * 2, current_tenant()

    assert [double(1), double(number=2)] == [(2, 3), (4, 3)]
    assert (double.__name__, double.__doc__) == ("double", "Double it.")


def test_a_decorated_function_may_call_itself():
    @tenant_context(3)
    def descend(depth):
        return [current_tenant()] + (descend(depth - 1) if depth else [])

    assert descend(2) == [3, 3, 3]


async def collect(coroutines):
    return await asyncio.gather(*coroutines)


def test_a_decorated_coroutine_function_keeps_its_tenant_while_it_waits():
    @tenant_context(3)
    async def wait():
        await asyncio.sleep(0)
        return current_tenant()

    assert asyncio.iscoroutinefunction(wait)
    assert async_to_sync(collect)([wait(), wait()]) == [3, 3]


def test_a_generator_function_cannot_be_decorated():
    with pytest.raises(TypeError, match=r"^tenant_context cannot decorate the generator function '.*numbers'"):

        @tenant_context(3)
        def numbers():
            yield 1


# Threads and tasks


def test_threads_do_not_share_tenants_even_through_one_object():
    gate, seen, shared = threading.Barrier(2), {}, tenant_context("shared")

    def work(tenant):
        seen[tenant, "start"] = current_tenant()
        with tenant_context(tenant):
            gate.wait()
            seen[tenant, "inside"] = current_tenant()
            with shared:
                gate.wait()
            gate.wait()
            seen[tenant, "after"] = current_tenant()

    with tenant_context("outside"):
        threads = [threading.Thread(target=work, args=[tenant]) for tenant in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert current_tenant() == "outside"

    assert seen == {
        ("a", "start"): None, ("a", "inside"): "a", ("a", "after"): "a",
        ("b", "start"): None, ("b", "inside"): "b", ("b", "after"): "b",
    }  # fmt: skip


def test_tasks_inherit_a_tenant_and_change_only_their_own():
    async def work(tenant, entered, leave):
        inherited = current_tenant()
        with tenant_context(tenant):
            entered.set()
            await leave.wait()
            return inherited, current_tenant(), await sync_to_async(current_tenant)()

    async def main():
        leave, entered = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
        with tenant_context("outer"):
            tasks = [asyncio.create_task(work(name, event, leave)) for name, event in zip("ab", entered, strict=True)]
            for event in entered:
                await event.wait()
            assert current_tenant() == "outer"
            leave.set()
            return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [("outer", "a", "a"), ("outer", "b", "b")]


def test_a_cancelled_task_leaves_its_tenant():
    async def main():
        async def work():
            with tenant_context(1):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return current_tenant()

    assert asyncio.run(main()) is None


# Requests


@pytest.mark.parametrize("resolver", ["by_header", "by_header_async"])
@pytest.mark.parametrize("view", ["/show", "/show-async"])
def test_views_run_in_the_tenant_of_their_request(resolver, view):
    with tenancy(resolver):
        assert Client().get(view, headers={"x-tenant": "acme"}).content == b"'acme'"
        assert Client().get(view).content == b"None"

    assert current_tenant() is None


@pytest.mark.parametrize("resolver", ["by_header", "by_header_async"])
@pytest.mark.parametrize("view", ["/show", "/show-async"])
def test_async_requests_have_their_own_tenant(resolver, view):
    async def ask(tenant):
        response = await AsyncClient().get(view, headers={"x-tenant": tenant})
        return response.content.decode(), current_tenant()

    async def main():
        return await asyncio.gather(*[ask(f"t{number}") for number in range(20)])

    with tenancy(resolver):
        assert async_to_sync(main)() == [(f"'t{number}'", None) for number in range(20)]


@pytest.mark.django_db
def test_a_resolver_may_query_in_an_async_request(shops):
    async def ask():
        return (await AsyncClient().get("/show-async", headers={"x-tenant": "b1"})).content

    with tenancy("by_query"):
        assert async_to_sync(ask)() == b"2"
        assert Client().get("/show", headers={"x-tenant": "b1"}).content == b"2"


def test_an_error_in_the_view_resets_the_tenant():
    with tenancy("by_header"), pytest.raises(ZeroDivisionError, match="'acme'"):
        Client().get("/fail", headers={"x-tenant": "acme"})

    assert current_tenant() is None


def test_the_middleware_itself_resets_after_an_error():
    def get_response(request):
        raise ZeroDivisionError(current_tenant())

    async def get_response_async(request):
        raise ZeroDivisionError(current_tenant())

    async def ask():
        with pytest.raises(ZeroDivisionError, match="acme"):
            await TenantMiddleware(get_response_async)(AsyncRequestFactory().get("/", headers={"x-tenant": "acme"}))
        return current_tenant()

    with tenancy("by_header"):
        with pytest.raises(ZeroDivisionError, match="acme"):
            TenantMiddleware(get_response)(RequestFactory().get("/", headers={"x-tenant": "acme"}))
        assert current_tenant() is None
        assert async_to_sync(ask)() is None


@pytest.mark.parametrize(("resolver", "status"), [("forbidding", 403), ("missing", 404)])
def test_a_resolver_may_refuse(resolver, status):
    async def ask():
        return (await AsyncClient().get("/show-async")).status_code

    with tenancy(resolver):
        assert Client().get("/show").status_code == status
        assert async_to_sync(ask)() == status


def test_a_view_that_needs_a_tenant_is_forbidden_without_one():
    with tenancy("by_header"):
        assert Client().get("/need").status_code == 403


def test_without_a_resolver_there_is_no_tenant():
    with tenancy(None):
        assert Client().get("/show").content == b"None"


@pytest.mark.parametrize(
    ("resolver", "what"),
    [("absent", "cannot be imported: Module"), ("not_a_function", "is int, not a function")],
)
def test_a_wrong_resolver_is_named_at_the_first_request(resolver, what):
    with tenancy(resolver), pytest.raises(ConfigurationError) as caught:
        Client().get("/show")

    assert str(caught.value).startswith(f'DBOPT["TENANCY"]["RESOLVER"] names \'{HERE}.{resolver}\', which {what}')
    assert str(caught.value).endswith(
        "Name a function that takes the request and returns the tenant's primary key or None."
    )


# Managers


def codes(queryset):
    return sorted(queryset.values_list("pk", flat=True))


def test_a_manager_shows_the_current_tenants_rows(shops):
    with tenant_context(1):
        assert codes(shops.all()) == ["a1", "a2"]
        assert codes(shops.filter(code="b1")) == []
        assert shops.count() == 2
    with tenant_context(2):
        assert codes(shops.all()) == ["b1"]


def test_a_manager_updates_and_deletes_only_the_current_tenants_rows(shops):
    with tenant_context(1):
        assert shops.filter(code="b1").delete() == (0, {})
        assert shops.update(bestseller=None) == 2
        assert shops.all().delete()[0] == 2

    assert codes(Shop.objects.all()) == ["b1"]


def test_a_queryset_keeps_the_tenant_that_it_was_made_in(shops):
    with tenant_context(1):
        queryset = shops.all()

    with tenant_context(2):
        assert codes(queryset) == ["a1", "a2"]


def test_without_a_tenant_a_manager_shows_all_unless_one_is_required(shops):
    with tenancy(None):
        assert codes(shops.all()) == ["a1", "a2", "b1"]
    with tenancy(None, REQUIRED=True):
        with pytest.raises(TenantRequiredError, match="No tenant is set"):
            shops.all()
        with tenant_context(2):
            assert codes(shops.all()) == ["b1"]


def test_unscoped_shows_all_in_every_case(shops):
    with tenancy(None, REQUIRED=True):
        assert codes(shops.unscoped()) == ["a1", "a2", "b1"]
        with tenant_context(1):
            assert codes(shops.unscoped()) == ["a1", "a2", "b1"]
            assert codes(shops.unscoped().of_tenant(2)) == ["b1"]


@isolate_apps("tests.testapp")
def test_a_manager_never_becomes_the_base_manager():
    class Stall(models.Model):
        owner = models.IntegerField()
        objects = TenantManager("owner")

        class Meta:
            app_label = "testapp"

        def __str__(self):
            return str(self.owner)

    assert type(Stall._base_manager) is models.Manager
    assert isinstance(Stall._default_manager, TenantManager)
    assert Stall.objects.tenant_field == "owner"
    with tenant_context(4):
        assert '"owner" = 4' in str(Stall.objects.all().query)


@isolate_apps("tests.testapp")
def test_managers_of_relations_filter_by_the_same_field():
    class Market(models.Model):
        class Meta:
            app_label = "testapp"

        def __str__(self):
            return str(self.pk)

    class Stand(models.Model):
        owner = models.IntegerField()
        market = models.ForeignKey(Market, models.CASCADE, related_name="stands")
        guests = models.ManyToManyField("self")
        objects = TenantManager("owner")

        class Meta:
            app_label = "testapp"

        def __str__(self):
            return str(self.owner)

    with tenant_context(4):
        assert '"owner" = 4' in str(Market(pk=1).stands.all().query)
        assert '"owner" = 4' in str(Stand(pk=1).guests.all().query)


def test_settings_and_models_can_import_it():
    code = "from dbopt.tenancy import TenantManager, TenantMiddleware, tenant_context; tenant_context(1); TenantManager('t')"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import os; os.environ.pop('DJANGO_SETTINGS_MODULE', None); {code}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
