"""The checks of this process: one for each database, graph and cache server of the settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from django.db import DEFAULT_DB_ALIAS, connections

from dbopt.conf import HealthSettings, dbopt_settings
from dbopt.health.database import ask_database, ask_migrations
from dbopt.health.probes import Check, Details
from dbopt.monitoring.cache_server import ask_cache_server, has_cache_server

_DUMMY = "django.db.backends.dummy"


def checks() -> Mapping[str, Check]:
    """Return the checks by name: ``database``, ``database.<alias>``, ``cache``, ``neo4j``, ``neo4j.<alias>``."""
    return _checks(os.getpid(), dbopt_settings.health)


def startup_check() -> Check | None:
    """Return the check that migrations are applied; None without a default database."""
    return _startup_check(os.getpid(), dbopt_settings.health)


# By process: in a forked child the thread of a run that was under way does not exist.
@lru_cache(maxsize=1)
def _checks(_pid: int, options: HealthSettings) -> Mapping[str, Check]:
    return {
        name: Check(name, ask, timeout=options.check_timeout, ttl=options.check_ttl)
        for name, ask in _questions(options.check_timeout).items()
    }


@lru_cache(maxsize=1)
def _startup_check(pid: int, options: HealthSettings) -> Check | None:
    if "database" not in _checks(pid, options):
        return None
    ask = partial(ask_migrations, DEFAULT_DB_ALIAS, timeout=options.check_timeout)
    return Check("startup", ask, timeout=options.check_timeout, ttl=options.check_ttl, once=True)


def forget_checks() -> None:
    """Build the checks anew at the next question: for tests that change DATABASES or CACHES."""
    _checks.cache_clear()
    _startup_check.cache_clear()


def _questions(timeout: float) -> dict[str, Callable[[], Details | None]]:
    found: dict[str, Callable[[], Details | None]] = {
        _name("database", alias): partial(ask_database, alias, timeout=timeout)
        for alias in connections
        if connections.settings[alias]["ENGINE"] != _DUMMY
    }
    if has_cache_server():
        found["cache"] = _ask_cache
    for alias in dbopt_settings.neo4j:
        found[_name("neo4j", alias)] = partial(_ask_graph, alias, timeout=timeout)
    return found


def _ask_graph(alias: str, *, timeout: float) -> Details:
    from dbopt.neo4j import graphs

    answer = graphs[alias].verify(timeout=timeout)
    return {"server_version": answer.agent}


def _ask_cache() -> Details:
    return {"server_version": ask_cache_server().server_version}


def _name(kind: str, alias: str) -> str:
    return kind if alias == DEFAULT_DB_ALIAS else f"{kind}.{alias}"
