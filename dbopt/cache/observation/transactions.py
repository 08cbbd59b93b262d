"""What the transaction on a connection means for the cache: what it wrote, and whether its rows may be shared.

The state lies on the connection object and is made when the connection is opened; nothing is pushed when an atomic
block begins, so nothing is left behind when that fails. Whether a transaction is open is asked of the driver.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dbopt.cache.names.declared import strict_among
from dbopt.cache.names.tokens import MAX_ROWS, bulk_of, is_row
from dbopt.cache.observation.replicas import written_position
from dbopt.cache.observation.scopes import assign, is_shared_scope, scope_of
from dbopt.cache.server.servers import server_or_none
from dbopt.cache.server.strict import new_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

    from dbopt.cache.observation.assignments import Assignment

# PostgreSQL treats the second like the first.
_FRESH_LEVELS = frozenset({"READ COMMITTED", "READ UNCOMMITTED"})

# Numbers of libpq's PGTransactionStatusType.
_IDLE, _IN_ERROR, _UNKNOWN = 0, 3, 4

_ATTRIBUTE = "dbopt_cache_state"

# Set by dbopt.testing, for one thread: in a test whose keys are its own, the test's transaction counts for none.
tests_are_transparent: ContextVar[bool] = ContextVar("dbopt_cache_tests_are_transparent", default=False)


class TransactionState:
    """What one connection's current transaction did. Belongs to the thread that owns the connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        # Tags to renew when the transaction ends. Kept when a savepoint is rolled back: one renewal too many is
        # a miss, one too few is a wrong answer.
        self.pending: set[str] = set()
        self._rows: Counter[str] = Counter()
        # Tokens that this transaction marked, and the name under which it did, see dbopt.cache.server.strict.
        self._marked: set[str] = set()
        self._writer = b""
        self.is_dirty = False
        self.isolation: str | None = None
        # Whether nothing of the above, and nothing that is set, waits for the end of a transaction: then statements
        # that only read pass by. Whatever changes the state takes it back; only settle() finds it out.
        self.is_settled = False
        self._defaults: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    @property
    def sets_scope(self) -> bool:
        """Whether the open transaction set what :mod:`dbopt.cache.observation.scopes` follows."""
        scope = scope_of(self._connection)
        return scope is not None and scope.is_open

    def is_open(self) -> bool:
        """Tell whether the database has a transaction open on this connection."""
        raw = self._connection.connection
        return raw is not None and not self._is_in_test_alone() and self._has_transaction(raw)

    def _has_transaction(self, raw: Any) -> bool:
        status = _status(raw)
        if status is not None:
            return status not in (_IDLE, _UNKNOWN)
        if self._connection.vendor == "sqlite":
            return bool(raw.in_transaction)
        return self._connection.in_atomic_block or not self._connection.autocommit

    def settle(self) -> None:
        """Start anew where the last transaction is over; called before each statement and each look at the state."""
        if self.sets_scope and not self._has_transaction(self._connection.connection):
            self.scope_ended(committed=None)
        if self.is_dirty or self.pending or self.isolation:
            if self.is_open():
                return
            # Pending tags of a transaction whose end nobody saw: it may have been committed.
            self.renew_pending()
            self.is_dirty = False
            self.isolation = None
        self.is_settled = not (self.pending or self.sets_scope)

    def will_write(self, tags: Iterable[str]) -> None:
        """Note a write that comes now. Inside an atomic block nobody else sees it before the COMMIT is announced."""
        if not self._is_in_block():
            self._mark(tags)

    def will_commit(self) -> None:
        """Announce a COMMIT: from now until the tokens are renewed, strict readers go around the cache."""
        self._mark(self.pending)

    def wrote(self, tags: Iterable[str]) -> None:
        """Note a write that was sent, successfully or not: an autocommitted one renews its tokens at once."""
        self.is_settled = False
        if self.is_open():
            self.add_pending(tags)
            self.is_dirty = True
        else:
            # Not counted row by row: one statement never names too many.
            self.pending.update(tags)
            self.renew_pending()

    def add_pending(self, tags: Iterable[str]) -> None:
        """Note tags to renew when the transaction ends; a table's many rows become one."""
        self.is_settled = False
        for tag in tags:
            if not is_row(tag):
                self.pending.add(tag)
            elif tag not in self.pending and bulk_of(tag) not in self.pending:
                self._add_row(tag, bulk_of(tag))

    def renew_pending(self) -> None:
        """Renew the tokens of everything written; forgets the tags only when the transaction is over."""
        if not self.pending:
            return
        current = server_or_none()
        if current is not None:
            position = written_position(self._connection)
            current.renew(self.pending | self._marked, writer=self._writer, position=position)
        if not self.is_open():
            self._forget()

    def rolled_back(self) -> None:
        """Forget what was written: the whole transaction is undone."""
        if self._writer:
            # Nobody needs to go around the cache any longer.
            self.renew_pending()
        self._forget()
        self.isolation = None

    def saw_isolation(self, level: str, *, of_session: bool = False) -> None:
        """Note that a statement set the isolation level, of the open transaction or of the session's later ones."""
        self.is_settled = False
        if self.is_open() or self._is_in_block():
            # Held until the transaction ends, so that the session's default is asked after it, also if it is undone.
            self.isolation = self._current_level() if of_session else level.upper()
        self._defaults.clear()

    def assigned(self, found: Sequence[Assignment]) -> None:
        """Note what a statement has set on the session, or on the transaction."""
        raw = self._connection.connection
        if found and raw is not None and self._connection.vendor == "postgresql":
            self.is_settled = False
            assign(self._connection, found, in_transaction=self._has_transaction(raw))

    def scope_undone(self) -> None:
        """Note the rollback of a savepoint."""
        scope = scope_of(self._connection)
        if scope is not None:
            scope.undone_in_part()

    def scope_ended(self, *, committed: bool | None) -> None:
        """Note how the transaction ended in which something was set; None: nobody saw it."""
        scope = scope_of(self._connection)
        if scope is not None:
            scope.ended(committed=committed)

    def obstacle(self) -> str | None:
        """Return why rows read now must not be shared with others, or None: session_scope, manual, dirty, isolation."""
        connection = self._connection
        if connection.connection is None:
            return None
        self.settle()
        if not is_shared_scope(connection):
            return "session_scope"
        if self._is_in_test_alone():
            return None
        is_open = self.is_open()
        if not connection.in_atomic_block:
            return "manual" if is_open or not connection.autocommit else None
        if self.is_dirty or connection.needs_rollback or self.is_failed():
            return "dirty"
        # Only here: without a transaction each statement has a snapshot of its own, younger than the tokens.
        return None if self._level() in _FRESH_LEVELS else "isolation"

    def _is_in_block(self) -> bool:
        return self._connection.in_atomic_block and not self._is_in_test_alone()

    def _is_in_test_alone(self) -> bool:
        """Tell whether nothing is open but the transaction that Django's TestCase wraps around a test."""
        if not tests_are_transparent.get():
            return False
        blocks = self._connection.atomic_blocks
        return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)

    def _add_row(self, tag: str, bulk: str) -> None:
        self._rows[bulk] += 1
        if self._rows[bulk] <= MAX_ROWS:
            self.pending.add(tag)
        else:
            self.pending = {other for other in self.pending if not is_row(other) or bulk_of(other) != bulk} | {bulk}

    def _mark(self, tags: Iterable[str]) -> None:
        strict = strict_among(tags)
        current = server_or_none() if strict else None
        if current is not None:
            self._writer = self._writer or new_writer()
            self._marked.update(strict)
            current.mark(strict, writer=self._writer)

    def _forget(self) -> None:
        self.pending.clear()
        self._rows.clear()
        self._marked.clear()
        self._writer = b""
        self.is_dirty = False

    def is_failed(self) -> bool:
        """Tell whether the database refuses everything until the transaction is rolled back."""
        return _status(self._connection.connection) == _IN_ERROR

    def _level(self) -> str:
        if self._connection.vendor != "postgresql":
            return "UNKNOWN"
        if self.isolation is not None:
            return self.isolation
        # Set by Django from OPTIONS, or by anyone on the driver's connection; None leaves it to the session's default.
        level = getattr(self._connection.connection, "isolation_level", None)
        if level is not None:
            return str(getattr(level, "name", level)).replace("_", " ").upper()
        return self._session_default()

    def _current_level(self) -> str:
        return self.isolation or self._show("transaction_isolation") or "UNKNOWN"

    def _session_default(self) -> str:
        raw = self._connection.connection
        level = self._defaults.get(raw)
        if level is None:
            # Once a physical connection: a server, role or database may have a default that no setting of Django shows.
            level = self._show("default_transaction_isolation")
            if level is None:
                return "UNKNOWN"
            self._defaults[raw] = level
        return level

    def _show(self, parameter: str) -> str | None:
        raw = self._connection.connection
        if raw is None or self._connection.vendor != "postgresql":
            return None
        try:
            # On the driver's cursor, which nobody observes. SHOW takes no snapshot.
            with raw.cursor() as cursor:
                cursor.execute(f"SHOW {parameter}")
                return str(cursor.fetchone()[0]).upper()
        except self._connection.Database.Error:  # type: ignore[attr-defined]  # set by every backend
            return None


