"""One driver per process for each server and user: lazy, shared by threads, never shared with a forked child."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import django
from django.core.signals import setting_changed

from dbopt import __version__
from dbopt.conf import Neo4jSettings, dbopt_settings
from dbopt.exceptions import ConfigurationError, require_extra
from dbopt.neo4j.leases import Leases

if TYPE_CHECKING:
    import neo4j


_DEFAULT_PORT = 7687


@dataclass(frozen=True, slots=True)
class DriverKey:
    """Everything that makes two aliases need two drivers; the database is not part of it."""

    uri: str
    user: str
    password: str = field(repr=False)
    max_connection_pool_size: int
    connection_timeout: float
    acquisition_timeout: float
    max_connection_lifetime: float
    liveness_check_timeout: float
    write_timeout: float


@dataclass(frozen=True, slots=True)
class PooledDriver:
    """A driver with our own count of what it has lent out."""

    driver: neo4j.Driver
    leases: Leases


class DriverRegistry:
    """The drivers of this process.

    Thread-safe. A forked child begins with an empty registry: it neither uses nor closes its parent's drivers,
    because both would write to sockets that the parent still reads from.
    """

    def __init__(self) -> None:
        self._hooked = False
        # Drivers of a parent process; referenced for ever, so that no finalizer touches their sockets.
        self._abandoned: list[PooledDriver] = []
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._drivers: dict[DriverKey, PooledDriver] = {}

    def get(self, settings: Neo4jSettings) -> PooledDriver:
        """Return the driver for these settings; make it at first use, without connecting.

        Raises:
            ConfigurationError: the driver refuses the address or an option.
            MissingExtraError: the client ``neo4j`` is not installed.
        """
        self._notice_fork()
        key = driver_key(settings)
        pooled = self._drivers.get(key)
        if pooled is not None:
            return pooled
        with self._lock:
            pooled = self._drivers.get(key)
            if pooled is None:
                self._hook()
                pooled = PooledDriver(_make_driver(key), Leases(key.max_connection_pool_size))
                self._drivers[key] = pooled
        return pooled

    def existing(self, settings: Neo4jSettings) -> PooledDriver | None:
        """Return the driver for these settings if this process has one already."""
        self._notice_fork()
        return self._drivers.get(driver_key(settings))

    def forget(self, pooled: PooledDriver) -> None:
        """Drop a driver that somebody closed behind our back; the next use makes a new one."""
        with self._lock:
            for key in [key for key, value in self._drivers.items() if value is pooled]:
                del self._drivers[key]

    def close(self, settings: Neo4jSettings | None = None) -> None:
        """Close one driver, or all; the next use makes a new one. Queries that are running fail."""
        self._notice_fork()
        with self._lock:
            if settings is None:
                closing = list(self._drivers.values())
                self._drivers.clear()
            else:
                found = self._drivers.pop(driver_key(settings), None)
                closing = [] if found is None else [found]
        for pooled in closing:
            # A server that has gone must not keep a process from ending.
            with contextlib.suppress(OSError, *_driver_errors()):
                pooled.driver.close()

    def _hook(self) -> None:
        if self._hooked:
            return
        self._hooked = True
        os.register_at_fork(after_in_child=self._after_fork)
        atexit.register(self._at_exit)
        setting_changed.connect(self._on_setting_changed, dispatch_uid="dbopt.neo4j.drivers")

    def _after_fork(self) -> None:
        # No lock of the parent may be taken here: another of its threads may have held it while it forked.
        for pooled in self._drivers.values():
            self._abandoned.append(pooled)
            # One reference that is never given back: the list itself dies while the interpreter ends, and the
            # finalizer of driver 5 would then say goodbye on a socket that belongs to the parent.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pooled.driver))
        self._begin()

    def _notice_fork(self) -> None:
        # Forks from C (uWSGI) may not run Python's fork hooks.
        if self._pid != os.getpid():
            self._after_fork()

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            self.close()

    def _on_setting_changed(self, *, setting: str, **_: Any) -> None:
        if setting != "DBOPT":
            return
        try:
            wanted = {driver_key(settings) for settings in dbopt_settings.neo4j.values()}
        except ConfigurationError:
            wanted = set()
        with self._lock:
            stale = [self._drivers.pop(key) for key in list(self._drivers) if key not in wanted]
        for pooled in stale:
            with contextlib.suppress(OSError, *_driver_errors()):
                pooled.driver.close()


def driver_key(settings: Neo4jSettings) -> DriverKey:
    """Return what two aliases must have in common to share a driver."""
    return DriverKey(**{name: getattr(settings, name) for name in DriverKey.__slots__})


def address_of(uri: str) -> str:
    """Return host and port of an address, without user, password or query; for messages."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "?", parts.port or _DEFAULT_PORT
    except ValueError:
        return "an address that cannot be read"
    return f"{host}:{port}"


def _driver_errors() -> tuple[type[Exception], ...]:
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    return (exceptions.DriverError, exceptions.Neo4jError)


def _make_driver(key: DriverKey) -> neo4j.Driver:
    client = require_extra("neo4j", "neo4j")
    options: dict[str, Any] = {
        "max_connection_pool_size": key.max_connection_pool_size,
        "connection_timeout": key.connection_timeout,
        "connection_acquisition_timeout": key.acquisition_timeout,
        "max_connection_lifetime": key.max_connection_lifetime,
        "liveness_check_timeout": key.liveness_check_timeout,
        # Retrying is ours (dbopt.neo4j.retry); this bounds the driver's own for sessions handed out.
        "max_transaction_retry_time": 0,
        "keep_alive": True,
        "telemetry_disabled": True,
        "notifications_min_severity": "WARNING",
        "user_agent": f"dbopt/{__version__} django/{django.get_version()}",
    }
    version = driver_version()
    if version >= (6, 0):
        # Notifications are logged (neo4j.notifications); as Python warnings they would fail tests that run with -W error.
        options["warn_notification_severity"] = "OFF"
    if version >= (6, 1):
        options["connection_write_timeout"] = key.write_timeout
    auth = (key.user, key.password) if key.user else None
    driver_refusals: tuple[type[Exception], ...] = (ValueError, *_driver_errors())
    try:
        driver: neo4j.Driver = client.GraphDatabase.driver(key.uri, auth=auth, **options)
    except driver_refusals as error:
        raise ConfigurationError(
            f"The Neo4j driver refuses the address or an option for {address_of(key.uri)} ({type(error).__name__}). "
            'DBOPT["NEO4J"] needs a "URI" such as "bolt://localhost:7687" or "neo4j+s://graph.example.com".'
        ) from error
    return driver


def driver_version() -> tuple[int, int]:
    """Return major and minor version of the installed client."""
    major, minor, *_ = str(require_extra("neo4j", "neo4j").__version__).split(".")
    return int(major), int(minor)


registry = DriverRegistry()
