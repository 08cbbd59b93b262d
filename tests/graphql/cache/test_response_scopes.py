"""Who shares an answer: nobody gets what was computed for somebody else."""

from __future__ import annotations

import subprocess
import sys

import graphene
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.models import User as BaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import override_settings
from django.utils.functional import SimpleLazyObject

from dbopt.cache import counters
from dbopt.graphql import GraphQLView, cache_control
from dbopt.graphql.cache.operations import RESPONSES
from dbopt.tenancy import tenant_context
from tests.cache.conftest import connect
from tests.graphql.cache.bookshop import CALLS, VIEW, AuthorByPk, ask, data, request_of
from tests.testapp.models import Author, Book, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@pytest.fixture
def people(shop_database):
    yield [BaseUser.objects.create_user(name) for name in ("ann", "bob")]
    with connect() as cleaner:
        for table in ("user_user_permissions", "user_groups", "group_permissions", "user", "group"):
            cleaner.execute(f"DELETE FROM auth_{table}")
        cleaner.execute("DELETE FROM django_session")


def grant(user):
    user.user_permissions.add(Permission.objects.get(codename="view_book"))


def refusals():
    return dict(counters.counters_of(RESPONSES).refusals)


def test_user_scope_is_the_default(people):
    ann, bob = people
    askers = [ann, bob, None]
    for _ in range(3):
        assert [data("{ who }", user=user)["who"] for user in askers] == ["ann:0", "bob:0", ":0"]
    assert CALLS == ["who"] * 3


def test_hit_of_a_user_costs_one_round_trip(people, commands, queries):
    ann, _ = people
    data("{ who }", user=ann)
    request = request_of("{ who }", user=ann)

    with commands() as sent, queries() as ran:
        VIEW(request)

    assert (len(sent), ran, CALLS) == (1, [], ["who"])


def test_what_is_declared_public_and_looks_at_the_user_is_the_users(people):
    ann, bob = people
    query = '{ peek(at: "user") }'
    for _ in range(3):
        assert [data(query, user=user)["peek"] for user in (ann, bob, None)] == ["ann:0", "bob:0", ":0"]
    assert CALLS == ["peek"] * 3


def test_child_that_looks_at_the_user_makes_the_whole_the_users(people):
    ann, bob = people
    Book.objects.create(title="One", author=Author.objects.create(name="Ann", email="ann@example.com"))
    query = "{ books { title reader } }"
    for _ in range(2):
        for user in (ann, bob):
            assert data(query, user=user) == {"books": [{"title": "One", "reader": user.username}]}
    assert CALLS == ["books"] * 2


def test_resolver_that_looks_late_after_others(people):
    """The first fields are everybody's; the last, behind a promise of a loader, asks who is there."""
    ann, bob = people
    author = Author.objects.create(name="Ann", email="ann@example.com")

    class Query(graphene.ObjectType):
        name = graphene.String(pk=graphene.Int())
        late = graphene.String(pk=graphene.Int())

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_name(self, info, pk):
            return AuthorByPk(info.context).load(pk).then(lambda found: found.name)

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_late(self, info, pk):
            return (
                AuthorByPk(info.context).load(pk).then(lambda found: f"{found.name} for {info.context.user.username}")
            )

    view = GraphQLView.as_view(schema=graphene.Schema(query=Query))
    query = f"{{ name(pk: {author.pk}) late(pk: {author.pk}) }}"
    for _ in range(3):
        for user in (ann, bob, None):
            name = user.username if user else ""
            assert ask(query, view=view, user=user) == {"data": {"name": "Ann", "late": f"Ann for {name}"}}


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ("cookies", "HTTP_COOKIE"),
        ("meta", "HTTP_X_CART"),
        ("headers", "HTTP_X_CART"),
        ("authorization", "HTTP_AUTHORIZATION"),
        ("host", "HTTP_HOST"),
    ],
)
def test_visitors_that_differ_in_what_was_looked_at_do_not_share(shop_database, at, name):
    values = ["testserver", "localhost"] if at == "host" else ["cart=red", "cart=blue"]
    expected = {"cookies": ["red:0", "blue:0"]}.get(at, [f"{value}:0" for value in values])
    query = f'{{ peek(at: "{at}") }}'

    # Without this cookie, Django's protection against forgery puts a new secret into META for each request.
    headers = {"HTTP_COOKIE": f"csrftoken={32 * 'a'}"}

    for _ in range(3):
        assert [data(query, **{**headers, name: value})["peek"] for value in values] == expected
    # What was learned from the first answer served all that came later.
    assert CALLS == ["peek"] * 2


