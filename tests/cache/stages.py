"""What test functions do when they run: note it in a file that all processes share, wait for a cue, fail."""

from __future__ import annotations

import os
import threading
import traceback

from django.conf import settings
from django.db import connections
from django.test import override_settings

from tests.cache.conftest import DEADLINE


class Stage:
    """The place of one test; `held` executions wait for the cue, then `failing` ones raise."""

    def open(self, path):
        """Begin a test, with the file for its notes."""
        self._path = path
        self.held = 0
        self.failing = 0
        self.cue = threading.Event()
        self.arrived = threading.Event()

    @property
    def executions(self):
        return self._path.stat().st_size if self._path.exists() else 0

    def enter(self):
        with self._path.open("ab") as notes:
            notes.write(b"x")
        if self.held > 0:
            self.held -= 1
            self.arrived.set()
            assert self.cue.wait(DEADLINE)
        if self.failing > 0:
            self.failing -= 1
            raise LookupError("stage fright")


class PipedCue:
    """An event that crosses processes: the end of a pipe from which one reads what another wrote."""

    def __init__(self, reading):
        self._reading = reading

    def wait(self, _):
        return os.read(self._reading, 1) == b"!"

    def set(self):
        """Nobody is left."""


def unhurried():
    """Give the cache server time limits that a busy machine keeps."""
    return override_settings(DBOPT={**settings.DBOPT, "CACHE": {"CONNECT_TIMEOUT": 5, "SOCKET_TIMEOUT": 5}})


def in_children(count, work):
    """Fork children that do some work, and return their process ids; their errors go to stderr."""
    connections.close_all()
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
                traceback.print_exc()
            finally:
                connections.close_all()
                os._exit(status)
        children.append(pid)
    return children


def start(function, *arguments, threads, stage):
    """Call a function in a thread, and return its future when it waits for the cue."""
    stage.held = 1
    future = threads(function, *arguments)
    assert stage.arrived.wait(DEADLINE)
    return future


def clock(monkeypatch, modules, *, ahead):
    """Set the clocks that modules read, both of them, so many seconds ahead."""
    import time
    import types

    shifted = {"time": lambda: time.time() + ahead, "monotonic": lambda: time.monotonic() + ahead}
    for module in modules:
        monkeypatch.setattr(module, "time", types.SimpleNamespace(**{**vars(time), **shifted}))
