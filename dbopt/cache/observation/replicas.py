"""What a replica is known to show: as far as its primary's log was replayed, and the moment that stands for.

Two rules keep rows of a replica out of the cache that a write has made old. By the first, a token whose writer told the
end of its transaction in the primary's log is good once the replica has replayed that. By the second, a token without
is good after a hold-off of ``REPLICA_LAG`` seconds, as long as the replica lags by no more than that.
"""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.utils import load_backend

from dbopt.cache.names.tables import database_of
from dbopt.cache.names.tokens import hold_off_ms, log_position
from dbopt.conf import dbopt_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from django.db.backends.base.base import BaseDatabaseWrapper

# Not pg_current_wal_lsn(): with synchronous_commit off, a COMMIT returns before its record is written.
_WRITTEN = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint END"

# The primary is asked while replicas are read, and so much longer.
_IDLE_SECONDS = 30.0

# So often within the time that a replica may lag.
_SHARE = 0.25

# How long a reader waits for the first answer, once.
_PATIENCE = 0.2

_IDLE = 0


def refusal(
    connection: BaseDatabaseWrapper, tokens: Collection[bytes], *, now_ms: Callable[[], int | None]
) -> str | None:
    """Return why rows that a replica returns now must not be stored under tokens, or None.

    Asked after the tokens were read, and before the statement runs. `now_ms` asks for the time of the cache server.
    """
    positions = {position for token in tokens if (position := log_position(token)) is not None}
    if positions:
        replayed = replayed_by(connection)
        if replayed is None or replayed < max(positions):
            return "replica_behind"
    moments = {hold_off_ms(token) for token in tokens if log_position(token) is None}
    if moments:
        now = now_ms()
        if now is None:
            return "unreachable"
        if max(moments) > now:
            return "hold_off"
        if is_behind(connection):
            return "replica_lag"
    return None


def written_position(connection: BaseDatabaseWrapper) -> int | None:
    """Return how far the log of a connection's primary reaches, which is behind everything that was committed.

    None where readers do not ask for it, in a transaction, and when the database does not answer.
    """
    raw = connection.connection
    if not _follows_log(connection) or raw is None or int(raw.info.transaction_status) != _IDLE:
        return None
    autocommit = raw.autocommit
    try:
        # Inside an atomic block the driver would begin a new transaction, which nobody ends. No round trip.
        raw.autocommit = True
        return _ask(raw, _WRITTEN)
    except connection.Database.Error:  # type: ignore[attr-defined]  # set by every backend
        return None
    finally:
        if not raw.closed:
            raw.autocommit = autocommit


def replayed_by(connection: BaseDatabaseWrapper) -> int | None:
    """Return how far a replica has replayed its primary's log; None where it replays none."""
    if connection.vendor != "postgresql" or connection.connection is None:
        return None
    try:
        return _ask(connection.connection, _REPLAYED)
    except connection.Database.Error:  # type: ignore[attr-defined]  # set by every backend
        # In a transaction that failed already, as the statement itself will.
        return 0


def is_behind(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a replica may lag behind by more than ``REPLICA_LAG``; unknown counts as behind.

    What replays no log (a logical replica, the primary under another alias) cannot be measured, and does not count.
    """
    budget = dbopt_settings.cache.replica_lag
    if not budget:
        return False
    log = _log_of(database_of(connection))
    if log.is_shown(connection.alias, within=budget):
        return False
    replayed = replayed_by(connection)
    if replayed is None:
        log.trust(connection.alias)
        return False
    log.follow()
    return not log.shows(connection.alias, replayed, within=budget)


class PrimaryLog:
    """How far one primary's log reached at which moment, asked by a thread of this process. Thread-safe.

    A replica that has replayed what the log held at a moment shows all that was committed before it. That lets lag be
    measured by one clock, this process's, also while nothing is written.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._lock = Lock()
        self._asked: deque[tuple[float, int]] = deque(maxlen=256)
        self._shown: dict[str, float] = {}
        self._wanted = 0.0
        self._thread: Thread | None = None
        self._first = Event()

    def is_shown(self, replica: str, *, within: float) -> bool:
        """Tell whether a replica is known to show what was committed so many seconds ago; asks nobody."""
        return time.monotonic() - self._shown.get(replica, -within) < within

    def trust(self, replica: str) -> None:
        """Take a replica that cannot be measured for one that shows everything."""
        self._shown[replica] = time.monotonic()

    def shows(self, replica: str, replayed: int, *, within: float) -> bool:
        """Learn how far a replica has replayed; tell whether it shows what was committed so many seconds ago."""
        with self._lock:
            moments = [moment for moment, written in self._asked if written <= replayed]
        if moments:
            self._shown[replica] = max(moments[-1], self._shown.get(replica, moments[-1]))
        return self.is_shown(replica, within=within)

    def follow(self) -> None:
        """Have the primary asked from now on, for a while. Waits a moment for the first answer, and only for that."""
        self._wanted = time.monotonic()
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._first.clear()
            self._thread = Thread(target=self._work, name="dbopt-cache-replicas", daemon=True)
            self._thread.start()
        self._first.wait(_PATIENCE)

    def _work(self) -> None:
        connection: Any = None
        pause = Event()
        while (budget := dbopt_settings.cache.replica_lag) and time.monotonic() - self._wanted < _IDLE_SECONDS:
            try:
                connection = connection or _own_connection(self._alias)
                moment = time.monotonic()
                written = _ask(connection, _WRITTEN) or 0
                with self._lock:
                    self._asked.append((moment, written))
            except Exception:  # noqa: BLE001 - border of a thread: without answers nothing is stored
                _close(connection)
                connection = None
            self._first.set()
            pause.wait(max(budget * _SHARE, 0.01))
        _close(connection)


_logs: dict[tuple[int, str], PrimaryLog] = {}


def _log_of(alias: str) -> PrimaryLog:
    # By process: in a forked child the thread does not exist.
    return _logs.setdefault((os.getpid(), alias), PrimaryLog(alias))


def _follows_log(connection: BaseDatabaseWrapper) -> bool:
    return (
        dbopt_settings.cache.replica_consistency == "lsn"
        and connection.vendor == "postgresql"
        and any(
            (options.get("TEST") or {}).get("MIRROR") == connection.alias for options in connections.settings.values()
        )
    )


def _ask(raw: Any, query: str) -> int | None:
    # On the driver's cursor, which nobody observes.
    with raw.cursor() as cursor:
        cursor.execute(query)
        found: int | None = cursor.fetchone()[0]
        return found


def _own_connection(alias: str) -> Any:
    """Open a connection of the driver's outside of the alias's pool."""
    options = copy.deepcopy(connections.settings[alias])
    options["OPTIONS"].pop("pool", None)
    wrapper = load_backend(options["ENGINE"]).DatabaseWrapper(options, alias)
    raw = wrapper.get_new_connection(wrapper.get_connection_params())
    raw.autocommit = True
    return raw


def _close(connection: Any) -> None:
    if connection is not None:
        connection.close()
