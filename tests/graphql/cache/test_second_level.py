"""What loaders load, kept beyond the operation."""

from __future__ import annotations

import threading

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef
from django.test import RequestFactory, override_settings
from promise import Promise

from dbopt.cache import bypass, cached_query, counters, invalidate
from dbopt.exceptions import ConfigurationError, LoaderContractError
from dbopt.graphql import DataLoader, ModelLoader, SecondLevel, clear_loaders
from dbopt.graphql.execution.promises import held_queue, run_next_job
from dbopt.graphql.execution.registry import clear_registry
from dbopt.tenancy import current_tenant, tenant_context
from tests.testapp.models import Author, Book, Cafe, Shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]

LOADED = []


def public(**options):
    return SecondLevel(scope="PUBLIC", timeout=60, **options)


class Noting:
    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        return super().batch_load(keys)


class AuthorByPk(ModelLoader):
    model = Author
    second_level = public()


class AuthorByEmail(ModelLoader):
    model = Author
    key_field = "email"
    second_level = public()


class CafeByPk(ModelLoader):
    model = Cafe
    second_level = public()


class BooksOf(DataLoader):
    second_level = public()

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        return dict(Book.objects.filter(author__in=keys).values_list("author").annotate(Count("pk")))


class Mine(DataLoader):
    second_level = SecondLevel(scope="USER")

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        count = Book.objects.count()
        return [f"{self.context.user.username} {key} {count}" for key in keys]


class Peeking(DataLoader):
    second_level = public()

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        count = Book.objects.count()
        return [f"{self.context.user.username} {key} {count}" for key in keys]


class Prepared(DataLoader):
    second_level = public()

    def set_up(self):
        self.name = self.context.user.username

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        count = Book.objects.count()
        return [f"{self.name} {key} {count}" for key in keys]


class Codes(DataLoader):
    second_level = public()

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        codes = ",".join(Shop.objects.filter(tenant=current_tenant()).values_list("code", flat=True))
        return [codes for _ in keys]


class Weather(DataLoader):
    second_level = public(tags=["weather"])

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        return [f"sunny {len(LOADED)}" for _ in keys]


class Tagless(DataLoader):
    second_level = public()

    def batch_load(self, keys):
        LOADED.append(sorted(keys))
        return keys


LOADERS = (AuthorByPk, AuthorByEmail, CafeByPk, BooksOf, Mine, Peeking, Prepared, Codes, Weather, Tagless)


@pytest.fixture(autouse=True)
def nothing_loaded():
    LOADED.clear()
    for loader in LOADERS:
        loader.second_level.spec_of(loader).forget()


@pytest.fixture
def authors(shop_database):
    made = Author.objects.bulk_create(Author(name=f"A{n}", email=f"{n}@example.com") for n in range(30))
    Book.objects.bulk_create(Book(title="B", author=author) for author in made[:2])
    return made


def request_of(user=None):
    request = RequestFactory().get("/")
    request.user = AnonymousUser() if user is None else User.objects.get(pk=user.pk)
    return request


def load(loader, keys, *, context=None, user=None):
    """Load in an operation of its own."""
    context = request_of(user) if context is None else context
    try:
        with held_queue():
            promise = loader(context).load_many(keys)
            while run_next_job():
                pass
            return promise.get()
    finally:
        clear_registry(context)


def names(authors):
    return [author and author.name for author in authors]


@pytest.mark.parametrize("count", [1, 10, 30])
def test_hits_cost_one_round_trip_and_no_statement(authors, commands, queries, count):
    keys = [author.pk for author in authors[:count]]
    with commands() as sent, queries() as ran:
        first = load(AuthorByPk, keys)
    # Values and tokens; the tokens that nobody had; what was loaded.
    assert (len(sent), len(ran)) == (3, 1)

    with commands() as sent, queries() as ran:
        second = load(AuthorByPk, keys)

    assert names(second) == names(first) == [f"A{n}" for n in range(count)]
    assert (len(sent), ran) == (1, [])


def test_only_what_is_missing_is_loaded(authors, queries):
    keys = [author.pk for author in authors]
    load(AuthorByPk, keys[:20])

    with queries() as ran:
        found = load(AuthorByPk, keys)

    assert names(found) == [f"A{n}" for n in range(30)]
    assert len(ran) == 1
    outcomes = counters.counters_of(f"{__name__}.AuthorByPk").outcomes
    assert dict(outcomes) == {"miss": 30, "hit": 20}


def test_write_to_a_row_makes_only_its_value_invalid(authors, queries):
    keys = [author.pk for author in authors]
    load(AuthorByPk, keys)

    Author.objects.filter(pk=keys[3]).update(name="new")
    found = load(AuthorByPk, keys)

    assert names(found) == [f"A{n}" if n != 3 else "new" for n in range(30)]
    assert counters.counters_of(f"{__name__}.AuthorByPk").outcomes["hit"] == 29
    Author.objects.filter(name="A4").update(name="newer")
    assert names(load(AuthorByPk, keys))[3:5] == ["new", "newer"]


