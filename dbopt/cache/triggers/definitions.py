"""Triggers in PostgreSQL for writes that no client sees: functions, COPY, psql, other programs.

A statement-level trigger notes the table's name in ``dbopt_cache_written``, once a table and transaction, in the
transaction of the write: no note is lost and none comes too early. A worker (:mod:`dbopt.cache.triggers.listening`) takes the
notes and renews the tables' tokens. There is no NOTIFY: it makes commits wait for each other (PostgreSQL, "NOTIFY").

https://www.postgresql.org/docs/current/plpgsql-trigger.html
"""

# ruff: noqa: SLF001  Django's _meta
# ruff: noqa: S608  names are quoted by the backend

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.apps import apps
from django.db import DatabaseError, router, transaction

from dbopt.cache.names.tables import installed_model, table_name
from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db import models
    from django.db.backends.base.base import BaseDatabaseWrapper

NOTES = "dbopt_cache_written"
TRIGGER = "dbopt_cache_note"

# Written with almost every request and read by key: a trigger would cost much and bring nothing.
_LEFT_OUT = frozenset({"sessions.session", "admin.logentry", "dbopt.queryhistory", "dbopt.graphoutbox"})

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {NOTES} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE OR REPLACE FUNCTION {TRIGGER}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    noted text := coalesce(current_setting('dbopt.noted', true), '');
    name text := quote_ident(TG_TABLE_NAME);
BEGIN
    IF NOT name = ANY (string_to_array(noted, ' ')) THEN
        INSERT INTO {NOTES} (table_name) VALUES (TG_TABLE_NAME);
        -- Local: forgotten with the transaction, or with the savepoint that takes the note back.
        PERFORM set_config('dbopt.noted', noted || ' ' || name, true);
    END IF;
    RETURN NULL;
END
$$;
"""


@dataclass(frozen=True, slots=True)
class TriggerState:
    """One table: whether it has the trigger, and whether that fires."""

    model: str
    table: str
    state: str
    """"installed", "missing" or "disabled"."""


def watched_models(labels: Iterable[str], *, using: str) -> list[type[models.Model]]:
    """Return the models named, or all whose tables Django made in a database, with their many-to-many tables.

    Raises:
        ConfigurationError: a label names no model, or one whose table Django did not make.
    """
    named = [_model(label) for label in labels]
    if named:
        return named
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and not model._meta.proxy
        and model._meta.label_lower not in _LEFT_OUT
        and router.allow_migrate_model(using, model)
    ]


def install(
    connection: BaseDatabaseWrapper,
    found: Iterable[type[models.Model]],
    *,
    lock_timeout: float = 2.0,
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Give tables their trigger. Idempotent; each table in a transaction of its own.

    Args:
        connection: to the primary.
        found: models.
        lock_timeout: seconds to wait for a table's writers; waiting longer would make others wait behind us.
        report: is told the table that is at work.

    Returns:
        The tables that were busy for too long or are not there; run it again for them.
    """
    _require_postgresql(connection)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(_CREATE)
    return _each(
        connection,
        found,
        f"CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {{table}} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {TRIGGER}()",
        lock_timeout=lock_timeout,
        report=report,
    )


def remove(
    connection: BaseDatabaseWrapper,
    found: Iterable[type[models.Model]],
    *,
    lock_timeout: float = 2.0,
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Take the trigger from tables, and what it needs when no table has it any more. Returns as install()."""
    _require_postgresql(connection)
    busy = _each(
        connection,
        found,
        f"DROP TRIGGER IF EXISTS {TRIGGER} ON {{table}}",
        lock_timeout=lock_timeout,
        report=report,
    )
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = %s)", [TRIGGER])
        if cursor.fetchone()[0]:
            cursor.execute(f"DROP FUNCTION IF EXISTS {TRIGGER}(); DROP TABLE IF EXISTS {NOTES}")
    return busy


def status(connection: BaseDatabaseWrapper, found: Iterable[type[models.Model]]) -> list[TriggerState]:
    """Return which tables have the trigger."""
    _require_postgresql(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE t.tgname = %s AND pg_table_is_visible(c.oid)",
            [TRIGGER],
        )
        enabled = dict(cursor.fetchall())
    return [
        TriggerState(model._meta.label, table_name(model), _STATES.get(enabled.get(table_name(model)), "installed"))
        for model in found
    ]


_STATES = {None: "missing", "D": "disabled"}


def _each(
    connection: BaseDatabaseWrapper,
    found: Iterable[type[models.Model]],
    statement: str,
    *,
    lock_timeout: float,
    report: Callable[[str], None],
) -> list[str]:
    failed = []
    for model in found:
        report(table_name(model))
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(lock_timeout * 1000)}ms"])
                cursor.execute(statement.format(table=connection.ops.quote_name(model._meta.db_table)))
        except DatabaseError:
            failed.append(table_name(model))
    return failed


def _model(label: str) -> type[models.Model]:
    model = installed_model(label)
    if not model._meta.managed or model._meta.proxy:
        raise ConfigurationError(f"{model._meta.label} has no table of its own that Django made.")
    return model


def _require_postgresql(connection: BaseDatabaseWrapper) -> None:
    if connection.vendor != "postgresql":
        raise ConfigurationError(f"Triggers are for PostgreSQL; database {connection.alias!r} is {connection.vendor}.")
