"""Questions to a relational database over a short connection of its own.

Never over the pool: a pool that is busy is no reason to take the process out of the load balancer, which would only
send its load to the others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.utils import load_backend

from dbopt.cache.names.tables import is_replica
from dbopt.cache.observation.replicas import is_behind
from dbopt.exceptions import DboptError
from dbopt.monitoring.cache_server import has_cache_server

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Less than two seconds means two to libpq.
_CONNECT_TIMEOUT = 2


class PendingMigrationsError(DboptError):
    """Migrations are not applied."""


class ReplicaLagError(DboptError):
    """A replica lags behind by more than ``DBOPT["CACHE"]["REPLICA_LAG"]``: rows that it returns are not cached."""


def ask_database(alias: str, *, timeout: float) -> dict[str, Any]:
    """Return facts about the server: ``server_version``, and for PostgreSQL ``max_connections``.

    Raises:
        django.db.Error: the server does not answer.
        ReplicaLagError: it is a replica, and too far behind for the cache.
    """
    with own_connection(alias, timeout=timeout) as connection, connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute("SELECT 1")
            return {"server_version": ".".join(map(str, connection.get_database_version()))}
        cursor.execute(
            "/*dbopt*/ SELECT current_setting('server_version'), current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int"
        )
        version, maximum = cursor.fetchone()
        if is_replica(connection) and has_cache_server() and is_behind(connection):
            raise ReplicaLagError(f"Replica {alias!r} lags behind its primary.")
        return {"server_version": version.split()[0], "max_connections": maximum}


def ask_migrations(alias: str, *, timeout: float) -> None:
    """Return when every migration is applied.

    Raises:
        PendingMigrationsError: some are not.
    """
    # Not Django's executor: it reads the applied ones over the alias's usual connection, out of the pool.
    loader = MigrationLoader(None, ignore_no_migrations=True)
    applied = _applied_migrations(alias, timeout=timeout)
    pending = [
        key
        for key in loader.graph.nodes
        if key not in applied
        and not (key in loader.replacements and applied.issuperset(loader.replacements[key].replaces))
    ]
    if pending:
        raise PendingMigrationsError(f"{len(pending)} migrations are not applied. Run manage.py migrate.")


def _applied_migrations(alias: str, *, timeout: float) -> set[tuple[str, str]]:
    with own_connection(alias, timeout=timeout) as connection, connection.cursor() as cursor:
        if "django_migrations" not in connection.introspection.table_names(cursor):
            return set()
        cursor.execute("SELECT app, name FROM django_migrations")
        return set(cursor.fetchall())


@contextmanager
def own_connection(alias: str, *, timeout: float) -> Iterator[BaseDatabaseWrapper]:
    """Open a connection to the alias's server outside its pool, unwatched, and close it.

    On PostgreSQL the server ends a statement after `timeout` seconds.
    """
    options = copy.deepcopy(connections.settings[alias])
    options["CONN_MAX_AGE"] = 0
    backend = load_backend(options["ENGINE"])
    if backend.DatabaseWrapper.vendor == "postgresql":
        options["OPTIONS"] = _short(options["OPTIONS"])
    connection: BaseDatabaseWrapper = backend.DatabaseWrapper(options, alias)
    try:
        # Not connect(): its signal has receivers (django.contrib.postgres among them) that ask the alias over its
        # usual connection, which here would be taken from the pool and never given back. So nothing that the project
        # hangs on its connections (tracking, routing, cache) is here, either.
        connection.connection = connection.get_new_connection(connection.get_connection_params())
        if connection.vendor == "postgresql":
            _limit(connection, timeout)
        yield connection
    finally:
        connection.close()


def _short(options: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: value for name, value in options.items() if name != "pool"},
        "connect_timeout": _CONNECT_TIMEOUT,
        "tcp_user_timeout": _CONNECT_TIMEOUT * 1000,
        "application_name": "dbopt-health",
    }


def _limit(connection: BaseDatabaseWrapper, timeout: float) -> None:
    # In the transaction, not as a start-up option or for the session: a pooler between here and the server
    # refuses the one, and hands the other on to its next client.
    connection.set_autocommit(False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(math.ceil(timeout * 1000))])
