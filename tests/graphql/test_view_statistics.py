"""What the response's extensions tell, and whom."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import graphene
import pytest
from django.db import connection
from django.test import override_settings
from graphene_django import DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import DataLoader, GraphQLView, optimize
from dbopt.graphql.reports import _current
from dbopt.monitoring.records import track_request
from dbopt.signals import batch_loaded
from tests.graphql.posting import ask
from tests.testapp.models import Author, Book

REGISTRY = Registry()
STAFF, USER = (SimpleNamespace(is_active=True, is_staff=is_staff) for is_staff in (True, False))
ASKING = {"headers": {"Dbopt-Statistics": "1"}}


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author")
        registry = REGISTRY


class Names(DataLoader):
    def batch_load(self, keys):
        return dict(Author.objects.filter(pk__in=keys).values_list("pk", "name"))


class AuthorNode(DjangoObjectType):
    slow_count = graphene.Int()
    loaded_name = graphene.String()

    class Meta:
        model = Author
        fields = ("id", "name", "books")
        registry = REGISTRY

    def resolve_slow_count(self, info):
        return Book.objects.filter(author=self, title__gte="secret value").count()

    def resolve_loaded_name(self, info):
        return Names(info.context).load(self.pk)


class Query(graphene.ObjectType):
    authors = graphene.List(AuthorNode)
    fail = graphene.String()

    def resolve_authors(self, info):
        return Author.objects.order_by("pk")

    def resolve_fail(self, info):
        raise ValueError("failed")


VIEW = GraphQLView.as_view(schema=optimize(graphene.Schema(query=Query)))
BATCH = GraphQLView.as_view(schema=optimize(graphene.Schema(query=Query)), batch=True)


@pytest.fixture
def authors(db):
    authors = Author.objects.bulk_create([Author(name=f"A{n}", email=f"{n}@example.com") for n in range(20)])
    Book.objects.bulk_create([Book(title="B", author=author) for author in authors])
    return authors


@pytest.fixture
def debug():
    with override_settings(DEBUG=True):
        yield


def statistics(text, **options):
    _, answer = ask(VIEW, {"query": text}, **options)
    return answer["extensions"]["dbopt"]


def test_repeated_statement_is_shown_with_its_line_and_without_values(authors, debug):
    found = statistics("{ authors { slowCount } }")

    (repeated,) = found["repeated"]
    assert found["statements"] == 21
    assert repeated["count"] == 20
    assert "count(*)" in repeated["statement"].lower()
    assert "testapp_book" in repeated["statement"]
    assert "secret" not in str(found)
    assert "test_view_statistics.py" in repeated["origin"]
    assert 0 < repeated["seconds"] <= found["statementSeconds"] <= found["seconds"]


def test_loaders_are_shown_and_nothing_is_repeated(authors, debug):
    found = statistics("{ authors { loadedName again: loadedName books { title } } }")

    assert found["repeated"] == []
    assert found["statements"] == 3
    names = next(row for row in found["loaders"] if row["loader"] == "Names")
    assert {**names, "seconds": None} == {"loader": "Names", "batches": 1, "keys": 20, "hits": 20, "seconds": None}
    assert len(found["loaders"]) == 2


def test_cost_is_shown(authors, debug):
    assert statistics("{ authors { name } }")["cost"] == 101


def test_record_of_the_request_counts_all_and_the_report_its_operation(authors, debug):
    with track_request("outer") as record:
        list(Author.objects.all())
        found = statistics("{ authors { name } }")

    assert (record.statements, found["statements"]) == (2, 1)


def test_each_operation_of_a_batch_has_its_own(authors, debug):
    _, answers = ask(BATCH, [{"query": "{ authors { name } }"}, {"query": "{ nope }"}, {"query": "{ fail }"}])

    assert [answer.get("extensions", {}).get("dbopt", {}).get("statements") for answer in answers] == [1, None, 0]


@pytest.mark.parametrize(
    ("user", "options", "is_shown"),
    [(STAFF, ASKING, True), (STAFF, {}, False), (USER, ASKING, False), (None, ASKING, False)],
)
def test_staff_who_ask_see_them(authors, user, options, is_shown):
    _, answer = ask(VIEW, {"query": "{ authors { name } }"}, user=user, **options)

    assert ("extensions" in answer) is is_shown


def test_user_is_not_loaded_for_those_who_do_not_ask(authors):
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError("the user was loaded")

    assert ask(VIEW, {"query": "{ authors { name } }"}, user=Untouchable())[0] == 200


@override_settings(DEBUG=True, DBOPT={"GRAPHQL": {"STATISTICS": False}})
def test_they_can_be_switched_off(authors):
    assert "extensions" not in ask(VIEW, {"query": "{ authors { name } }"})[1]


def test_nothing_stays_behind(authors, debug):
    receivers = len(batch_loaded.receivers)

    ask(VIEW, {"query": "{ authors { loadedName } fail }"})

    assert len(batch_loaded.receivers) == receivers
    assert _current.get() is None


@pytest.mark.django_db(transaction=True)
@override_settings(DEBUG=True)
def test_operations_of_other_threads_are_not_counted():
    for number in range(3):
        Author.objects.create(name=f"A{number}", email=f"{number}@example.com")
    barrier, found = threading.Barrier(4), []

    def work():
        barrier.wait()
        for _ in range(5):
            report = statistics("{ authors { loadedName } }")
            found.append((report["statements"], [(row["batches"], row["keys"]) for row in report["loaders"]]))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [(2, [(1, 3)])] * 20
