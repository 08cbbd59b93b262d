"""What was read before, by text."""

from __future__ import annotations

from typing import Generic, TypeVar

REMEMBERED = 2048
LONGEST_REMEMBERED = 8192

Facts = TypeVar("Facts")


class Memory(Generic[Facts]):
    """The last facts by text, in two generations: about an LRU, without a lock and without moving on a hit.

    Threads that turn the generations at once lose some entries, nothing else; there is no lock to be held in a fork.
    """

    __slots__ = ("old", "young")

    def __init__(self) -> None:
        self.young: dict[str, Facts] = {}
        self.old: dict[str, Facts] = {}

    def keep(self, text: str, facts: Facts) -> None:
        """Remember, unless the text is a long one."""
        if len(text) > LONGEST_REMEMBERED:
            return
        if len(self.young) >= REMEMBERED // 2:
            self.old, self.young = self.young, {}
        self.young[text] = facts
