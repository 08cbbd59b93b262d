"""The servers of one pytest run, as seen by the process that started them and by the workers of pytest-xdist.

Workers cannot ask the process that started the servers, so it leaves a file for each server that is ready or failed.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from dbopt.exceptions import ServerStartError
from dbopt.testing.services import Running, Server, launch
from dbopt.testing.services.folders import Folder, exclusive, new_folder
from dbopt.testing.services.server import VARIABLES, variables

if TYPE_CHECKING:
    from dbopt.testing.services.startup import Report

STATE = "DBOPT_TEST_SERVICES_STATE"
WORKER = "PYTEST_XDIST_WORKER"
POLL_SECONDS = 0.05


class Session(Protocol):
    """What the plugin asks of the servers."""

    @property
    def names(self) -> tuple[str, ...]:
        """The servers that the project asks for."""

    def server(self, name: str) -> Server:
        """Wait for a server; raise ServerStartError where it cannot be had."""

    def is_done(self, name: str) -> bool:
        """Whether `server` returns or raises at once."""

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Keep the tests of other workers from a server for a while."""

    def close(self) -> None:
        """Stop what was started, and give the environment back as it was."""


class StartedHere:
    """Servers of this process."""

    def __init__(self, names: Iterable[str], *, progress: Report) -> None:
        self._running: Running = launch(names, progress=progress)
        self.names = self._running.names
        self._published = self._running.environment
        self._folder: Folder = new_folder("pytest")
        self._before = {key: os.environ.get(key) for key in (*self._published, STATE)}
        os.environ.update(self._published, **{STATE: str(self._folder.path)})
        self._threads = [threading.Thread(target=self._leave_word, args=[name], daemon=True) for name in self.names]
        for thread in self._threads:
            thread.start()

    def server(self, name: str) -> Server:
        """Wait for a server; raise ServerStartError where it cannot be had."""
        server = self._running.server(name)
        if self._running.is_ours(name) and server.url != self._published[VARIABLES[name]]:
            raise ServerStartError(
                f"{server.label} lost its port to another program while starting: run the tests again."
            )
        return server

    def is_done(self, name: str) -> bool:
        """Whether `server` returns or raises at once."""
        return self._running.is_done(name)

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Do nothing: this process runs one test at a time."""
        return nullcontext()

    def close(self) -> None:
        """Stop the servers, and give the environment back as it was."""
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        self._running.stop()
        for thread in self._threads:
            # A word left after the removal has begun would keep the folder.
            thread.join()
        self._folder.remove()

    def _leave_word(self, name: str) -> None:
        try:
            server = self.server(name)
        except ServerStartError as error:
            word: dict[str, object] = {"reason": str(error)}
        else:
            word = {"version": server.version, "port": server.port, "start_seconds": server.start_seconds}
            word |= {"origin": server.origin}
        draft = self._folder.path / f"{name}.draft"
        draft.write_text(json.dumps(word))
        draft.rename(draft.with_suffix(".json"))


@dataclass(frozen=True)
class StartedElsewhere:
    """Servers of the process that started this worker."""

    names: tuple[str, ...]
    state: Path

    def server(self, name: str) -> Server:
        """Wait for a server; raise ServerStartError where it cannot be had."""
        while not self.is_done(name):
            if not self.state.is_dir():
                raise ServerStartError(f"The process that started {name} has gone.")
            time.sleep(POLL_SECONDS)
        word = json.loads((self.state / f"{name}.json").read_text())
        if "reason" in word:
            raise ServerStartError(word["reason"])
        if name == "neo4j":
            word |= {key: os.environ.get(f"DBOPT_TEST_NEO4J_{key.upper()}", "") for key in ("user", "password")}
        return Server(name=name, url=os.environ[f"DBOPT_TEST_{VARIABLES[name]}"], **word)

    def is_done(self, name: str) -> bool:
        """Whether `server` returns or raises at once."""
        return (self.state / f"{name}.json").exists()

    def alone(self, name: str) -> AbstractContextManager[None]:
        """Keep the tests of other workers from a server for a while."""
        return exclusive(self.state / f"{name}.lock")

    def close(self) -> None:
        """Leave the servers to the process that started them."""


def join(names: Iterable[str]) -> StartedElsewhere | None:
    """Return the servers of the process that started this worker, None where there are none.

    Each worker gets a Redis database of its own number, so that one may empty it.
    """
    state, worker = os.environ.get(STATE), os.environ.get(WORKER)
    if not state or not worker:
        return None
    session = StartedElsewhere(names=tuple(names), state=Path(state))
    number = re.search(r"\d+$", worker)
    url = os.environ.get("DBOPT_TEST_REDIS_URL", "")
    if number and "redis" in session.names and os.environ.get("DBOPT_TEST_ALLOW_WIPE") == "1" and url:
        own = urlsplit(url)._replace(path=f"/{int(number.group()) + 1}").geturl()
        os.environ.update(variables("redis", own))
    return session