def test_visitors_that_differ_elsewhere_share(shop_database):
    query = '{ peek(at: "nothing") }'
    for value in ("cart=red", "cart=blue"):
        assert data(query, HTTP_COOKIE=value) == {"peek": ":0"}
    assert CALLS == ["peek"]


def test_cookie_cart_of_a_user_scope(people):
    """The user is the same; the cart is in a cookie."""
    ann, _ = people
    query = '{ who peek(at: "cookies") }'
    for _ in range(2):
        for cart in ("red", "blue"):
            for user, name in ((ann, "ann"), (None, "")):
                assert data(query, user=user, HTTP_COOKIE=f"cart={cart}") == {"who": f"{name}:0", "peek": f"{cart}:0"}


def test_session_that_changes_does_not_get_its_old_answer(people):
    ann, _ = people
    session = SessionStore()
    session["cart"] = "red"
    session.save()
    query = '{ peek(at: "session") }'

    def answer():
        return data(query, user=ann, session=SessionStore(session.session_key))["peek"]

    assert [answer() for _ in range(3)] == ["red:0"] * 3
    assert CALLS == ["peek"]
    session["cart"] = "blue"
    session.save()

    assert [answer() for _ in range(2)] == ["blue:0"] * 2
    assert CALLS == ["peek"] * 2


def test_session_changed_on_the_way_is_no_ground_for_an_answer(people):
    session = SessionStore()
    session["cart"] = "unsaved"

    assert [data('{ peek(at: "session") }', session=session)["peek"] for _ in range(2)] == ["unsaved:0"] * 2
    assert CALLS == ["peek"] * 2
    assert refusals() == {"context": 1}
    # The second time it was asked before anything else.
    assert dict(counters.counters_of(RESPONSES).bypasses) == {"context": 1}


def test_attribute_that_middleware_put_on_the_request(shop_database):
    query = '{ peek(at: "attribute") }'

    def answer(**attributes):
        request = request_of(query)
        vars(request).update(attributes)
        return VIEW(request).content

    for _ in range(2):
        assert answer(plan="gold") == b'{"data":{"peek":"gold:0"}}'
        assert answer(plan="free") == b'{"data":{"peek":"free:0"}}'
        assert answer() == b'{"data":{"peek":"none:0"}}'
        # Nobody knows what is in it.
        assert answer(plan=object()).startswith(b'{"data":{"peek":"<object')
    assert CALLS == ["peek"] * 5


def test_whole_dictionary_of_the_request_cannot_be_told(shop_database):
    for cart in ("red", "blue", "red"):
        assert data('{ peek(at: "dict") }', HTTP_COOKIE=f"cart={cart}") == {"peek": f"{cart}:0"}
    assert refusals() == {"context": 1}
    assert dict(counters.counters_of(RESPONSES).bypasses) == {"context": 2}


def test_what_a_resolver_sets_itself_is_no_circumstance(people):
    for user in (*people, None):
        assert data('{ peek(at: "own") }', user=user) == {"peek": "mine:0"}
    assert CALLS == ["peek"]


def test_request_stays_what_it_was(shop_database):
    seen = []

    class Query(graphene.ObjectType):
        kind = graphene.String()

        @cache_control(max_age=60, scope="PUBLIC")
        def resolve_kind(self, info):
            seen.append(info.context)
            return str(isinstance(info.context, HttpRequest) and Book.objects.count())

    request = request_of("{ kind }")
    kind = type(request)
    GraphQLView.as_view(schema=graphene.Schema(query=Query))(request)

    assert seen == [request]
    assert type(request) is kind
    assert not [name for name in vars(request) if name.startswith("_dbopt")]


def test_lazy_user_is_not_loaded_for_what_is_everybodys(people, queries):
    ann, _ = people

    def request(query):
        asked = request_of(query)
        asked.user = SimpleLazyObject(lambda: BaseUser.objects.get(pk=ann.pk))
        return asked

    VIEW(request('{ peek(at: "nothing") }'))
    with queries() as ran:
        VIEW(request('{ peek(at: "nothing") }'))
    assert ran == []

    for _ in range(2):
        assert VIEW(request('{ peek(at: "user") }')).content == b'{"data":{"peek":"ann:0"}}'
    assert CALLS == ["peek"] * 2


def test_changed_row_of_the_user_is_another_user(people):
    ann, _ = people
    data("{ who }", user=ann)

    BaseUser.objects.filter(pk=ann.pk).update(username="anna")

    assert data("{ who }", user=ann) == {"who": "anna:0"}


