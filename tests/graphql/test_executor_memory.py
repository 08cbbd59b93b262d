"""What requests leave behind: nothing in reference cycles, and no growth."""

from __future__ import annotations

import gc
import itertools
import json
import tracemalloc
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.test import RequestFactory

import dbopt
from dbopt.graphql import GraphQLView
from tests.graphql import async_project as project
from tests.testapp.models import Author, Book

# Redis too: without it, writes that the cache owes pile up, up to a bound of their own.
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]

VIEW = GraphQLView.as_view(schema=project.SCHEMA)
ASYNC_VIEW = async_to_sync(project.VIEW)
BATCH = GraphQLView.as_view(schema=project.SCHEMA, batch=True)

PACKAGE = str(Path(dbopt.__file__).parent)

# It may grow by this much: what Python and Django remember for good, such as interned names.
BOUND = 64 * 1024
NUMBERS = itertools.count()

BODIES = {
    "relations": lambda n: (VIEW, {"query": "{ authors { name books { title author { id } } } }"}, 200),
    "promises": lambda n: (VIEW, {"query": "{ firstInThread }"}, 200),
    "errors": lambda n: (VIEW, {"query": "{ fail authors { books { later promised } } }"}, 200),
    "new text": lambda n: (VIEW, {"query": f"{{ a{n}: tenant }}"}, 200),
    "refused": lambda n: (VIEW, {"query": f"{{ nothing{n} }}"}, 400),
    "unreadable": lambda n: (VIEW, {"query": f"{{ a{n}"}, 400),
    "too large": lambda n: (VIEW, {"query": f"{{ {'tenant ' * 100} a{n}: tenant }}"}, 400),
    "variables": lambda n: (VIEW, {"query": "query Q($a: Int!) { tenant }", "variables": {"a": f"{n}"}}, 400),
    "batch": lambda n: (BATCH, [{"query": "{ tenant }"}, {"query": f"{{ a{n}: firstInThread }}"}], 200),
    "coroutines": lambda n: (
        ASYNC_VIEW,
        {"query": "{ count fail lost authors { books { later promised ten shout } } }"},
        200,
    ),
}


@pytest.fixture(autouse=True)
def rows(settings):
    settings.DBOPT = {"GRAPHQL": {"DOCUMENT_CACHE_CHARACTERS": 2_000, "MAX_COST": 10**9}}
    for number in range(3):
        author = Author.objects.create(name=f"A{number}", email=f"{number}@example.com")
        Book.objects.bulk_create([Book(title=f"B{book}", author=author) for book in range(3)])


def ask(name):
    view, body, status = BODIES[name](next(NUMBERS))
    request = RequestFactory().post("/graphql", json.dumps(body), content_type="application/json")
    assert view(request).status_code == status
    project.Gates.calls.clear()


@pytest.mark.parametrize("name", BODIES)
def test_request_leaves_nothing_in_cycles(name):
    ask(name)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        ask(name)
        gc.collect()
        left = sorted({type(thing).__qualname__ for thing in gc.garbage if is_ours(thing)})
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert left == []


def is_ours(thing):
    if type(thing).__module__.startswith(("dbopt.", "tests.")):
        return True
    # Of a function or a frame, the code says whose it is.
    code = getattr(thing, "f_code", None) or getattr(thing, "__code__", None)
    return code is not None and code.co_filename.startswith(PACKAGE)


def least_growth(count, *, windows=2):
    """Return by how many bytes Python's memory grows in so many requests; where a cache fills up, in the other window."""
    names = itertools.cycle(BODIES)
    sizes = []
    tracemalloc.start()
    try:
        for requests in (200, *[count] * windows):
            for name in itertools.islice(names, requests):
                ask(name)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return min(after - before for before, after in itertools.pairwise(sizes))


def test_hundreds_of_requests_do_not_grow():
    assert least_growth(100) < BOUND


@pytest.mark.long
def test_ten_thousand_requests_do_not_grow():
    assert least_growth(5_000) < BOUND
