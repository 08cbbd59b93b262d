"""Who shares what each of the three caches keeps: a response, what a resolver returned, what a loader loaded."""

from __future__ import annotations

import graphene
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.graphql import DataLoader, GraphQLView, SecondLevel, cache_control, cached_field, optimize
from dbopt.tenancy import current_tenant, tenant_context
from tests.cache.conftest import elsewhere, outside  # noqa: F401  # fixtures
from tests.cache.test_session_scope import (  # noqa: F401  # fixtures
    READER,
    declared,
    execute,
    patience,
    policy,
    schemas,
)
from tests.graphql.cache import bookshop
from tests.testapp.models import Author, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

CALLS = bookshop.CALLS
CACHES = ["response", "field", "loader"]
SCOPES = ["PUBLIC", "ROLE", "USER"]


def find(context, at):
    """What depends on who asks, beside the rows of a table, without which nothing would be kept."""
    CALLS.append(at)
    names = list(Author.objects.order_by("name").values_list("name", flat=True))
    return {
        "user": lambda: context.user.username,
        "may": lambda: str(context.user.has_perm("testapp.view_book")),
        "shops": lambda: ",".join(Shop.objects.filter(tenant=current_tenant()).values_list("code", flat=True)),
        "names": lambda: ",".join(names),
    }[at]()


def loader_of(scope):
    class Found(DataLoader):
        second_level = SecondLevel(scope=scope, timeout=60)

        def batch_load(self, keys):
            return [find(self.context, at) for at in keys]

    Found.__qualname__ = f"Found{scope.title()}"
    return Found


def resolvers_of(scope):
    @cache_control(max_age=60, scope=scope)
    def response(root, info, at):
        return find(info.context, at)

    @cached_field(timeout=60, scope=scope)
    def field(root, info, at):
        return find(info.context, at)

    found = loader_of(scope)

    def loader(root, info, at):
        return found(info.context).load(at)

    for resolver in (response, field):
        resolver.__qualname__ = f"{resolver.__name__}_{scope}"
    return {"response": response, "field": field, "loader": loader}


FIELDS = {
    f"{cache}_{scope}".lower(): graphene.String(at=graphene.String(required=True), resolver=resolver)
    for scope in SCOPES
    for cache, resolver in resolvers_of(scope).items()
}
SCHEMA = optimize(graphene.Schema(query=type("Query", (graphene.ObjectType,), FIELDS), auto_camelcase=False))
VIEW = GraphQLView.as_view(schema=SCHEMA)


@pytest.fixture(params=CACHES)
def cache(request):
    return request.param


@pytest.fixture(params=SCOPES)
def scope(request):
    return request.param


@pytest.fixture
def ask(cache, scope):
    """Ask one of the fields."""
    field = f"{cache}_{scope}".lower()

    def asking(at, **options):
        answer = bookshop.ask(f'{{ {field}(at: "{at}") }}', view=VIEW, **options)
        assert "errors" not in answer, answer
        return answer["data"][field]

    return asking


def test_two_users_and_strangers_never_share(ask, scope, people, new_process):
    if scope == "ROLE":
        # Those who may do the same do share.
        User.objects.filter(username="bob").update(is_staff=True)

    def everybody():
        return [ask("user", user=user) for user in (*people, None)]

    assert [everybody() for _ in range(3)] == [["ann", "bob", ""]] * 3
    computed = len(CALLS)
    new_process()
    assert everybody() == ["ann", "bob", ""]
    # A process that has not seen an operation yet computes one answer to learn what it depends on.
    assert len(CALLS) <= computed + 1


@pytest.mark.parametrize("required", [False, True])
def test_two_tenants_never_share(ask, required):
    for tenant in (1, 2):
        Shop.objects.create(code=f"shop {tenant}", tenant=tenant)
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y", "REQUIRED": required}}):
        for _ in range(2):
            for tenant in (1, 2):
                with tenant_context(tenant):
                    assert ask("shops") == f"shop {tenant}"
        assert ask("shops") == ""
    assert len(CALLS) == 3


@pytest.mark.parametrize("through", ["user", "group"])
def test_revoked_permission_shows_at_once(ask, people, through):
    ann, _ = people
    permission = Permission.objects.get(codename="view_book")
    group = Group.objects.create(name="readers")
    held = ann.user_permissions if through == "user" else group.permissions
    ann.groups.add(group)

    def everybody():
        return [ask("may", user=user) for user in (*people, None)]

    held.add(permission)
    assert [everybody() for _ in range(3)] == [["True", "False", "False"]] * 3
    held.remove(permission)
    assert [everybody() for _ in range(2)] == [["False", "False", "False"]] * 2
    held.add(permission)
    assert everybody() == ["True", "False", "False"]


@pytest.mark.parametrize("variables", [[], ["search_path"]])
def test_two_schemas_of_the_database_never_share(ask, schemas, variables, elsewhere):  # noqa: F811  # fixtures
    def read(schema):
        execute(f"SET search_path TO {schema}")
        return ask("names")

    with declared(*variables):
        for _ in range(2):
            for schema in ("one", "two"):
                assert elsewhere(read, schema) == read(schema) == schema
        execute("RESET search_path")
        assert ask("names") == ""
    assert len(CALLS) == (3 if variables else 9)


@pytest.mark.parametrize("variables", [[], ["app.tenant", "role"]])
def test_two_roles_and_tenants_of_a_policy_never_share(ask, policy, variables):  # noqa: F811  # fixtures
    def read(tenant):
        with atomic():
            execute(f"SET LOCAL ROLE {READER}")
            execute("SELECT set_config('app.tenant', %s, true)", [tenant])
            return ask("names")

    with declared(*variables):
        for _ in range(2):
            assert [read("one"), read("two"), read("three")] == ["one", "two", ""]
            assert ask("names") == "one,two"
    assert len(CALLS) == (4 if variables else 7)