def test_row_that_is_not_there_is_seen_as_soon_as_it_is(authors):
    pk = authors[-1].pk + 1
    assert [load(AuthorByPk, [pk]) for _ in range(2)] == [[None]] * 2

    Author.objects.create(pk=pk, name="late", email="late@example.com")

    assert names(load(AuthorByPk, [pk])) == ["late"]
    Author.objects.filter(pk=pk).delete()
    assert load(AuthorByPk, [pk]) == [None]


def test_row_in_two_tables_and_other_unique_fields_depend_on_tables(authors, queries):
    cafe = Cafe.objects.create(name="Corner", seats=3)
    for _ in range(2):
        assert [found.name for found in load(CafeByPk, [cafe.pk])] == ["Corner"]
        assert names(load(AuthorByEmail, ["0@example.com", "none"])) == ["A0", None]
    with queries() as ran:
        load(CafeByPk, [cafe.pk])
        load(AuthorByEmail, ["0@example.com", "none"])
    assert ran == []

    Cafe.objects.filter(pk=cafe.pk).update(name="Round")
    Author.objects.create(name="N", email="none")

    assert [found.name for found in load(CafeByPk, [cafe.pk])] == ["Round"]
    assert names(load(AuthorByEmail, ["0@example.com", "none"])) == ["A0", "N"]


def test_loader_that_filters_depends_on_what_its_batch_read(authors):
    class Published(Noting, ModelLoader):
        model = Author
        second_level = public()

        def get_queryset(self):
            return super().get_queryset().filter(books__title="B").distinct()

    keys = [author.pk for author in authors[:3]]
    for _ in range(2):
        assert names(load(Published, keys)) == ["A0", "A1", None]
    assert len(LOADED) == 1

    Book.objects.create(title="B", author=authors[2])

    assert names(load(Published, keys)) == ["A0", "A1", "A2"]


def test_rows_that_are_there_because_of_other_rows_depend_on_the_table(authors):
    class Namesake(ModelLoader):
        model = Author
        second_level = public()

        def rows(self):
            others = Author.objects.filter(name=OuterRef("name")).exclude(pk=OuterRef("pk"))
            return Author.objects.filter(Exists(others))

    keys = [author.pk for author in authors]
    for _ in range(2):
        assert names(load(Namesake, keys)) == [None] * 30

    Author.objects.filter(pk=keys[29]).update(name="A0")

    assert names(load(Namesake, keys)) == ["A0", *[None] * 28, "A0"]


def test_loader_of_ones_own_depends_on_its_tables(authors):
    keys = [author.pk for author in authors[:3]]
    for _ in range(2):
        assert load(BooksOf, keys) == [1, 1, None]
    assert len(LOADED) == 1

    Book.objects.create(title="new", author=authors[2])

    assert load(BooksOf, keys) == [1, 1, 1]


def test_values_of_users_never_mix(authors, people):
    for loader in (Mine, Peeking, Prepared):
        LOADED.clear()
        for _ in range(3):
            for user in (*people, None):
                name = user.username if user else ""
                assert load(loader, [1, 2], user=user) == [f"{name} 1 2", f"{name} 2 2"]
        assert LOADED == [[1, 2]] * 3


@pytest.mark.parametrize("required", [False, True])
def test_values_of_tenants_never_mix(shop_database, required):
    for tenant in (1, 2):
        Shop.objects.create(code=f"s{tenant}", tenant=tenant)
    with override_settings(DBOPT={**settings.DBOPT, "TENANCY": {"RESOLVER": "x.y", "REQUIRED": required}}):
        for _ in range(2):
            for tenant in (1, 2):
                with tenant_context(tenant):
                    assert load(Codes, ["k"]) == [f"s{tenant}"]
        assert len(LOADED) == 2
        assert [load(Codes, ["k"]) for _ in range(2)] == [[""]] * 2
        assert len(LOADED) == 4


def test_keys_of_other_types_are_other_keys(shop_database):
    for key in (1, "1", True, 1.5):
        assert load(Weather, [key]) == load(Weather, [key])

    assert len(LOADED) == 4


def test_parameters_tell_loaders_apart(authors):
    class Prefixed(DataLoader):
        second_level = public()

        def batch_load(self, keys):
            count = Book.objects.count()
            return [f"{self.params} {key} {count}" for key in keys]

    context = request_of()
    for _ in range(2):
        for params in ((1,), ("1",), (1, 2), (frozenset({3}),), (object,)):
            assert Prefixed(context, *params).load("k").get() == f"{params} k 2"
        clear_registry(context)


