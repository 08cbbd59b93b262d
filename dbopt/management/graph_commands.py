"""What every command about a graph shares: its errors, one run at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from dbopt.exceptions import (
    ConfigurationError,
    GraphAuthError,
    GraphError,
    GraphPoolTimeoutError,
    GraphSchemaError,
    GraphUnavailableError,
    MissingExtraError,
)
from dbopt.management.exit_codes import FINDINGS, OUT_OF_REACH, WRONG_USE

_DATABASE_NOT_FOUND = "Neo.ClientError.Database.DatabaseNotFound"


@contextmanager
def command_errors() -> Iterator[None]:
    """Turn errors of dbopt into a message and the exit code that belongs to it."""
    try:
        yield
    except (ConfigurationError, MissingExtraError, GraphSchemaError) as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error
    except (GraphUnavailableError, GraphAuthError, GraphPoolTimeoutError) as error:
        raise CommandError(str(error), returncode=OUT_OF_REACH) from error
    except GraphError as error:
        code = OUT_OF_REACH if error.code == _DATABASE_NOT_FOUND else FINDINGS
        raise CommandError(str(error), returncode=code) from error


@contextmanager
def one_at_a_time(name: str, *, database: str, timeout: float, report: Callable[[str], None]) -> Iterator[bool]:
    """Hold an advisory lock of PostgreSQL, where the database is one and answers; yields whether it is held.

    Without it the work is safe as well, because it reads again what another may have changed.

    Raises:
        CommandError: another run held it for timeout seconds.
    """
    connection = connections[database]
    if connection.vendor != "postgresql":
        yield False
        return
    key = int.from_bytes(hashlib.blake2b(f"dbopt:{name}".encode(), digest_size=8).digest(), "big", signed=True)
    try:
        held = _acquire(connection, key, timeout=timeout, report=report)
    except DatabaseError:
        yield False
        return
    if not held:
        raise CommandError(f"Another run of {name} is at work for more than {timeout:g} s.", returncode=FINDINGS)
    try:
        yield True
    finally:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
        except DatabaseError:
            # The server lets go by itself of a connection that has gone.
            connection.close()


def _acquire(connection: object, key: int, *, timeout: float, report: Callable[[str], None]) -> bool:
    deadline = time.monotonic() + timeout
    while True:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]  # one of Django's wrappers
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
            if cursor.fetchone()[0]:
                return True
        if time.monotonic() >= deadline:
            return False
        report("waiting for another run")
        time.sleep(0.2)
