"""What the stores announce; monitoring and metrics listen.

Receivers must be fast: they run in the caller's thread, inside its statement or cache read.
An error in a receiver is logged by Django (``django.dispatch``) and never reaches the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.dispatch import Signal

logger = logging.getLogger(__name__)

Observer = Callable[..., object]

query_executed = Signal()
"""SQL ran: alias, operation, fingerprint, seconds, slow, failed, origin."""

cypher_executed = Signal()
"""Cypher ran: alias, database, access ("read" or "write"), name, fingerprint, seconds, rows, slow, failed."""

cache_read = Signal()
"""A cached function was called: name, prefix, outcome ("hit", "miss", "stale", "bypass", "error"), reason, seconds."""

cache_invalidated = Signal()
"""Tokens were renewed: tags (count), delivered (False while the cache server is out of reach), seconds."""

batch_loaded = Signal()
"""A loader loaded: loader (name), size (keys), hits (loads answered from the loader itself), seconds."""

pool_event = Signal()
"""A connection pool changed: alias, event ("timeout", "reclaimed"), seconds."""

connection_leaked = Signal()
"""A connection was held for too long: alias, seconds, origin."""

n_plus_one_found = Signal()
"""A request or task repeated a statement, told once for each at its end: route, fingerprint, count, seconds, origin."""

loader_unbatched = Signal()
"""Loads were waited for one by one, told once an operation and loader: loader, count, resolver, origin."""


_observers: dict[Signal, tuple[Observer, ...]] = {}


def observe(signal: Signal, observer: Observer) -> None:
    """Have a function called with the facts of each announcement, before the receivers. Repeating it changes nothing.

    For this package's own listeners, which stay for good: the ten microseconds that Django takes to find out which
    receivers are still alive are spent only where a project listens.
    """
    known = _observers.get(signal, ())
    if observer not in known:
        _observers[signal] = (*known, observer)


def is_heard(signal: Signal) -> bool:
    """Say whether anybody listens: for facts that take work to find."""
    return bool(signal.receivers or signal in _observers)


def announce(signal: Signal, *, sender: object, **facts: Any) -> None:
    """Tell whoever listens; never raises, and costs next to nothing unheard."""
    for observer in _observers.get(signal, ()):
        try:
            observer(**facts)
        except Exception:
            logger.exception("%s failed.", observer)
    if signal.receivers:
        signal.send_robust(sender=sender, **facts)
