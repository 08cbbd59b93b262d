"""Loads that code waits for one by one, with ``.get()``: then a loader never sees more than one key."""

from __future__ import annotations

import logging

from dbopt.monitoring.n_plus_one import OFTEN
from dbopt.monitoring.origins import find_caller
from dbopt.signals import announce, loader_unbatched

logger = logging.getLogger("dbopt.graphql")


def count_wait(waits: dict[type, int], loader: object) -> None:
    """Count that somebody waits for a loader that has collected a single key; warn of the fifth time.

    Args:
        waits: counts of the operation, by class of loader.
        loader: the loader.
    """
    kind = type(loader)
    count = waits[kind] = waits.get(kind, 0) + 1
    if count != OFTEN:
        return
    origin, resolver = find_caller(2) or (None, None)
    logger.warning(
        "%s does not batch: %s waited for it with .get() %d times, each time for one key. "
        "Return the promise, or load all keys before you wait: loader.load_many(keys).",
        kind.__name__,
        f"{resolver} ({origin})" if origin else "a resolver",
        count,
    )
    announce(loader_unbatched, sender=kind, loader=kind.__name__, count=count, resolver=resolver, origin=origin)
