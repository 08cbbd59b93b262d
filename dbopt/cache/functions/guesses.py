"""Which rows a call of a cached function will depend on, guessed from its arguments: `get(5)` reads row 5.

A guess saves the second round trip that the tokens of rows would take; a wrong one costs a token that nobody needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Pairs of a table and an argument, for one function.
_MOST = 8


class Guesses:
    """What one function's arguments have to do with the rows it reads. Thread-safe."""

    def __init__(self) -> None:
        # A new tuple each time: another thread may be reading the old one.
        self._pairs: tuple[tuple[str, str], ...] = ()

    def learn(self, rows: Iterable[str], arguments: Mapping[str, Any]) -> None:
        """Remember which arguments named the rows that a result depended on, given by their tags."""
        for row in rows:
            prefix, _, key = row.rpartition(":")
            for name, argument in arguments.items():
                if _key(argument) == key and (prefix, name) not in self._pairs:
                    self._pairs = (*self._pairs, (prefix, name))[:_MOST]

    def rows(self, arguments: Mapping[str, Any]) -> list[str]:
        """Return the tags of the rows that a call with these arguments may depend on."""
        found = [(prefix, _key(arguments[name])) for prefix, name in self._pairs]
        return [f"{prefix}:{key}" for prefix, key in found if key is not None]


def _key(argument: object) -> str | None:
    if type(argument) is int:
        return str(argument)
    if isinstance(argument, UUID):
        return argument.hex
    if isinstance(argument, str):
        return quote(argument, safe="")
    return _key(argument.pk) if isinstance(argument, models.Model) else None
