"""The execute wrapper: sees every statement before it runs, tells reads from writes and finds their tables."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.signals import connection_created

from dbopt.cache.names.declared import lacks_strictness
from dbopt.cache.names.primary_keys import bounded_by
from dbopt.cache.names.tables import database_of, is_replica, known_among, unmanaged_tables
from dbopt.cache.names.tokens import bulk_tag, database_tag, row_tag, table_tag
from dbopt.cache.observation.assignments import assignments, assigns
from dbopt.cache.observation.cursors import watch_cursors
from dbopt.cache.observation.functions import may_read
from dbopt.cache.observation.recordings import depend_all, hold_off_all, refuse_all, running
from dbopt.cache.observation.relations import relations_of
from dbopt.cache.observation.scopes import scope_of
from dbopt.cache.observation.transactions import TransactionState, watch
from dbopt.cache.observation.views import forget_views, tables_behind
from dbopt.cache.observation.written import inserted_tags, writes, written_tags
from dbopt.statements import Statement, read_statement, remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from dbopt.cache.observation.assignments import Assignment

logger = logging.getLogger(__name__)

_COMMITS = frozenset({"commit", "end"})

# A statement that reads more rows by their keys than this depends on the table.
_MAX_ROWS_READ = 16

# Tables that were logged already.
_logged: set[str] = set()

# Names of parameters that change what a transaction sees; their value does not show in a statement's text.
_ISOLATION_PARAMETERS = frozenset({"transaction_isolation", "default_transaction_isolation"})


def install() -> None:
    """Observe all connections, those that are open and those to come. Idempotent; connects nowhere."""
    connection_created.connect(_opened, dispatch_uid="dbopt.cache.observation.observer")
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
    # Another of the driver's connections may be set to something else.
    watch(connection).is_settled = False
    scope = scope_of(connection)
    if scope is not None and scope.values():
        # The keys of what runs here were made when it had no connection yet.
        refuse_all("session_scope")
    # Each time: Django makes a new connection of the driver, or takes another from a pool.
    watch_cursors(connection, partial(_bypassing, connection))


class Observer:
    """The wrapper of one connection."""

    def __init__(self, state: TransactionState) -> None:
        self._state = state

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Run a statement; before it, read the tokens of what it reads; after it, renew those of what it wrote."""
        # Nearly all statements leave at the first return, and each pays for what stands before it: no call too many.
        statement = (remembered.young.get(sql) if type(sql) is str else None) or read_statement(
            sql, context["connection"]
        )
        if (
            statement.only_reads
            and self._state.is_settled
            and not running()
            and not (statement.functions and writes(statement))
        ):
            return execute(sql, params, many, context)
        return self._run(statement, execute, sql, params, many, context)

    def _run(  # noqa: PLR0913, PLR0917 - as Django calls a wrapper
        self,
        statement: Statement,
        execute: Callable[..., Any],
        sql: Any,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        connection, state = context["connection"], self._state
        state.settle()
        is_write = writes(statement)
        if running():
            _record(
                statement,
                connection=connection,
                state=state,
                cursor=context["cursor"],
                sql=sql,
                parameters=params,
                is_write=is_write,
            )
        if not (is_write or state.pending or state.sets_scope or _isolation(statement) or assigns(statement, sql)):
            return execute(sql, params, many, context)
        assigned = _assigned(statement, connection, sql=sql, parameters=params, many=many)
        tags: frozenset[str] | None = None
        if is_write:
            tags = written_tags(statement, connection, sql=sql, parameters=params, many=many)
            state.will_write(tags)
        elif statement.verb in _COMMITS:
            state.will_commit()
        try:
            result = execute(sql, params, many, context)
            state.assigned(assigned)
            if statement.operation == "insert" and not many:
                tags = inserted_tags(statement, connection, context["cursor"].cursor) or tags
        finally:
            # Also after an error: whether the statement took effect may be unknown.
            _account(statement, tags, state=state)
        return result


@contextmanager
def _bypassing(connection: BaseDatabaseWrapper, sql: object) -> Iterator[None]:
    """Account for a statement that a cursor of the driver runs itself."""
    state = watch(connection)
    statement = read_statement(sql, connection)
    state.settle()
    refuse_all("unobserved")
    tags = written_tags(statement, connection) if writes(statement) else None
    if tags is not None:
        state.will_write(tags)
    try:
        yield
        state.assigned(_assigned(statement, connection, sql=sql))
    finally:
        _account(statement, tags, state=state)


def _assigned(
    statement: Statement,
    connection: BaseDatabaseWrapper,
    *,
    sql: object,
    parameters: object = None,
    many: bool = False,
) -> Sequence[Assignment]:
    """Return what a statement sets; a function that runs has read, or will read, under something else."""
    if not assigns(statement, sql):
        return ()
    found = assignments(statement, connection, sql=sql, parameters=parameters, many=many)
    if found:
        refuse_all("session_scope")
    return found


def _account(statement: Statement, tags: frozenset[str] | None, *, state: TransactionState) -> None:
    level = _isolation(statement)
    if level is not None:
        state.saw_isolation(level, of_session=_is_of_session(statement))
    if statement.operation == "ddl":
        forget_views()
    if state.sets_scope and statement.verb in ("rollback", "abort"):
        if " TO " in statement.text.upper():
            state.scope_undone()
        else:
            state.scope_ended(committed=False)
    if tags is not None:
        state.wrote(tags)
    if state.pending and statement.verb in ("rollback", "abort") and statement.statements == 1:
        if not state.is_open():
            state.rolled_back()
    elif state.pending and (statement.verb in _COMMITS or statement.statements > 1 or not state.is_open()):
        # A transaction was ended in SQL, and another may have begun: COMMIT AND CHAIN, or several statements.
        state.renew_pending()


def _record(  # noqa: PLR0913 - all that is known of a statement, by keyword
    statement: Statement,
    *,
    connection: BaseDatabaseWrapper,
    state: TransactionState,
    cursor: Any,
    sql: object,
    parameters: object,
    is_write: bool,
) -> None:
    reason = "writes" if is_write else _refusal(statement, connection=connection, state=state, cursor=cursor)
    if reason is not None:
        refuse_all(reason)
        return
    if statement.volatile:
        _refuse_following("volatile")
        if not any(recording.accepts_volatile for recording in running()):
            return
    tables = _tables_read(statement, connection)
    if tables is None:
        _refuse_following("volatile" if statement.volatile else "unknown_table")
    elif tables:
        _refuse_strict(lacks_strictness(tables) if any(recording.is_strict for recording in running()) else ())
        depend_all(_read_tags(tables, connection=connection, sql=sql, parameters=parameters))
        if is_replica(connection):
            hold_off_all(connection)


def _read_tags(
    tables: frozenset[str], *, connection: BaseDatabaseWrapper, sql: object, parameters: object
) -> list[str]:
    """Return the tags of what a statement reads: of rows, where it names them by their keys, else of tables."""
    database = database_of(connection)
    rows = bounded_by(sql, parameters, connection, at_most=_MAX_ROWS_READ)
    if rows is None:
        return [database_tag(database), *sorted(table_tag(database, table) for table in tables)]
    keys = sorted(row_tag(database, rows.table, key) for key in rows.keys)
    return [database_tag(database), bulk_tag(database, rows.table), *keys]


def _tables_read(statement: Statement, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    """Return every table a statement reads, those behind views included; None when one of them cannot be told."""
    tables = known_among(statement.identifiers)
    # A name may stand behind the place where the text was cut.
    if not statement.is_whole or not relations_of(statement.text).issubset(tables):
        return None
    if not tables:
        return tables if _is_tableless(statement) else None
    if statement.functions and may_read(statement.functions, connection):
        return None
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
    if statement.locks:
        return "locks"
    if is_replica(connection) and any(recording.is_strict for recording in running()):
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
        return statement.statements == 1
    return statement.verb in ("select", "values") and not statement.functions and " FROM " not in statement.text


def _refuse_strict(tables: Collection[str]) -> None:
    if not tables:
        return
    for recording in running():
        if recording.is_strict:
            recording.refuse("not_strict")
    unknown = sorted(set(tables) - _logged)
    if unknown:
        _logged.update(unknown)
        logger.warning(
            'Results of level "strict" over %s are not stored: name the models in DBOPT["CACHE"]["STRICT"].',
            ", ".join(unknown),
        )


def _refuse_following(reason: str) -> None:
    for recording in running():
        if recording.follows_tables:
            recording.refuse(reason)