def _status(raw: Any) -> int | None:
    """Return libpq's number of the transaction's status; None where the driver does not tell."""
    try:
        return int(raw.pgconn.transaction_status)
    except AttributeError:
        # Of an older driver, or not PostgreSQL's.
        status = getattr(getattr(raw, "info", None), "transaction_status", None)
        return None if status is None else int(status)


def watch(connection: BaseDatabaseWrapper) -> TransactionState:
    """Give a connection its state, once, and have it told when the transaction ends.

    Every commit of Django passes ``connection.commit()``: that of the outermost atomic block, before the hooks of
    ``on_commit`` run, and that of manual transactions. A hook of our own would be dropped with a savepoint that is
    rolled back, and would not run when the connection breaks during COMMIT, where the outcome is unknown.
    """
    found: TransactionState | None = state_of(connection)
    if found is not None:
        return found
    state = TransactionState(connection)
    setattr(connection, _ATTRIBUTE, state)
    commit, rollback = connection.commit, connection.rollback

    @wraps(commit)
    def watched_commit() -> None:
        state.will_commit()
        # What is failed is rolled back by a COMMIT.
        committed: bool | None = not state.is_failed()
        try:
            commit()
        except BaseException:
            committed = None
            raise
        finally:
            state.renew_pending()
            state.scope_ended(committed=committed)

    @wraps(rollback)
    def watched_rollback() -> None:
        rollback()
        state.rolled_back()
        state.scope_ended(committed=False)

    connection.commit = watched_commit  # type: ignore[method-assign]
    connection.rollback = watched_rollback  # type: ignore[method-assign]
    return state


def state_of(connection: BaseDatabaseWrapper) -> TransactionState | None:
    """Return a connection's state; None while it was never opened."""
    return getattr(connection, _ATTRIBUTE, None)