def test_user_with_more_loaded_on_it_gets_no_stored_answer(people):
    ann, _ = people
    for _ in range(2):
        request = request_of("{ who }", user=ann)
        request.user.plan = "gold"
        VIEW(request)

    assert CALLS == ["who"] * 2


@pytest.mark.parametrize("through", ["user", "group"])
def test_revoked_permission_shows_at_once(people, through):
    ann, bob = people
    Book.objects.create(title="One", author=Author.objects.create(name="Ann", email="ann@example.com"))
    group = Group.objects.create(name="readers")
    permission = Permission.objects.get(codename="view_book")
    if through == "user":
        ann.user_permissions.add(permission)
    else:
        group.permissions.add(permission)
        ann.groups.add(group)
    for _ in range(2):
        assert [data("{ may }", user=user)["may"] for user in (ann, bob, None)] == [True, False, False]
    assert CALLS == ["may"] * 3

    if through == "user":
        ann.user_permissions.remove(permission)
    else:
        group.permissions.clear()

    assert [data("{ may }", user=user)["may"] for user in (ann, bob, None)] == [False, False, False]
    BaseUser.objects.filter(pk=bob.pk).update(is_superuser=True)
    assert data("{ may }", user=bob) == {"may": True}


def test_permissions_that_were_looked_up_before_are_looked_up_again(people):
    """A middleware has asked for some: what it got is kept on the user, and reading that is no statement."""
    ann, _ = people

    def answer():
        request = request_of("{ mayI }", user=ann)
        request.user.has_perm("testapp.add_book")
        return VIEW(request).content

    grant(ann)
    assert [answer() for _ in range(2)] == [b'{"data":{"mayI":true}}'] * 2
    assert CALLS == ["may_i"]

    ann.user_permissions.clear()

    assert answer() == b'{"data":{"mayI":false}}'


def test_role_is_shared_by_those_with_equal_permissions(people, commands, queries):
    ann, bob = people
    for user in people:
        grant(user)
    assert data("{ may }", user=ann) == data("{ may }", user=bob)
    assert CALLS == ["may"]
    request = request_of("{ may }", user=ann)

    with commands() as sent, queries() as ran:
        VIEW(request)

    # One for the permissions of the user, one for the response.
    assert (len(sent), ran, CALLS) == (2, [], ["may"])


def test_role_that_looks_at_more_is_the_users(people):
    for _ in range(2):
        for user in people:
            for cart in ("red", "blue"):
                found = data('{ may peek(at: "cookies") }', user=user, HTTP_COOKIE=f"cart={cart}")
                assert found == {"may": False, "peek": f"{cart}:0"}
    assert CALLS.count("peek") == 4


@pytest.fixture(params=[False, True], ids=["optional", "required"])
def tenancy(request):
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y", "REQUIRED": request.param}}):
        yield


def test_tenants_never_share(shop_database, tenancy):
    for tenant in (1, 2):
        Shop.objects.create(code=f"shop {tenant}", tenant=tenant)
    for _ in range(2):
        for tenant in (1, 2):
            with tenant_context(tenant):
                assert data("{ shops }") == {"shops": [f"shop {tenant}"]}
    assert counters.counters_of(RESPONSES).outcomes["hit"] == 2


def test_without_a_tenant_nothing_is_stored(shop_database, tenancy, commands):
    for _ in range(2):
        with commands() as sent:
            assert data('{ peek(at: "nothing") }') == {"peek": ":0"}
        assert sent == []
    assert CALLS == ["peek"] * 2


def test_public_answer_of_a_tenant_is_private_for_http(shop_database, tenancy):
    with tenant_context(1):
        response = VIEW(request_of('{ peek(at: "nothing") }', method="get"))

    assert response["Cache-Control"] == "private, max-age=60"


def test_users_of_two_processes_do_not_share(people, new_process):
    """Another process has not learned yet that the answer depends on the user."""
    for _ in range(2):
        for user in people:
            new_process()
            assert data('{ peek(at: "user") }', user=user) == {"peek": f"{user.username}:0"}


WITHOUT_AUTH = """
import django
from django.conf import settings

settings.configure(SECRET_KEY="x", DATABASES={}, INSTALLED_APPS=["graphene_django"])
django.setup()
import dbopt.graphql

print(dbopt.graphql.GraphQLView.__name__)
"""


def test_project_without_django_s_users_has_the_view():
    done = subprocess.run([sys.executable, "-c", WITHOUT_AUTH], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("GraphQLView\n", "")
