"""Level "strict": not even between a COMMIT and the renewal of its tokens is the old value served."""

# ruff: noqa: PLR0913, PLR0917  races need several hands

from __future__ import annotations

import os
import signal
import threading

import pytest
from django.conf import settings
from django.db import connection, connections, transaction
from django.db.transaction import atomic
from django.test import override_settings

from dbopt.cache import cached_query, invalidate, statistics, writes
from dbopt.cache.names.keys import token_key
from dbopt.cache.names.tokens import bulk_tag, database_tag, is_pending, table_tag
from dbopt.cache.server import strict
from dbopt.cache.server.exchange import CacheServer
from dbopt.cache.server.servers import server
from dbopt.exceptions import ConfigurationError
from tests.cache import shop
from tests.cache.conftest import DEADLINE, wait_until
from tests.cache.valkeys import OwnValkey
from tests.testapp.models import Author, Publisher, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300, level="strict")
def strict_names():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


@cached_query(timeout=300, level="strict")
def strict_name(pk: int):
    return Author.objects.filter(pk=pk).values_list("name", flat=True).first()


@cached_query(timeout=300, level="strict")
def strict_slugs():
    return list(Tag.objects.values_list("slug", flat=True))


@cached_query(timeout=1)
def names_for_a_second():
    return list(Author.objects.order_by("name").values_list("name", flat=True))


def declared(**options):
    return override_settings(DBOPT={**settings.DBOPT, "CACHE": {"STRICT": ["testapp.Author"], **options}})


@pytest.fixture
def ada(shop_database):
    with declared():
        yield Author.objects.create(name="Ada", email="ada@example.org")


def rename(name="Grace"):
    Author.objects.filter(email="ada@example.org").update(name=name)


def rename_atomically():
    with atomic():
        rename()


def rename_manually():
    transaction.set_autocommit(False)
    rename()
    transaction.commit()
    transaction.set_autocommit(True)


def rename_in_sql():
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        rename()
        cursor.execute("COMMIT")


def rename_in_one_text():
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; UPDATE testapp_author SET name = 'Grace'; COMMIT")


def rename_by_function():
    with writes(Author), connection.cursor() as cursor:
        cursor.execute("SELECT rename_authors()")


def rename_by_function_atomically():
    with atomic():
        rename_by_function()


def rename_by_function_after_another_write():
    with writes(Author), connection.cursor() as cursor:
        Author.objects.filter(name="Nobody").update(name="x")
        cursor.execute("SELECT rename_authors()")
        os.kill(os.getpid(), signal.SIGKILL)


WRITES = [
    rename,
    rename_atomically,
    rename_manually,
    rename_in_sql,
    rename_in_one_text,
    rename_by_function,
    rename_by_function_atomically,
]


@pytest.fixture
def renaming(ada, outside):
    outside.execute(
        "CREATE FUNCTION rename_authors() RETURNS void LANGUAGE sql AS $$ UPDATE testapp_author SET name = 'Grace' $$"
    )
    yield
    outside.execute("DROP FUNCTION rename_authors()")


def pending(tag=None):
    found = server().peek([tag or table_tag("default", "testapp_author")])
    return any(token is not None and is_pending(token) for token in found.values())