def test_tags_and_loaders_without_any(shop_database):
    assert load(Weather, ["a"]) == load(Weather, ["a"]) == ["sunny 1"]
    invalidate("weather")
    assert load(Weather, ["a"]) == ["sunny 2"]

    LOADED.clear()
    assert load(Tagless, ["a"]) == load(Tagless, ["a"]) == ["a"]
    assert len(LOADED) == 2
    assert dict(counters.counters_of(f"{__name__}.Tagless").refusals) == {"no_dependencies": 2}


def test_write_between_read_and_store_is_not_lost(authors, threads):
    has_read, may_go = threading.Event(), threading.Event()

    class Slow(ModelLoader):
        model = Author
        second_level = public()

        def batch_load(self, keys):
            found = super().batch_load(keys)
            has_read.set()
            assert may_go.wait(20)
            return found

    # The row mode is for loaders whose batch_load is ModelLoader's; this one depends on its table.
    slow = threads(load, Slow, [authors[0].pk])
    assert has_read.wait(20)
    Author.objects.filter(pk=authors[0].pk).update(name="new")
    may_go.set()

    assert names(slow.result(20)) == ["A0"]
    assert names(load(Slow, [authors[0].pk])) == ["new"]


def test_write_between_read_and_store_of_a_row_is_not_lost(authors, threads):
    has_read, may_go = threading.Event(), threading.Event()

    def slowly():
        def note(execute, sql, params, many, context):
            found = execute(sql, params, many, context)
            if "testapp_author" in sql:
                has_read.set()
                assert may_go.wait(20)
            return found

        with connection.execute_wrapper(note):
            return load(AuthorByPk, [authors[0].pk])

    slow = threads(slowly)
    assert has_read.wait(20)
    Author.objects.filter(pk=authors[0].pk).update(name="new")
    may_go.set()

    assert names(slow.result(20)) == ["A0"]
    assert names(load(AuthorByPk, [authors[0].pk])) == ["new"]


def test_transaction_that_wrote_goes_around(authors):
    key = authors[0].pk
    load(AuthorByPk, [key])
    with transaction.atomic():
        Author.objects.filter(pk=key).update(name="draft")
        assert names(load(AuthorByPk, [key])) == ["draft"]
        transaction.set_rollback(True)

    assert names(load(AuthorByPk, [key])) == ["A0"]


def test_bypass_and_cache_out_of_reach(authors):
    load(BooksOf, [authors[0].pk])
    with bypass():
        load(BooksOf, [authors[0].pk])
    caches = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    with override_settings(CACHES=caches):
        assert load(BooksOf, [authors[0].pk]) == [1]

    assert len(LOADED) == 3


def test_promise_of_values_is_passed_on(authors):
    class Later(DataLoader):
        second_level = public()

        def batch_load(self, keys):
            LOADED.append(keys)
            return Promise.resolve([f"{key} {Book.objects.count()}" for key in keys])

    assert [load(Later, [1, 2]) for _ in range(2)] == [["1 2", "2 2"]] * 2
    assert len(LOADED) == 2


def test_contract_of_loaders_holds(authors):
    class Short(DataLoader):
        second_level = public()

        def batch_load(self, keys):
            return [Book.objects.count()]

    with pytest.raises(LoaderContractError) as caught:
        load(Short, [1, 2])

    assert str(caught.value) == (
        "Short.batch_load returned 1 values for 2 keys. Return one value a key, in the order of the keys, or a mapping."
    )


def test_error_of_one_key_is_not_kept(authors):
    class Failing(DataLoader):
        second_level = public()

        def batch_load(self, keys):
            LOADED.append(keys)
            count = Book.objects.count()
            return [count if key else ValueError("no") for key in keys]

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            load(Failing, [1, 0])
    assert load(Failing, [1]) == [2]
    assert LOADED == [[1, 0], [0]]
    assert counters.counters_of(Failing.second_level.spec_of(Failing).name).sets == 1


def test_cached_function_around_depends_on_what_came_from_the_second_level(authors):
    @cached_query(timeout=60)
    def name(pk: int) -> str:
        LOADED.append(pk)
        return AuthorByPk().load(pk).get().name

    key = authors[0].pk
    load(AuthorByPk, [key])
    assert [name(key) for _ in range(2)] == ["A0"] * 2
    assert len(LOADED) == 1

    Author.objects.filter(pk=key).update(name="new")

    assert name(key) == "new"


def test_clear_asks_anew_and_finds_what_is_stored(authors, queries):
    context = request_of()
    AuthorByPk(context).load(authors[0].pk).get()
    clear_loaders(context)

    with queries() as ran:
        assert AuthorByPk(context).load(authors[0].pk).get().name == "A0"

    assert ran == []
    clear_registry(context)


def test_no_scope_no_second_level():
    assert ModelLoader.second_level is None
    with pytest.raises(TypeError, match="scope"):
        SecondLevel()
    with pytest.raises(ConfigurationError) as caught:
        SecondLevel(scope="EVERYBODY")
    assert str(caught.value) == 'SecondLevel(scope=\'EVERYBODY\'): choose one of "PUBLIC", "ROLE", "USER".'
