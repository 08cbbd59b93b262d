"""When this process last saw that a stored result was right: from then on counts how long it may be served stale."""

from __future__ import annotations

import time
from collections import OrderedDict

_LIMIT = 4096


class Sightings:
    """Value keys with the moments of their newest valid hits; the first noted are forgotten first. Thread-safe."""

    def __init__(self) -> None:
        self._moments: OrderedDict[str, float] = OrderedDict()

    def note(self, key: str, moment: float) -> None:
        """Note that the value was right at a moment of ``time.monotonic()``."""
        self._moments[key] = moment
        if len(self._moments) > _LIMIT:
            self._moments.popitem(last=False)

    def seconds_since(self, key: str) -> float:
        """Return how long ago that was; infinity where it is not known."""
        return time.monotonic() - self._moments.get(key, float("-inf"))
