"""`manage.py dbopt_cache`: what it does, what it prints, how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from dbopt.cache import cached_query
from dbopt.cache.server import patterns, servers
from dbopt.cache.triggers.definitions import install, remove
from dbopt.tenancy import tenant_context
from tests.cache import shop
from tests.cache.conftest import wait_until
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop_database")]


@cached_query(timeout=300, name="command:number", tags=["command"])
def number(value: int):
    return value


@cached_query(timeout=300, name="commander:number", tags=["command"])
def other(value: int):
    return value


def run(*arguments):
    out = io.StringIO()
    call_command("dbopt_cache", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def fails(*arguments):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return caught.value.returncode, str(caught.value)


def is_cached(function, *arguments, outcomes):
    before = outcomes(function)["hits"]
    function(*arguments)
    return outcomes(function)["hits"] > before


def test_statistics_as_text_and_json():
    number(1)
    number(1)

    told = json.loads(run("stats", "--json"))

    assert told["byName"]["command:number"]["hits"] == 1
    assert told["byPrefix"]["command"]["misses"] == 1
    assert "command:number:" in run("stats")


@pytest.mark.parametrize(
    "arguments",
    [["testapp.Author"], ["--function", shop.names.name], ["--all"]],
)
def test_invalidate(arguments, outcomes):
    shop.names()
    assert is_cached(shop.names, outcomes=outcomes)

    assert json.loads(run("invalidate", *arguments, "--json")) == {"invalidated": True}

    assert not is_cached(shop.names, outcomes=outcomes)


def test_invalidate_a_row(outcomes):
    ada = Author.objects.create(name="Ada", email="ada@example.org")
    shop.names()
    run("invalidate", "testapp.Author", "--pk", str(ada.pk))

    assert not is_cached(shop.names, outcomes=outcomes)


def test_invalidate_a_tag_and_a_tenant(settings, outcomes):
    settings.DBOPT = {"TENANCY": {"RESOLVER": "tests.cache.test_warm.tenants"}}
    with tenant_context(7):
        number(1)
        run("invalidate", "--tenant", "8")
        assert is_cached(number, 1, outcomes=outcomes)
        run("invalidate", "--tenant", "7")
        assert not is_cached(number, 1, outcomes=outcomes)
        run("invalidate", "--tag", "command")
        assert not is_cached(number, 1, outcomes=outcomes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Say what: one of app_label.Model, --tag, --tenant, --function, --all."),
        (["testapp.Author", "--all"], "Say what: one of app_label.Model, --tag, --tenant, --function, --all."),
        (["--all", "--pk", "5"], "--pk is of a model: name it."),
        (["testapp.Writer"], "There is no model 'testapp.Writer'. Write it as app_label.Model."),
        (["Author"], "There is no model 'Author'. Write it as app_label.Model."),
    ],
)
def test_wrong_use_of_invalidate(arguments, message):
    assert fails("invalidate", *arguments) == (2, message)


def test_pattern_removes_what_fits_and_asks_before(monkeypatch, outcomes):
    asked = []
    for value in range(3):
        number(value)
    other(1)

    def answer(question, word):
        asked.append(question)
        return word

    monkeypatch.setattr("builtins.input", lambda question: answer(question, "n"))
    assert fails("delete-pattern", "command:*") == (1, "Nothing was removed.")
    monkeypatch.setattr("builtins.input", lambda question: answer(question, "y"))
    assert json.loads(run("delete-pattern", "command:*", "--json")) == {"deleted": 3}

    assert asked == ["Remove 3 stored results that fit 'command:*'? [y/N] "] * 2
    assert json.loads(run("delete-pattern", "command:*", "--json")) == {"deleted": 0}
    assert not is_cached(number, 1, outcomes=outcomes)
    assert is_cached(other, 1, outcomes=outcomes)


def test_pattern_goes_in_batches_and_never_by_keys(monkeypatch, commands):
    monkeypatch.setattr(patterns, "UNLINK_BATCH", 2)
    for value in range(5):
        number(value)

    with commands() as sent:
        assert json.loads(run("delete-pattern", "command:*", "--yes", "--json")) == {"deleted": 5}

    assert sorted(sent) == [["SCAN"], ["UNLINK"], ["UNLINK"] * 2, ["UNLINK"] * 2]


def test_pattern_that_is_none():
    assert fails("delete-pattern", "{x}*", "--yes") == (
        2,
        "'{x}*' is no pattern of names. Write one such as 'entity:*', without braces.",
    )


def test_nobody_to_ask(monkeypatch):
    number(1)

    def ended(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    assert fails("delete-pattern", "command:*") == (2, "Nobody is there to agree; use --yes.")


@pytest.fixture
def away(settings):
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    yield
    servers.forget()


@pytest.mark.parametrize("arguments", [["invalidate", "--all"], ["delete-pattern", "x*", "--yes"]])
def test_server_out_of_reach(arguments, away):
    code, message = fails(*arguments)

    assert code == 3
    assert message.startswith("The cache server does not answer")


def test_triggers_from_the_shell():
    try:
        assert json.loads(run("triggers", "install", "testapp.Author", "--json")) == {"tables": 1, "busy": []}
        told = json.loads(run("triggers", "status", "testapp.Author", "--json"))
        assert told == {
            "tables": [{"model": "testapp.Author", "table": "testapp_author", "state": "installed"}],
            "waiting": 0,
            "oldest": None,
        }
        assert fails("triggers", "status", "testapp.Author", "testapp.Book") == (
            1,
            "1 of 2 tables have no trigger that fires.",
        )
        Author.objects.create(name="Ada", email="ada@example.org")
        assert json.loads(run("listen", "--once", "--json")) == {"taken": 1}
    finally:
        assert json.loads(run("triggers", "remove", "testapp.Author", "--json")) == {"tables": 1, "busy": []}
    assert fails("listen", "--once") == (
        2,
        "Database 'default' has no triggers. Run: manage.py dbopt_cache triggers install",
    )


def test_listener_works_until_it_is_stopped(outside, elsewhere):
    install(connection, [Author])
    shop.names()
    outside.execute("INSERT INTO testapp_author (name, email) VALUES ('Bea', 'bea@example.org')")
    assert shop.names() == []
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DBOPT_TEST_DATABASE_URL": _url(connection.settings_dict),
    }
    listener = subprocess.Popen(
        [sys.executable, "-m", "django", "dbopt_cache", "listen", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: elsewhere(shop.names) == ["Bea"], what="the listener's renewal")
        listener.send_signal(signal.SIGTERM)
        told, complaints = listener.communicate(timeout=20)
    finally:
        listener.kill()
        listener.wait()
        remove(connection, [Author])

    assert (listener.returncode, complaints) == (0, "")
    assert json.loads(told) == {"taken": 1}


def _url(parts):
    return f"postgresql://{parts['USER']}:{parts['PASSWORD']}@{parts['HOST']}:{parts['PORT']}/{parts['NAME']}"


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--help")

    assert caught.value.code == 0
    assert "manage.py dbopt_cache warm --tenant 7 --rate 20" in capsys.readouterr().out