def killed(write, *, by_itself=False):
    """Write in a process that is killed after its COMMIT, before it renews any token."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        if not by_itself:
            CacheServer.renew = lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL)
        write()
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.fixture
def quick_deaths(monkeypatch):
    monkeypatch.setattr(strict, "MARK_SECONDS", 0.3)


def test_strict_values_are_cached(ada, elsewhere, outcomes):
    for _ in range(3):
        assert elsewhere(strict_names) == ["Ada"]
    rename()
    for _ in range(3):
        assert elsewhere(strict_names) == ["Grace"]

    counted = outcomes(strict_names)
    assert (counted["hits"], counted["stale"], counted["refused"]) == (4, 1, {})


@pytest.mark.parametrize("write", WRITES)
def test_writer_killed_between_commit_and_renewal_leaves_nothing_stale(ada, renaming, elsewhere, outcomes, write):
    assert elsewhere(strict_names) == ["Ada"]
    assert elsewhere(strict_name, ada.pk) == "Ada"

    killed(write)

    for _ in range(3):
        assert elsewhere(strict_names) == ["Grace"]
        assert elsewhere(strict_name, ada.pk) == "Grace"
    assert outcomes(strict_names)["refused"] == {"pending": 3}


def test_declared_write_is_announced_for_the_whole_block(ada, renaming, elsewhere):
    elsewhere(strict_names)

    killed(rename_by_function_after_another_write, by_itself=True)

    assert elsewhere(strict_names) == ["Grace"]


@pytest.mark.parametrize("write", WRITES)
def test_dead_writers_are_forgotten_after_their_deadline(ada, renaming, quick_deaths, elsewhere, outcomes, write):
    elsewhere(strict_names)
    killed(write)

    def is_stored():
        assert elsewhere(strict_names) == ["Grace"]
        return outcomes(strict_names)["hits"] == 1

    wait_until(is_stored, what="a hit")
    assert not pending()


def test_level_commit_is_bounded_by_the_timeout_instead(ada, elsewhere):
    assert elsewhere(names_for_a_second) == ["Ada"]
    with override_settings(DBOPT=settings.DBOPT | {"CACHE": {}}):
        killed(rename)
        assert elsewhere(names_for_a_second) == ["Ada"]

        wait_until(lambda: elsewhere(names_for_a_second) == ["Grace"], what="the end of the old value")


@pytest.mark.parametrize("write", [rename, rename_atomically, rename_manually, rename_in_sql])
def test_while_a_commit_is_under_way_nothing_is_stored(ada, commit_gate, threads, elsewhere, outcomes, write):
    assert elsewhere(strict_names) == ["Ada"]
    writer = threads(write)
    commit_gate.wait_for_visitor()

    assert elsewhere(strict_names) == ["Ada"]
    assert elsewhere(shop.names) == ["Ada"]
    commit_gate.open()
    writer.result(DEADLINE)

    assert elsewhere(strict_names) == ["Grace"]
    assert elsewhere(shop.names) == ["Grace"]
    assert outcomes(strict_names)["refused"] == {"pending": 1}
    assert not pending()


def test_between_commit_and_renewal_the_new_value_is_read(ada, threads, elsewhere, monkeypatch):
    committed, go_on = threading.Event(), threading.Event()
    renew = CacheServer.renew

    def slowly(self, tags, **options):
        committed.set()
        assert go_on.wait(DEADLINE)
        return renew(self, tags, **options)

    assert elsewhere(strict_names) == ["Ada"]
    assert elsewhere(shop.names) == ["Ada"]
    monkeypatch.setattr(CacheServer, "renew", slowly)
    writer = threads(rename_atomically)
    assert committed.wait(DEADLINE)

    assert elsewhere(strict_names) == ["Grace"]
    assert elsewhere(shop.names) == ["Grace"], "the mark made it invalid too"
    go_on.set()
    writer.result(DEADLINE)
    assert elsewhere(shop.names) == ["Grace"]


def test_uncommitted_write_in_an_atomic_block_keeps_others_hitting(ada, elsewhere, outcomes):
    elsewhere(strict_names)
    with atomic():
        rename()
        assert elsewhere(strict_names) == ["Ada"]

    assert outcomes(strict_names)["hits"] == 1
    assert elsewhere(strict_names) == ["Grace"]


def test_one_of_two_writers_leaves_the_other_ones_mark(ada, commit_gate, threads, elsewhere, outcomes):
    elsewhere(strict_names)
    first = threads(rename_atomically)
    commit_gate.wait_for_visitor()

    Author.objects.create(name="Ben", email="ben@example.org")
    invalidate(Author)

    assert pending()
    assert elsewhere(strict_names) == ["Ada", "Ben"]
    assert outcomes(strict_names)["refused"] == {"pending": 1}
    commit_gate.open()
    first.result(DEADLINE)
    assert not pending()
    assert elsewhere(strict_names) == ["Ben", "Grace"]


def test_two_writers_of_which_one_dies(ada, elsewhere, outcomes, quick_deaths):
    elsewhere(strict_names)
    killed(rename)
    Author.objects.create(name="Ben", email="ben@example.org")

    assert elsewhere(strict_names) == ["Ben", "Grace"]
    wait_until(lambda: elsewhere(strict_names) and not pending(), what="the dead writer's end")
    assert elsewhere(strict_names) == ["Ben", "Grace"]


def test_mark_that_ends_while_the_commit_hangs_ends_in_the_new_value(
    ada, commit_gate, quick_deaths, threads, elsewhere
):
    writer = threads(rename_atomically)
    commit_gate.wait_for_visitor()
    assert elsewhere(strict_names) == ["Ada"]
    wait_until(lambda: elsewhere(strict_names) == ["Ada"] and not pending(), what="the end of the mark")
    assert elsewhere(strict_names) == ["Ada"]

    commit_gate.open()
    writer.result(DEADLINE)

    assert elsewhere(strict_names) == ["Grace"]


def test_mark_that_ends_while_the_transaction_is_open_is_made_again_before_its_commit(ada, quick_deaths, elsewhere):
    def slow_manual_write():
        transaction.set_autocommit(False)
        rename()
        assert pending()
        wait_until(lambda: elsewhere_in_child() and not pending(), what="the end of the mark")
        assert strict_names_of_others() == ["Ada"]
        transaction.commit()

    from concurrent.futures import ThreadPoolExecutor

    def strict_names_of_others():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: (strict_names(), connections.close_all())[0]).result(DEADLINE)

    def elsewhere_in_child():
        return strict_names_of_others() == ["Ada"]

    assert elsewhere(strict_names) == ["Ada"]
    killed(slow_manual_write)

    assert elsewhere(strict_names) == ["Grace"]


def test_evicted_mark_is_made_again_before_the_commit(ada, elsewhere, valkey):
    def write():
        transaction.set_autocommit(False)
        rename()
        valkey.flushdb()
        transaction.commit()

    elsewhere(strict_names)
    killed(write)

    assert elsewhere(strict_names) == ["Grace"]


@pytest.mark.parametrize("how", ["atomic", "manual", "sql", "failed"])
def test_rollback_leaves_no_mark(ada, elsewhere, outcomes, how):
    elsewhere(strict_names)
    if how == "atomic":
        with atomic():
            rename()
            transaction.set_rollback(True)
    elif how == "manual":
        transaction.set_autocommit(False)
        rename()
        assert pending()
        transaction.rollback()
        transaction.set_autocommit(True)
    elif how == "sql":
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            rename()
            cursor.execute("ROLLBACK")
    else:
        with pytest.raises(Exception, match="duplicate"):
            Author.objects.create(name="Twin", email="ada@example.org")

    assert not pending()
    assert elsewhere(strict_names) == ["Ada"]
    assert outcomes(strict_names)["refused"] == {}


def test_unknown_write_is_announced_too(ada, elsewhere):
    def write():
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN UPDATE testapp_author SET name = 'Grace'; END $$")

    elsewhere(strict_names)
    killed(write)

    assert pending(database_tag("default"))
    assert elsewhere(strict_names) == ["Grace"]


def test_table_that_is_not_declared_is_not_stored(ada, outcomes, caplog):
    from dbopt.cache.observation import observer

    observer._logged.clear()
    strict_slugs()
    strict_slugs()

    assert outcomes(strict_slugs)["refused"] == {"not_strict": 2}
    assert [record.getMessage() for record in caplog.records] == [
        'Results of level "strict" over testapp_tag are not stored: name the models in DBOPT["CACHE"]["STRICT"].'
    ]


@pytest.mark.parametrize("options", [{"STRICT": ["*"]}, {"LEVEL": "strict", "STRICT": []}])
def test_all_tables_may_be_declared_at_once(ada, outcomes, options):
    with declared(**options):
        strict_slugs()
        strict_slugs()

    assert outcomes(strict_slugs)["hits"] == 1


def test_unknown_model_is_refused_with_the_setting(ada):
    message = (
        'DBOPT["CACHE"]["STRICT"] names \'testapp.Writer\', which is no installed model. Write it as "app_label.Model".'
    )
    with declared(STRICT=["testapp.Writer"]), pytest.raises(ConfigurationError) as caught:
        rename()

    assert str(caught.value) == message


@cached_query(timeout=300, level="strict")
def strict_around_commit():
    return shop.names()


@cached_query(timeout=300)
def commit_around_strict():
    return strict_names()


def test_strict_result_holds_no_result_of_a_lower_level(ada, outcomes):
    shop.names()
    strict_around_commit()
    assert outcomes(strict_around_commit)["refused"] == {"inner_commit": 1}

    assert commit_around_strict() == commit_around_strict() == ["Ada"]
    assert outcomes(commit_around_strict)["hits"] == 1
    rename()
    assert commit_around_strict() == ["Grace"]


def test_only_writers_of_strict_tables_pay_for_it(ada, commands, elsewhere):
    with commands() as sent:
        Publisher.objects.create(name="Penguin")
    assert sent == [["EVALSHA"]]

    with commands() as sent:
        rename_atomically()
    assert sent == [["EVALSHA"], ["EVALSHA"]]


def test_writer_that_cannot_announce_writes_all_the_same(tmp_path, ada, elsewhere):
    valkey = OwnValkey(tmp_path)
    valkey.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": valkey.url}}
    with override_settings(CACHES=caches):
        assert elsewhere(strict_names) == elsewhere(strict_names) == ["Ada"]
        valkey.freeze()
        rename_atomically()
        assert statistics()["debt"] == 2

        assert elsewhere(strict_names) == ["Grace"]
        valkey.thaw()
        assert elsewhere(strict_names) == ["Grace"]
        wait_until(lambda: statistics()["debt"] == 0, what="debts paid")
        assert elsewhere(strict_names) == elsewhere(strict_names) == ["Grace"]
    valkey.close()


def test_marks_stay_in_the_token_of_their_tag(ada, valkey):
    tags = [table_tag("default", "testapp_author"), bulk_tag("default", "testapp_author")]
    strict_names()
    server().mark(tags, writer=b"writer-1")
    server().mark(tags, writer=b"writer-2")
    server().mark(tags, writer=b"writer-1")

    tokens = [valkey.get(token_key(server().namespace, tag)) for tag in tags]
    assert [len(token) for token in tokens] == [48, 48]
    server().renew(tags, writer=b"writer-2")
    remaining = valkey.get(token_key(server().namespace, tags[0]))
    assert len(remaining) == 32
    assert remaining[16:24] == b"writer-1"
