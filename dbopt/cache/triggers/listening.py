"""The worker behind the triggers: takes their notes and renews the tokens of the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from dbopt.cache.names.tables import database_of
from dbopt.cache.names.tokens import bulk_tag, table_tag
from dbopt.cache.server.servers import server
from dbopt.cache.triggers.definitions import NOTES
from dbopt.exceptions import CacheUnreachableError, ConfigurationError

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

BATCH = 1000

_TAKE = f"""
DELETE FROM {NOTES} WHERE id IN (SELECT id FROM {NOTES} ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING table_name
"""  # noqa: S608 - a constant


def require_notes(connection: BaseDatabaseWrapper) -> None:
    """Raise unless triggers are installed.

    Raises:
        ConfigurationError: they are not.
    """
    if not _has_notes(connection):
        raise ConfigurationError(
            f"Database {connection.alias!r} has no triggers. Run: manage.py dbopt_cache triggers install"
        )


def take_notes(connection: BaseDatabaseWrapper) -> int:
    """Take up to BATCH notes, renew their tables' tokens and return how many notes it were.

    The notes are gone only when the tokens are renewed. Several workers may run; each note goes to one of them.

    Raises:
        CacheUnreachableError: the cache server does not take the renewals; the notes are still there.
        DatabaseError: as the database says.
    """
    with transaction.atomic(using=connection.alias), connection.wrap_database_errors:
        # On the driver's own cursor: dbopt would take the DELETE for a write to an unknown table.
        with connection.connection.cursor() as cursor:
            cursor.execute(_TAKE, [BATCH])
            found = [table for (table,) in cursor.fetchall()]
        database = database_of(connection)
        # A note does not tell which rows were written.
        tags = {tag(database, table) for table in found for tag in (table_tag, bulk_tag)}
        if tags and not server().renew(tags):
            raise CacheUnreachableError("The cache server does not answer; the notes are still there.")
    return len(found)


def backlog(connection: BaseDatabaseWrapper) -> tuple[int, float | None]:
    """Return how many notes wait, and the age of the oldest in seconds; (0, None) where no triggers are installed."""
    if not _has_notes(connection):
        return 0, None
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), extract(epoch FROM clock_timestamp() - min(noted_at))::float8 FROM {NOTES}"  # noqa: S608
        )
        count, age = cursor.fetchone()
    return count, age


def _has_notes(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [NOTES])
        return bool(cursor.fetchone()[0])
