"""Cached functions as methods, and what cannot be told apart from another function is refused."""

from __future__ import annotations

from functools import partial

import pytest

from dbopt.cache import cached_metrics, cached_query
from dbopt.exceptions import ConfigurationError, UncacheableArgumentError
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


class Shelf:
    kind = "shelf"

    def __init__(self, number):
        self.number = number

    def __cache_key__(self):
        return self.number

    @cached_query(timeout=60)
    def count(self, word="none"):
        return [self.kind, self.number, word, Author.objects.count()]

    @cached_metrics(timeout=60)
    def metric(self, word="none"):
        return [self.number, word, Author.objects.count()]

    @cached_query(timeout=60)
    async def count_async(self, word="none"):
        return [self.number, word, await Author.objects.acount()]

    @classmethod
    @cached_query(timeout=60)
    def of_class(cls, word="none"):
        return [cls.kind, word, Author.objects.count()]

    @staticmethod
    @cached_query(timeout=60)
    def of_nobody(word="none"):
        return [word, Author.objects.count()]


class Drawer(Shelf):
    kind = "drawer"


def test_what_takes_arguments_takes_the_object_first(outcomes):
    shelf = Shelf(1)
    assert shelf.count("a") == ["shelf", 1, "a", 0]
    Author.objects.all()._raw_delete("default")

    assert shelf.count.uncached("a") == ["shelf", 1, "a", 0]
    assert shelf.count.refresh("a") == ["shelf", 1, "a", 0]
    assert shelf.count("a") == ["shelf", 1, "a", 0]
    assert outcomes(Shelf.count)["hits"] == 1
    assert shelf.count.invalidate("a") is True
    shelf.count("a")
    assert outcomes(Shelf.count)["hits"] == 1
    assert shelf.count.name == Shelf.count.name


def test_metrics_and_async_methods_too():
    async def script():
        return [await Shelf(1).count_async("a"), await Shelf(1).count_async.refresh("a")]

    from asgiref.sync import async_to_sync

    assert async_to_sync(script)() == [[1, "a", 0]] * 2
    assert Shelf(1).metric.with_age("a").value == [1, "a", 0]


def test_class_that_inherits_has_results_of_its_own():
    assert Shelf(1).count()[0] == "shelf"
    assert Drawer(1).count()[0] == "drawer"


def test_class_of_a_classmethod_is_an_argument_where_its_instances_are(outcomes):
    assert [Shelf.of_class(), Drawer.of_class(), Drawer.of_class()] == [
        ["shelf", "none", 0],
        ["drawer", "none", 0],
        ["drawer", "none", 0],
    ]
    assert Shelf.of_nobody("a") == Shelf(1).of_nobody("a") == ["a", 0]

    class Plain:
        @classmethod
        @cached_query(timeout=60)
        def of_class(cls):
            return Author.objects.count()

    with pytest.raises(UncacheableArgumentError, match=r"is the class .*Plain"):
        Plain.of_class()


def test_two_functions_of_one_name_share_no_result():
    Author.objects.create(name="Ada", email="ada@example.org")

    @cached_query(timeout=60, name="methods:same")
    def count():
        return Author.objects.count()

    @cached_query(timeout=60, name="methods:same")
    def names():
        return list(Author.objects.values_list("name", flat=True))

    assert [count(), names(), count()] == [1, ["Ada"], 1]


@pytest.mark.parametrize(
    ("decorated", "message"),
    [
        (lambda: 1, r"<lambda>: a name is text, not empty; a lambda has none of its own"),
        (partial(sorted, []), r"cached_query decorates functions, not objects of type partial"),
        # Bound to one manager or the other, both have one path.
        (Book.objects.count, r"not objects of type method"),
        (classmethod(lambda cls: 1), r"below @classmethod and @staticmethod, not above"),
    ],
)
def test_what_has_no_path_of_its_own_is_refused(decorated, message):
    with pytest.raises(ConfigurationError, match=message):
        cached_query(timeout=60)(decorated)
