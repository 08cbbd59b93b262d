"""The execute wrapper: sees every statement before it runs, tells reads from writes and finds their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.signals import connection_created

from dbopt.cache.recordings import depend_all, refuse_all, running
from dbopt.cache.relations import relations_of
from dbopt.cache.tables import database_of, is_replica, known_among, unmanaged_tables
from dbopt.cache.tokens import database_tag, table_tag
from dbopt.cache.transactions import TransactionState, watch
from dbopt.cache.views import forget_views, tables_behind
from dbopt.statements import Statement, read_statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

# Statements whose effects do not show: what they call may write anything.
_OPAQUE = frozenset({"call", "do", "execute"})

# Names of parameters that change what a transaction sees; their value does not show in a statement's text.
_ISOLATION_PARAMETERS = frozenset({"transaction_isolation", "default_transaction_isolation"})


def install() -> None:
    """Observe all connections, those that are open and those to come. Idempotent; connects nowhere."""
    connection_created.connect(_opened, dispatch_uid="dbopt.cache.observer")
    for connection in connections.all(initialized_only=True):
        observe(connection)


def observe(connection: BaseDatabaseWrapper) -> None:
    """Observe one connection. Idempotent."""
    state = watch(connection)
    wrappers = connection.execute_wrappers
    if not any(isinstance(wrapper, Observer) for wrapper in wrappers):
        # Behind dbopt's own first wrapper and never at the end: `with connection.execute_wrapper()` pops the last one.
        first_is_ours = bool(wrappers) and type(wrappers[0]).__module__.startswith("dbopt.")
        wrappers.insert(1 if first_is_ours else 0, Observer(state))


def _opened(connection: BaseDatabaseWrapper, **_: Any) -> None:
    observe(connection)


class Observer:
    """The wrapper of one connection."""

    def __init__(self, state: TransactionState) -> None:
        self._state = state

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Run a statement; before it, read the tokens of what it reads; after it, renew those of what it wrote."""
        connection = context["connection"]
        statement = read_statement(sql, connection)
        state = self._state
        state.settle()
        if running():
            _record(statement, connection=connection, state=state, cursor=context["cursor"])
        if not (statement.writes or state.pending or _isolation(statement)):
            return execute(sql, params, many, context)
        try:
            return execute(sql, params, many, context)
        finally:
            # Also after an error: whether the statement took effect may be unknown.
            _account(statement, connection=connection, state=state)


def written_tags(statement: Statement, connection: BaseDatabaseWrapper) -> frozenset[str]:
    """Return the tags of what a statement may have written: its tables, or the whole database where that is unclear."""
    database = database_of(connection)
    tables = known_among(statement.identifiers)
    if not tables or not statement.is_whole or statement.cascade or statement.verb in _OPAQUE:
        return frozenset({database_tag(database)})
    return frozenset(table_tag(database, table) for table in tables)


def _account(statement: Statement, *, connection: BaseDatabaseWrapper, state: TransactionState) -> None:
    level = _isolation(statement)
    if level is not None:
        state.saw_isolation(level, of_session=_is_of_session(statement))
    if statement.operation == "ddl":
        forget_views()
    if statement.writes:
        state.wrote(written_tags(statement, connection))
    elif state.pending and not state.is_open():
        # A transaction that was ended in SQL.
        if statement.verb in ("rollback", "abort"):
            state.rolled_back()
        else:
            state.renew_pending()


def _record(statement: Statement, *, connection: BaseDatabaseWrapper, state: TransactionState, cursor: Any) -> None:
    reason = _refusal(statement, connection=connection, state=state, cursor=cursor)
    if reason is not None:
        refuse_all(reason)
        return
    if statement.volatile:
        _refuse_following("volatile")
        return
    tables = _tables_read(statement, connection)
    if tables is None:
        _refuse_following("unknown_table")
    elif tables:
        database = database_of(connection)
        depend_all([database_tag(database), *sorted(table_tag(database, table) for table in tables)])


def _tables_read(statement: Statement, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    """Return every table a statement reads, those behind views included; None when one of them cannot be told."""
    tables = known_among(statement.identifiers)
    # A name may stand behind the place where the text was cut.
    if not statement.is_whole or not relations_of(statement.text).issubset(tables):
        return None
    if not tables:
        return tables if _is_tableless(statement) else None
    unmanaged = unmanaged_tables()
    for table in tables.intersection(unmanaged):
        behind = tables_behind(unmanaged[table], connection)
        if behind is None:
            return None
        tables |= behind
    return tables


def _refusal(
    statement: Statement, *, connection: BaseDatabaseWrapper, state: TransactionState, cursor: Any
) -> str | None:
    if statement.writes:
        return "writes"
    if statement.locks:
        return "locks"
    if is_replica(connection):
        return "replica"
    if getattr(cursor.cursor, "name", None) is not None:
        return "server_cursor"
    return state.obstacle()


def _is_of_session(statement: Statement) -> bool:
    """Tell whether a statement sets the level of later transactions only."""
    return statement.statements == 1 and "characteristics" in statement.identifiers


def _isolation(statement: Statement) -> str | None:
    if statement.isolation is not None:
        return statement.isolation
    if statement.verb in ("reset", "discard"):
        return "unknown"
    if statement.verb == "set" and not _ISOLATION_PARAMETERS.isdisjoint(statement.identifiers):
        return "unknown"
    return None


def _is_tableless(statement: Statement) -> bool:
    if statement.operation == "txn":
        return True
    return statement.verb in ("select", "values") and not statement.functions and " FROM " not in statement.text


def _refuse_following(reason: str) -> None:
    for recording in running():
        if recording.follows_tables:
            recording.refuse(reason)
