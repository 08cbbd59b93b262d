"""One line that says how far a command is: rewritten on a terminal, repeated now and then in a log."""

from __future__ import annotations

import time
from typing import Protocol

_LOG_EVERY = 5.0
_WIDTH = 100


class Stream(Protocol):
    """What a command writes to: Django's OutputWrapper."""

    def isatty(self) -> bool:
        """Whether a person watches."""
        ...

    def write(self, msg: str = "", style_func: None = None, ending: str | None = None) -> object:
        """Write one message."""
        ...


class ProgressLine:
    """Progress on stderr, so that stdout holds results alone. For one thread."""

    def __init__(self, stream: Stream, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._shown = False
        self._last = time.monotonic()

    def update(self, text: str) -> None:
        """Show where the work is."""
        if self._quiet:
            return
        if self._stream.isatty():
            self._stream.write(f"\r{text[:_WIDTH]:<{_WIDTH}}", ending="")
            self._shown = True
        elif time.monotonic() - self._last >= _LOG_EVERY:
            self._stream.write(text)
            self._last = time.monotonic()

    def done(self) -> None:
        """Wipe the line, so that what follows begins at the left."""
        if self._shown:
            self._stream.write(f"\r{'':<{_WIDTH}}\r", ending="")
            self._shown = False
