"""Many rows into a table at once, by COPY."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import OperationalError

if TYPE_CHECKING:
    from django.db import models
    from django.db.backends.base.base import BaseDatabaseWrapper

# Rows are counted for the progress line in blocks, not one by one.
BLOCK = 5_000


def copy_rows(
    connection: BaseDatabaseWrapper,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    tick: Any = None,
) -> int:
    """COPY rows into a table; returns how many.

    The columns are named in the order of the values; dictionaries become JSON, lists become arrays.
    tick is called with the number of rows so far, now and then.
    """
    quote = connection.ops.quote_name
    names = ", ".join(quote(column) for column in columns)
    count = 0
    with connection.cursor() as cursor, cursor.copy(f"COPY {quote(table)} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([json.dumps(value) if type(value) is dict else value for value in row])
            count += 1
            if tick is not None and count % BLOCK == 0:
                tick(count)
    return count


def lift_limits(connection: BaseDatabaseWrapper) -> None:
    """Take from this transaction the limits that protect requests: they would end a long COPY."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def reserve_ids(connection: BaseDatabaseWrapper, model: type[models.Model], count: int) -> list[int]:
    """Take primary keys from the model's sequence, so that rows which refer to each other can be copied.

    Safe beside other writers: nobody else gets one of them.
    """
    table, column = model._meta.db_table, model._meta.pk.column  # noqa: SLF001 - Django's documented Model._meta
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [connection.ops.quote_name(table), column, count],
        )
        return [row[0] for row in cursor.fetchall()]


def settle(connection: BaseDatabaseWrapper, *filled: type[models.Model]) -> None:
    """After many rows: statistics for the planner, and GIN indexes without a list of rows that are still to be sorted in.

    Autovacuum does the same a while later, so that a failure here is none (PostgreSQL, "GIN Fast Update Technique").
    """
    # VACUUM cannot be in a transaction, as it is when a test calls this.
    verb = "ANALYZE" if connection.in_atomic_block else "VACUUM (ANALYZE)"
    names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in filled)  # noqa: SLF001
    with suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute(f"{verb} {names}")
