"""The protocol of tokens as a model: one row, its token, one value, and who is in the middle of what.

Each step is one that the network or the scheduler may delay; whoever drives the model chooses the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True)
class Token:
    number: int
    marks: frozenset[str] = frozenset()


@dataclass
class Reader:
    """A read that found nothing: the token it has seen, then the row."""

    token: Token
    may_store: bool
    row: int | None = None


@dataclass
class Protocol:
    """Level "commit", or "strict" with marks.

    Attributes:
        row: the version that is committed.
        renewed: the version that was committed when a writer last renewed the token.
        announced, writers: those before their COMMIT, and those between it and their renewal.
        dead: writers that were killed after their COMMIT; their marks stay until `bury`.
    """

    is_strict: bool
    row: int = 0
    renewed: int = 0
    token: Token | None = None
    value: tuple[int, Token] | None = None
    readers: dict[str, Reader] = field(default_factory=dict)
    announced: set[str] = field(default_factory=set)
    writers: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    buried: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._numbers = count()

    def look(self, reader: str) -> int | None:
        """Return the value if it may be served; otherwise the reader goes on with `query` and `store`."""
        if self.token is None:
            self.token = self._new()
        if self.is_strict and self.buried & self.token.marks:
            self.token = self._new(self.token.marks - self.buried)
        is_pending = self.is_strict and bool(self.token.marks)
        if self.value is not None and self.value[1] == self.token and not is_pending:
            return self.value[0]
        self.readers[reader] = Reader(self.token, may_store=not is_pending)
        return None

    def missed(self, reader: str) -> None:
        """Have a reader go on that could have had the value: a cache may always miss."""
        self.readers[reader] = Reader(self.token, may_store=True)

    def query(self, reader: str) -> None:
        self.readers[reader].row = self.row

    def store(self, reader: str) -> int:
        read = self.readers.pop(reader)
        if read.may_store and self.token == read.token:
            self.value = (read.row, read.token)
        return read.row

    def announce(self, writer: str) -> None:
        """Begin to write: a strict writer marks the token before its COMMIT."""
        self.announced.add(writer)
        self.buried.discard(writer)
        if self.is_strict:
            self.token = self._new((self.token.marks if self.token else frozenset()) | {writer})

    def commit(self, writer: str) -> None:
        self.announced.remove(writer)
        self.writers.add(writer)
        self.row += 1

    def renew(self, writer: str) -> None:
        self.writers.remove(writer)
        if self.token is not None:
            self.token = self._new(self.token.marks - {writer})
        self.renewed = self.row

    def kill(self, writer: str) -> None:
        self.writers.remove(writer)
        self.dead.add(writer)

    def bury(self) -> None:
        """Let the deadlines of the dead pass."""
        self.buried |= self.dead
        self.dead.clear()

    def evict_token(self) -> None:
        # With a mark, its promise: a writer that is between its COMMIT and its renewal is not announced any more.
        self.token = None

    def evict_value(self) -> None:
        self.value = None

    def is_right(self, row: int) -> bool:
        """Tell whether a value may be served now: never an older one than this level promises."""
        return self.row >= row >= (self.row if self.is_strict else self.renewed)

    def can_start(self) -> bool:
        """Whether a new reader would not wait for one that has seen the same token."""
        return all(read.token != self.token for read in self.readers.values())

    def _new(self, marks: frozenset[str] = frozenset()) -> Token:
        return Token(next(self._numbers), marks)
