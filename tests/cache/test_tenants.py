"""One tenant never sees another's results."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.test import override_settings

from dbopt.cache import cached_query, invalidate_tenant
from dbopt.exceptions import TenantRequiredError
from dbopt.tenancy import current_tenant, tenant_context
from tests.testapp.models import Book, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture(params=[False, True], ids=["optional", "required"])
def required(request):
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y", "REQUIRED": request.param}}):
        yield request.param


@pytest.fixture
def shops(shop_database):
    Shop.objects.create(code="one", tenant=1)
    Shop.objects.create(code="two", tenant=2)


@cached_query(timeout=60)
def codes():
    """As code does that filters by the current tenant without taking it as an argument."""
    return list(Shop.objects.filter(tenant=current_tenant()).values_list("code", flat=True))


@cached_query(timeout=60, shared=True)
def all_codes():
    return list(Shop.objects.order_by("code").values_list("code", flat=True))


def test_two_tenants_never_share(shops, required, outcomes):
    for _ in range(2):
        for tenant, expected in ((1, ["one"]), (2, ["two"])):
            with tenant_context(tenant):
                assert codes() == expected

    assert outcomes(codes)["hits"] == 2


def test_tenants_that_no_resolver_finds_never_share_either(shops, outcomes):
    for _ in range(2):
        for tenant, expected in ((1, ["one"]), (2, ["two"])):
            with tenant_context(tenant):
                assert codes() == expected

    assert outcomes(codes)["hits"] == 2


@pytest.mark.parametrize("tenant", ["", "_", "{1}", "1", "a:b", "*", "{_}:E"])
def test_odd_tenants_share_with_nobody(shops, required, tenant):
    with tenant_context(1):
        assert codes() == ["one"]

    with tenant_context(tenant):
        assert tenant_slugs() == [tenant]


@cached_query(timeout=60)
def tenant_slugs():
    Shop.objects.count()
    return [current_tenant()]


def test_without_a_tenant_nothing_is_cached(shops, required, outcomes, valkey):
    if required:
        with pytest.raises(TenantRequiredError) as caught:
            codes()
        assert str(caught.value) == (
            "tests.cache.test_tenants.codes is cached for a tenant, and no tenant is set. Call it inside "
            "tenant_context(pk), or declare it with shared=True when its result belongs to no tenant."
        )
    else:
        assert codes() == []
        assert outcomes(codes)["bypass"] == {"tenant": 1}
    assert [key for key in valkey.scan_iter() if b":v:" in key] == []


def test_shared_result_belongs_to_everybody(shops, required, outcomes):
    all_codes()
    for tenant in (1, 2):
        with tenant_context(tenant):
            assert all_codes() == ["one", "two"]

    assert outcomes(all_codes)["hits"] == 2


def test_write_of_one_tenant_is_seen_by_all(shops, required):
    """A statement does not show whose rows it writes."""
    for tenant in (1, 2):
        with tenant_context(tenant):
            codes()

    with tenant_context(1):
        Shop.objects.filter(code="two").update(tenant=1)

    with tenant_context(1):
        assert sorted(codes()) == ["one", "two"]
    with tenant_context(2):
        assert codes() == []


def test_invalidating_one_tenant_keeps_the_other(shops, required, outcomes):
    for tenant in (1, 2):
        with tenant_context(tenant):
            codes()

    invalidate_tenant(1)

    for tenant in (1, 2):
        with tenant_context(tenant):
            codes()
    assert (outcomes(codes)["stale"], outcomes(codes)["hits"]) == (1, 1)


def test_threads_of_two_tenants_never_share(shops, required, threads):
    barrier = threading.Barrier(6)

    def read(tenant, expected):
        barrier.wait(20)
        with tenant_context(tenant):
            return [codes() == expected for _ in range(30)]

    futures = [threads(read, tenant, expected) for tenant, expected in [(1, ["one"]), (2, ["two"])] * 3]

    assert all(all(future.result(30)) for future in futures)


def test_invalidating_without_a_tenant_has_nothing_to_do(shops, required):
    if required:
        with pytest.raises(TenantRequiredError):
            codes.invalidate()
    else:
        assert codes.invalidate() is True


def test_books_are_no_part_of_it(shops):
    assert Book.objects.count() == 0


def test_tenant_switched_in_the_middle_of_a_request(shops, required, outcomes):
    with tenant_context(1):
        assert codes() == codes() == ["one"]
        with tenant_context(2):
            assert codes() == codes() == ["two"]
        assert codes() == ["one"]

    assert outcomes(codes)["hits"] == 3


@cached_query(timeout=60)
async def codes_in_a_task():
    return await sync_to_async(codes.uncached)()


def test_tasks_of_two_tenants_never_share(shops, required):
    """They switch to each other between any two steps."""

    async def read(tenant):
        with tenant_context(tenant):
            return [await codes_in_a_task() for _ in range(5)]

    async def read_all():
        return await asyncio.gather(*(read(tenant) for tenant in (1, 2) * 3))

    assert async_to_sync(read_all)() == [[["one"]] * 5, [["two"]] * 5] * 3


def test_task_that_switches_changes_only_itself(shops, required):
    async def switch():
        with tenant_context(2):
            return await codes_in_a_task()

    async def read():
        with tenant_context(1):
            before = await codes_in_a_task()
            return before, await asyncio.create_task(switch()), await codes_in_a_task()

    assert async_to_sync(read)() == (["one"], ["two"], ["one"])
