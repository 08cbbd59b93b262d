"""Loaders of rows, as a user writes them."""

from __future__ import annotations

import uuid

import pytest

from dbopt.graphql import ModelLoader, RelatedLoader
from dbopt.graphql.execution.promises import held_queue, run_next_job
from tests.testapp.models import Author, Book, Profile, Shop, Tag

pytestmark = pytest.mark.django_db


class AuthorLoader(ModelLoader):
    model = Author


class AuthorByEmailLoader(ModelLoader):
    model = Author
    key_field = "email"


class BookByKeyLoader(ModelLoader):
    model = Book
    key_field = "key"


class ProfileByAuthorLoader(ModelLoader):
    model = Profile
    key_field = "author"


class BooksByAuthorLoader(RelatedLoader):
    relation = Author.books
    order_by = ("-title",)


class TagsByBookLoader(RelatedLoader):
    relation = Book.tags
    order_by = ("slug",)


class BooksByTagLoader(RelatedLoader):
    relation = Tag.books
    order_by = ("title",)


class FriendsLoader(RelatedLoader):
    relation = Author.friends


class ShopsByBestsellerLoader(RelatedLoader):
    relation = Book.shop_set


@pytest.fixture
def author():
    author = Author.objects.create(name="Ann", email="ann@example.com")
    books = [Book.objects.create(title=title, author=author) for title in ("One", "Two")]
    tags = [Tag.objects.create(slug=slug) for slug in ("a", "b")]
    books[0].tags.add(*tags)
    books[1].tags.add(tags[1])
    return author


def load(loader, *keys):
    with held_queue():
        promises = [loader.load(key) for key in keys]
        while run_next_job():
            pass
    return [promise.value for promise in promises]


def test_row_by_primary_key_in_any_form(author, django_assert_num_queries):
    with django_assert_num_queries(1):
        found = load(AuthorLoader({}), author.pk, str(author.pk), 0, "x", 10**30)

    assert found == [author, author, None, None, None]


def test_row_by_another_unique_field(author):
    book = author.books.first()

    assert load(AuthorByEmailLoader({}), "ann@example.com", "nobody") == [author, None]
    assert load(BookByKeyLoader({}), str(book.key), book.key, uuid.uuid4(), "no uuid") == [book, book, None, None]


def test_row_by_one_to_one_relation(author):
    profile = Profile.objects.create(author=author)

    assert load(ProfileByAuthorLoader({}), author.pk, 0) == [profile, None]


def test_prime_and_clear_take_keys_in_any_form(author):
    loader = AuthorLoader({}).prime(str(author.pk), "primed")
    assert load(loader, author.pk) == ["primed"]

    assert load(loader.clear(str(author.pk)), author.pk) == [author]


def test_rows_along_every_kind_of_relation(author):
    one, two = author.books.order_by("title")
    a, b = Tag.objects.order_by("slug")
    friend = Author.objects.create(name="Bob", email="bob@example.com")
    friend.friends.add(author)
    shop = Shop.objects.create(code="s", bestseller=one)

    assert load(BooksByAuthorLoader({}), author.pk, friend.pk) == [[two, one], []]
    assert load(TagsByBookLoader({}), one.pk, two.pk, 0) == [[a, b], [b], []]
    assert load(BooksByTagLoader({}), a.pk, b.pk) == [[one], [one, two]]
    assert load(FriendsLoader({}), author.pk, friend.pk) == [[friend], [author]]
    # The key is what the foreign key points at, not the primary key.
    assert load(ShopsByBestsellerLoader({}), one.key, two.key) == [[shop], []]


def test_get_queryset_may_filter_and_is_called_once_a_batch(author):
    class Filtered(BooksByAuthorLoader):
        calls = 0

        def get_queryset(self):
            type(self).calls += 1
            return super().get_queryset().filter(title="One")

    assert [[book.title for book in books] for books in load(Filtered({}), author.pk, 0)] == [["One"], []]
    assert Filtered.calls == 1


def test_to_one_relation_is_refused_by_related_loader():
    class Wrong(RelatedLoader):
        relation = Book.author

    with pytest.raises(TypeError, match=r"is not a to-many relation\. Use a ModelLoader for a to-one relation\.$"):
        Wrong({})
