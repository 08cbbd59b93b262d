"""Whoever saves or deletes an instance from the cache without reading its row again is told where."""

from __future__ import annotations

import pickle
import warnings
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.db.models.signals import post_init, pre_delete

from dbopt.cache import cached_query
from dbopt.exceptions import CachedInstanceWarning
from tests.testapp.models import Author, Book

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300)
def author(pk: int):
    return Author.objects.get(pk=pk)


@cached_query(timeout=300, codec="pickle")
def pickled(pk: int):
    return Author.objects.get(pk=pk)


@cached_query(timeout=300)
def names_only():
    return list(Author.objects.only("name"))


@cached_query(timeout=300)
def books():
    return list(Book.objects.select_related("author"))


@pytest.fixture
def ada(shop_database):
    return Author.objects.create(name="Ada", email="ada@example.org")


@contextmanager
def noted():
    """Gather warnings as Python shows them unless it is told otherwise: each place once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield caught


def hit(function, *arguments):
    function(*arguments)
    return function(*arguments)


@pytest.mark.parametrize("function", [author, pickled])
def test_saving_a_copy_warns_once_a_place(ada, function):
    with noted() as caught:
        for _ in range(3):
            hit(function, ada.pk).save()
        hit(function, ada.pk).save(update_fields=["name"])

    assert [(entry.category, entry.filename) for entry in caught] == [(CachedInstanceWarning, __file__)] * 2
    assert str(caught[0].message) == (
        "A cached testapp.Author was saved, which may undo what others wrote since it was cached. Read the row first: "
        "refresh_from_db(), or select_for_update() in a transaction."
    )


def test_deleting_a_copy_warns(ada):
    with noted() as caught:
        hit(author, ada.pk).delete()

    assert [str(entry.message)[:36] for entry in caught] == ["A cached testapp.Author was deleted,"]
    assert not pre_delete.has_listeners(Author)


def test_caller_of_an_overridden_save_is_named(ada, monkeypatch):
    def save(self, *args, **kwargs):
        super(Author, self).save(*args, **kwargs)

    monkeypatch.setattr(Author, "save", save, raising=False)

    with noted() as caught:
        hit(author, ada.pk).save()
        hit(author, ada.pk).save()

    assert len({entry.lineno for entry in caught}) == 2


@pytest.mark.parametrize("arguments", [(), (None, None, Author.objects.all())])
def test_row_that_was_read_again_is_no_copy(ada, arguments):
    copy = hit(author, ada.pk)
    with noted() as caught:
        copy.refresh_from_db(*arguments)
        copy.save()
        copy.delete()

    assert caught == []


def test_one_column_read_again_is_not_the_row(ada):
    (copy,) = hit(names_only)
    with noted() as caught:
        assert copy.email == "ada@example.org"
        copy.save()

    assert len(caught) == 1


def test_related_copies_warn_too(ada):
    Book.objects.create(title="Notes", author=ada, price=Decimal("1.5"))
    (copy,) = hit(books)

    with noted() as caught:
        copy.author.save()

    assert len(caught) == 1


def test_model_that_is_built_with_its_signals_warns_too(ada):
    def seen(**_):
        """As a package that watches a model has it."""

    post_init.connect(seen, sender=Author)
    try:
        copy = hit(author, ada.pk)
    finally:
        post_init.disconnect(seen, sender=Author)

    with noted() as caught:
        copy.save()

    assert len(caught) == 1


def test_copy_that_went_through_a_pickle_is_still_one(ada):
    copy = pickle.loads(pickle.dumps(hit(author, ada.pk)))

    with noted() as caught:
        copy.save()

    assert len(caught) == 1


def test_everything_else_is_silent(ada):
    with noted() as caught:
        author(ada.pk).save()
        Author.objects.get(pk=ada.pk).save()
        Author(name="Ben").save()
        Author.objects.filter(pk=ada.pk).delete()

    assert caught == []
