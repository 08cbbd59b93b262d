"""An entry of DATABASES with timeouts everywhere and Django's native pool.

Sources: PostgreSQL 18 chapters 19.11 (client connection defaults) and 32.1 (connection strings), psycopg_pool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal

from dbopt.exceptions import ConfigurationError, require_extra

# Idle connections are probed, so that a dead peer is noticed in a minute and not in two hours.
_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_LONGEST_APPLICATION_NAME = 63
_LONGEST_WAIT = 3600.0


def optimized_database_config(  # noqa: PLR0913 - every argument is a setting of its own, all keyword-only
    url: str,
    *,
    min_size: int = 1,
    max_size: int = 20,
    acquire_timeout: float = 5,
    max_idle: float = 30,
    max_lifetime: float = 1800,
    connect_timeout: int = 5,
    statement_timeout: float | None = 30,
    lock_timeout: float | None = 5,
    idle_in_transaction_timeout: float | None = 60,
    pool: bool | Literal["auto"] = "auto",
    pooler: Literal["transaction"] | None = None,
    prepare: bool = False,
    read_only: bool = False,
    sslmode: str | None = None,
    application_name: str = "django",
    engine: str = "django.db.backends.postgresql",
    **database: Any,
) -> dict[str, Any]:
    """Return an entry of DATABASES for a connection string.

    Args:
        url: ``postgresql://...`` or ``host=... dbname=...``, read by libpq's own rules (percent-encoding, sockets,
            IPv6, several hosts). What it says wins over the arguments.
        min_size: connections kept open per process; management commands and workers want 0 or 1.
        max_size: most connections per process: the server sees this times the number of processes.
        acquire_timeout: seconds to wait for a free connection.
        max_idle: seconds after which one unused connection is closed.
        max_lifetime: seconds after which a connection is replaced.
        connect_timeout: seconds to reach the server.
        statement_timeout: seconds for one statement; None: no limit.
        lock_timeout: seconds to wait for a lock; None: no limit.
        idle_in_transaction_timeout: seconds in a transaction without a statement; None: no limit.
        pool: "auto": Django's native pool where psycopg_pool is installed and there is no other pooler, else connections
            live for 60 seconds.
        pooler: "transaction" behind PgBouncer in that mode: no start-up options, no prepared statements,
            no server-side cursors. The three limits of the server are not sent then; set them with ALTER ROLE.
        prepare: let the server keep plans of statements that repeat (server-side binding).
        read_only: refuse writes, for a replica.
        sslmode: libpq's; the URL's wins.
        application_name: shown in pg_stat_activity.
        engine: the database backend.
        database: further keys of the entry, such as TEST or ATOMIC_REQUESTS.

    Raises:
        MissingExtraError: psycopg is not installed.
        ConfigurationError: the URL cannot be read or names no database; a limit is out of range; a transaction pooler
            would drop what is asked for.
    """
    parts = _parts(url)
    _check_sizes(min_size, max_size)
    limits = {
        "statement_timeout": statement_timeout,
        "lock_timeout": lock_timeout,
        "idle_in_transaction_session_timeout": idle_in_transaction_timeout,
    }
    _check_seconds(limits | {"acquire_timeout": acquire_timeout, "max_idle": max_idle, "max_lifetime": max_lifetime})
    entry: dict[str, Any] = {
        "ENGINE": engine,
        "NAME": parts.pop("dbname"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
    }
    options = _options(parts, connect_timeout=connect_timeout, sslmode=sslmode, application_name=application_name)
    given = options.pop("options", "")
    if pooler == "transaction":
        _refuse_options(given, read_only=read_only)
        entry["DISABLE_SERVER_SIDE_CURSORS"] = True
    elif pooler is not None:
        raise ConfigurationError(f'pooler is {pooler!r}; it must be "transaction" or None.')
    else:
        options["options"] = _startup_options(given, limits, read_only=read_only)
    if prepare and pooler is None:
        # A threshold alone does nothing: Django binds on the client unless told otherwise.
        options |= {"server_side_binding": True, "prepare_threshold": 5}
    if _use_pool(pool, pooler):
        options["pool"] = {
            "min_size": min_size,
            "max_size": max_size,
            "timeout": acquire_timeout,
            "max_idle": max_idle,
            "max_lifetime": max_lifetime,
        }
    elif pool == "auto":
        entry["CONN_MAX_AGE"] = 60
    return {**entry, "OPTIONS": options, **database}


def _parts(url: str) -> dict[str, Any]:
    psycopg = require_extra("psycopg", "postgres")
    conninfo = require_extra("psycopg.conninfo", "postgres")
    try:
        parts = dict(conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        # libpq's message repeats the URL, and with it the password: it is not shown and not chained.
        raise ConfigurationError(
            "The database URL cannot be read. Write it as postgresql://user:password@host:5432/name, "
            "with special characters of the password percent-encoded."
        ) from None
    if not parts.get("dbname"):
        raise ConfigurationError("The database URL names no database: postgresql://user@host:5432/NAME.")
    return parts


def _check_sizes(min_size: int, max_size: int) -> None:
    if not 0 <= min_size <= max_size or max_size < 1:
        raise ConfigurationError(
            f"min_size is {min_size} and max_size is {max_size}: 0 <= min_size <= max_size and 1 <= max_size must hold."
        )


def _check_seconds(limits: Mapping[str, float | None]) -> None:
    for name, seconds in limits.items():
        # "not <=" instead of ">": NaN is refused too.
        if seconds is not None and not 0 < seconds <= _LONGEST_WAIT:
            raise ConfigurationError(f"{name} is {seconds!r}; it is in seconds, more than 0 and at most 3600.")


def _options(
    parts: dict[str, Any], *, connect_timeout: int, sslmode: str | None, application_name: str
) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "connect_timeout": connect_timeout,
        "application_name": application_name[:_LONGEST_APPLICATION_NAME],
        **_KEEPALIVES,
    }
    if sslmode is not None:
        defaults["sslmode"] = sslmode
    options = defaults | parts
    options["connect_timeout"] = int(options["connect_timeout"])
    return options


def _startup_options(given: str, limits: Mapping[str, float | None], *, read_only: bool) -> str:
    settings = {name: str(round(seconds * 1000)) for name, seconds in limits.items() if seconds is not None}
    if read_only:
        settings["default_transaction_read_only"] = "on"
    names = _parameters(given)
    ours = [f"-c {name}={value}" for name, value in settings.items() if name not in names]
    return " ".join(filter(None, [given, *ours]))


def _parameters(options: str) -> set[str]:
    """Return which parameters are set by ``-c name=value``, ``-cname=value`` and ``--name=value``.

    As the server reads them (pg_split_opts, ParseLongOption): a backslash keeps a space, a dash is an underscore.
    """
    words = iter(re.findall(r"(?:\\.|[^\s\\])+", options, re.DOTALL))
    names = set()
    for word in words:
        if word.startswith(("-c", "--")):
            assignment = next(words, "") if word == "-c" else word[2:]
            names.add(assignment.partition("=")[0].replace("-", "_").lower())
    return names


def _refuse_options(given: str, *, read_only: bool) -> None:
    if read_only:
        raise ConfigurationError(
            "read_only=True cannot pass a transaction pooler, which refuses or drops it in silence. "
            "Set it on the role instead: ALTER ROLE ... SET default_transaction_read_only = on"
        )
    if given:
        raise ConfigurationError(
            "The database URL has options=..., which a transaction pooler refuses or drops in silence. "
            "Set them on the role instead: ALTER ROLE ... SET ..."
        )


def _use_pool(pool: bool | Literal["auto"], pooler: str | None) -> bool:
    if pool is True:
        require_extra("psycopg_pool", "postgres")
    # Before a pooler a second pool only makes requests wait twice; connections that stay are as fast.
    return pool is True or (pool == "auto" and pooler is None and find_spec("psycopg_pool") is not None)
