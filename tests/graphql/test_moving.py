"""The examples of docs/moving-graphql.md, run as they stand there: the same answers, with the statements that it says."""

from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from graphene_django import registry

from dbopt.graphql import DboptExecutionContext
from dbopt.graphql.execution.core_versions import executed_by
from tests.testapp.models import Author, Book, Publisher

PAGE = Path(__file__).parents[2] / "docs/moving-graphql.md"
PRELUDE = """
from collections import defaultdict

import graphene
from django.db import connection
from graphene_django import DjangoObjectType
from promise import Promise

from tests.testapp.models import Author, Book, Publisher


class PublisherNode(DjangoObjectType):
    class Meta:
        model = Publisher
        fields = ("name",)
"""
# The first examples are about the schema: their types are the simplest that there can be.
TYPES = """
class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("title", "publisher")
"""
AUTHORS = """
class AuthorNode(DjangoObjectType):
    class Meta:
        model = Author
        fields = ("name", "books")
"""
OPTIMIZER, WAITING = "From graphene-django-optimizer", '"DataLoader not batching"'
CACHING = "Query caching, and invalidation in mutations"
NESTED = "{ authors { name books { title publisher { name } } } }"
FEWER = {
    "From plain graphene-django": NESTED,
    "With prefetch_related by hand": NESTED,
    "Loaders in the context, resolvers that use them": "{ authors { name titles } }",
}
PROMISES = {
    "From graphene 2 with promise": "{ authors { name titles } }",
    "From Saleor-style loaders": "{ authors { name publishers } }",
}


def sections():
    """Heading -> text below it."""
    parts = re.split(r"^##+ (.*)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples(heading):
    """The code before, the code after, and the statements that each says (None where it says something else)."""
    found = re.findall(r"^```python\n(.*?)^```$", sections()[heading], re.MULTILINE | re.DOTALL)
    marks = [re.match(r"# (before|after): (\d+)?", code).groups() for code in found]
    assert [when for when, _ in marks] == ["before", "after"]
    return (*found, [said and int(said) for _, said in marks])


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import code as a module of its own, whose types no other test sees."""

    def load(code):
        monkeypatch.setattr(registry, "registry", registry.Registry())
        types = "".join(part for part in (TYPES, AUTHORS) if part.split("(")[0].strip() not in code)
        file = tmp_path / "example.py"
        file.write_text(PRELUDE + types + code)
        spec = importlib.util.spec_from_file_location("example", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.schema

    return load


@pytest.fixture
def shop(db):
    publishers = Publisher.objects.bulk_create([Publisher(name=f"P{n}") for n in range(3)])
    authors = Author.objects.bulk_create([Author(name=f"Author {n}", email=f"{n}@example.com") for n in range(10)])
    Book.objects.bulk_create(
        [
            Book(title=f"B{n}.{author.name}", author=author, publisher=publishers[n], rating=n)
            for author in authors
            for n in range(2)
        ]
    )


def ask(schema, text, **options):
    """Return (answer, statements)."""
    context = type("Context", (), {})()
    with CaptureQueriesContext(connection) as statements:
        result = schema.execute(text, context_value=context, **options)
    assert result.errors is None
    return result.data, len(statements)


def ask_dbopt(schema, text):
    return ask(schema, text, **executed_by(DboptExecutionContext))


@pytest.mark.parametrize("heading", FEWER)
def test_same_answer_with_fewer_statements(shop, load, heading):
    before, after, said = examples(heading)

    slow = ask(load(before), FEWER[heading])
    fast = ask_dbopt(load(after), FEWER[heading])

    assert fast[0] == slow[0]
    assert len(slow[0]["authors"]) == 10
    assert [slow[1], fast[1]] == said


def test_graphene_django_optimizer(shop, load):
    pytest.importorskip("graphene_django_optimizer")
    before, after, said = examples(OPTIMIZER)
    text = "{ authors { name initials best books { title publisher { name } } } }"

    slow = ask(load(before), text)
    fast = ask_dbopt(load(after), text)

    assert fast[0] == slow[0]
    assert slow[0]["authors"][0]["best"] == "B1.Author 0"
    assert [slow[1], fast[1]] == said


@pytest.mark.parametrize("heading", PROMISES)
def test_promise_loaders_work_as_they_are_and_after_moving(shop, load, heading):
    before, after, said = examples(heading)
    schema = load(before)

    empty, _ = ask(schema, PROMISES[heading])
    as_they_are = ask_dbopt(schema, PROMISES[heading])
    moved = ask_dbopt(load(after), PROMISES[heading])

    assert {len(author.popitem()[1]) for author in empty["authors"]} == {0}
    assert moved == as_they_are
    assert {len(author.popitem()[1]) for author in moved[0]["authors"]} == {2}
    assert [None, moved[1]] == said


def test_loop_that_waits_is_told_and_its_cure_is_quiet(shop, load, caplog):
    before, after, said = examples(WAITING)
    caplog.set_level(logging.WARNING, logger="dbopt.graphql")

    slow = ask_dbopt(load(before), "{ names }")
    (warning,) = [record.getMessage() for record in caplog.records]
    fast = ask_dbopt(load(after), "{ names }")

    assert warning.startswith("AuthorByIdLoader does not batch: Query.resolve_names (")
    assert len(caplog.records) == 1
    assert fast[0] == slow[0]
    assert [slow[1], fast[1]] == said


@pytest.mark.django_db(transaction=True)
def test_cached_function_is_asked_once_until_a_mutation_writes(load):
    Author.objects.create(name="Ursula", email="u@example.com")
    before, after, said = examples(CACHING)
    slow, fast = load(before), load(after)

    assert [ask(slow, "{ names }") for _ in range(2)] == [({"names": ["Ursula"]}, 1)] * 2
    assert [ask_dbopt(fast, "{ names }") for _ in range(2)] == [({"names": ["Ursula"]}, 1), ({"names": ["Ursula"]}, 0)]
    ask_dbopt(fast, "mutation { rename { ok } }")
    assert ask_dbopt(fast, "{ names }") == ({"names": ["renamed"]}, 1)
    assert said == [1, 1]


def test_every_example_of_the_page_is_run():
    shown = {heading for heading, text in sections().items() if "```python\n# before" in text}

    assert shown == {*FEWER, *PROMISES, OPTIMIZER, WAITING, CACHING}
