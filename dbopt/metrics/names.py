"""Label values that come from the project: capped, so that they cannot grow with its data."""

from __future__ import annotations

OTHER = "other"


class CappedNames:
    """The first names that come, up to a number; all others are one.

    A set of names that grows with the data would fill the memory of every server that scrapes them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()

    def admit(self, name: str) -> str:
        """Return the name, or ``other`` when there are too many."""
        if name in self._names:
            return name
        if len(self._names) >= self._most:
            return OTHER
        self._names.add(name)
        return name
