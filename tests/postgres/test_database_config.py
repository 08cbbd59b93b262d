"""optimized_database_config: what it returns, and that the server really obeys it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from urllib.parse import quote

import psycopg
import pytest
from django.db import OperationalError, connection, connections

from dbopt.exceptions import ConfigurationError
from dbopt.postgres import optimized_database_config

URL = "postgresql://ann:p%40ss@db.example:6432/shop"


def test_url_is_split_by_the_rules_of_libpq():
    entry = optimized_database_config(URL)

    assert {key: entry[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")} == {
        "NAME": "shop",
        "USER": "ann",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "6432",
    }


def test_every_wait_has_a_limit_and_the_pool_is_on():
    entry = optimized_database_config(URL)

    assert entry["CONN_MAX_AGE"] == 0
    assert entry["CONN_HEALTH_CHECKS"] is True
    assert entry["OPTIONS"] == {
        "connect_timeout": 5,
        "application_name": "django",
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "options": "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000",
        "pool": {"min_size": 1, "max_size": 20, "timeout": 5, "max_idle": 30, "max_lifetime": 1800},
    }


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://a,b:5433/x", "a,b", ",5433"),
        ("postgresql://[::1]:5432/x", "::1", "5432"),
        ("postgresql:///x?host=/var/run/postgresql", "/var/run/postgresql", ""),
        ("host=h port=1 dbname=x", "h", "1"),
    ],
)
def test_several_hosts_ipv6_and_sockets_are_understood(url, host, port):
    entry = optimized_database_config(url)

    assert (entry["HOST"], entry["PORT"], entry["NAME"]) == (host, port, "x")


def test_what_the_url_says_wins():
    entry = optimized_database_config(
        f"{URL}?connect_timeout=2&application_name=worker&options=-c%20statement_timeout%3D1&sslmode=require",
        sslmode="disable",
    )

    assert entry["OPTIONS"]["connect_timeout"] == 2
    assert entry["OPTIONS"]["application_name"] == "worker"
    assert entry["OPTIONS"]["sslmode"] == "require"
    assert entry["OPTIONS"]["options"] == (
        "-c statement_timeout=1 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=60000"
    )


OURS = {"statement_timeout": "30000", "lock_timeout": "5000", "idle_in_transaction_session_timeout": "60000"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("-c lock_timeout=1", {"lock_timeout"}),
        ("-clock_timeout=1", {"lock_timeout"}),
        ("--lock-timeout=1", {"lock_timeout"}),
        ("-c LOCK_TIMEOUT=1  -c statement_timeout=2", {"lock_timeout", "statement_timeout"}),
        # A name inside of another name, or of a value, is none.
        ("-c my.lock_timeout=1", set()),
        ("-c my.note=lock_timeout=1", set()),
        (r"-c my.note=a\ -c\ lock_timeout=1", set()),
    ],
)
def test_options_of_the_url_leave_out_only_what_they_set_themselves(given, named):
    entry = optimized_database_config(f"{URL}?options={quote(given)}")

    ours = " ".join(f"-c {name}={value}" for name, value in OURS.items() if name not in named)
    assert entry["OPTIONS"]["options"] == f"{given} {ours}".strip()


def test_behind_a_transaction_pooler_connections_stay_and_are_not_pooled_twice():
    entry = optimized_database_config(URL, pooler="transaction")

    assert "pool" not in entry["OPTIONS"]
    assert entry["CONN_MAX_AGE"] == 60


def test_behind_a_transaction_pooler_a_pool_may_still_be_asked_for():
    entry = optimized_database_config(URL, pooler="transaction", pool=True, max_size=3)

    assert entry["OPTIONS"]["pool"]["max_size"] == 3
    assert entry["CONN_MAX_AGE"] == 0


def test_behind_a_transaction_pooler_nothing_is_sent_that_it_refuses():
    entry = optimized_database_config(URL, pooler="transaction", prepare=True)

    assert "options" not in entry["OPTIONS"]
    assert "prepare_threshold" not in entry["OPTIONS"]
    assert entry["DISABLE_SERVER_SIDE_CURSORS"] is True


@pytest.mark.parametrize(
    ("url", "arguments", "message"),
    [
        ("postgresql://ann:secret@h/", {}, "The database URL names no database: postgresql://user@host:5432/NAME."),
        (
            "postgresql://ann:secret@h/x?no_such_option=1",
            {},
            (
                "The database URL cannot be read. Write it as postgresql://user:password@host:5432/name, "
                "with special characters of the password percent-encoded."
            ),
        ),
        (
            URL,
            {"min_size": 9, "max_size": 2},
            "min_size is 9 and max_size is 2: 0 <= min_size <= max_size and 1 <= max_size must hold.",
        ),
        (URL, {"lock_timeout": 0}, "lock_timeout is 0; it is in seconds, more than 0 and at most 3600."),
        (
            URL,
            {"statement_timeout": 30_000},
            "statement_timeout is 30000; it is in seconds, more than 0 and at most 3600.",
        ),
        (URL, {"pooler": "session"}, "pooler is 'session'; it must be \"transaction\" or None."),
        (
            URL,
            {"pooler": "transaction", "read_only": True},
            (
                "read_only=True cannot pass a transaction pooler, which refuses or drops it in silence. "
                "Set it on the role instead: ALTER ROLE ... SET default_transaction_read_only = on"
            ),
        ),
        (
            f"{URL}?options=-c%20lock_timeout%3D1",
            {"pooler": "transaction"},
            (
                "The database URL has options=..., which a transaction pooler refuses or drops in silence. "
                "Set them on the role instead: ALTER ROLE ... SET ..."
            ),
        ),
    ],
)
def test_wrong_input_is_refused_without_showing_the_password(url, arguments, message):
    with pytest.raises(ConfigurationError) as caught:
        optimized_database_config(url, **arguments)

    assert str(caught.value) == message
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.fixture
def optimised(django_db_blocker):
    """A connection of its own, with the native pool, made by optimized_database_config."""
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    entry = optimized_database_config(url, max_size=2, statement_timeout=0.2, application_name="optimised")
    defaults = copy.deepcopy(connection.settings_dict)
    connections.databases["optimised"] = {**defaults, **entry}
    with django_db_blocker.unblock():
        yield connections["optimised"]
        connections["optimised"].close()
        connections["optimised"].close_pool()
    del connections["optimised"]
    del connections.databases["optimised"]


@pytest.mark.django_db
def test_server_obeys_the_limits(optimised):
    with optimised.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
            "current_setting('idle_in_transaction_session_timeout'), current_setting('application_name')"
        )

        assert cursor.fetchone() == ("200ms", "5s", "1min", "optimised")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "lock_timeout", "note"),
    [
        ("-clock_timeout=7s", "7s", ""),
        ("--LOCK-timeout=7s", "7s", ""),
        (r"-c my.note=a\ -c\ lock_timeout=7s", "5s", "a -c lock_timeout=7s"),
        ("-c my.lock_timeout=7s", "5s", ""),
    ],
)
def test_server_reads_the_options_of_the_url_the_same_way(given, lock_timeout, note):
    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    options = optimized_database_config(f"{url}?options={quote(given)}", pool=False)["OPTIONS"]["options"]

    with psycopg.connect(url, options=options) as plain:
        shown = plain.execute("SELECT current_setting('lock_timeout'), current_setting('my.note', true)").fetchone()

    assert (shown[0], shown[1] or "") == (lock_timeout, note)


@pytest.mark.django_db
def test_statement_over_the_limit_is_ended(optimised):
    with optimised.cursor() as cursor, pytest.raises(OperationalError) as caught:
        cursor.execute("SELECT pg_sleep(5)")

    assert caught.value.__cause__.sqlstate == "57014"


@pytest.mark.django_db
def test_connections_come_from_the_pool(optimised):
    optimised.ensure_connection()

    assert optimised.pool.get_stats()["pool_max"] == 2


def test_settings_module_may_import_it_before_settings_exist():
    code = "import dbopt.postgres; from dbopt.postgres import optimized_database_config as f; f('postgresql://u@h/x')"
    code += "; import sys; from django.conf import settings; assert not settings.configured"
    code += "; assert 'django.db.models' not in sys.modules, 'models were imported'"

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
    )

    assert (done.returncode, done.stderr) == (0, "")
