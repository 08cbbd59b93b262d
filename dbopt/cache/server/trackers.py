"""What the server tells about keys that change, on a connection that is for nothing else."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

logger = logging.getLogger(__name__)

# How often the server is asked whether it is still there, and how old the last question that it answered may be.
PING_SECONDS = 1.0
SILENCE_SECONDS = 2.0

_RETRY_SECONDS = 1.0


class Tracker:
    """A daemon thread that listens to one server and connects again when it has to. Belongs to one process."""

    def __init__(
        self,
        connected: Callable[[], Any],
        prefix: str,
        *,
        told: Callable[[Collection[bytes] | None], object],
        beat: Callable[[], object],
    ) -> None:
        """Prepare to listen; nothing connects before :meth:`start`.

        Args:
            connected: returns a new connection that speaks RESP3.
            prefix: what the keys begin with.
            told: gets the keys that changed; None means that all may have.
            beat: is called about once a second.
        """
        self._connected = connected
        self._prefix = prefix
        self._told = told
        self._beat = beat
        self._closed = Event()
        self._complete_to = float("-inf")
        self._thread = Thread(target=self._work, name="dbopt-cache-tracker", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def is_told(self, now: float) -> bool:
        """Tell whether everything that changed until shortly before a moment of the monotonic clock was told."""
        return now - self._complete_to < SILENCE_SECONDS

    def close(self) -> None:
        """Stop listening, within a second; what is told until then is of no use."""
        self._complete_to = float("-inf")
        self._closed.set()

    def _work(self) -> None:
        errors = require_extra("redis.exceptions", "redis")
        is_news = True
        while not self._closed.is_set():
            try:
                self._listen()
            except (errors.RedisError, OSError) as error:
                # What changes from here on is told to nobody.
                self._complete_to = float("-inf")
                if is_news and isinstance(error, errors.ResponseError):
                    is_news = False
                    logger.warning("The cache server refuses client tracking (%s): no local copies.", error)
                self._beat()
                self._closed.wait(_RETRY_SECONDS)

    def _listen(self) -> None:
        connection = self._connected()
        try:
            self._listen_to(connection)
        finally:
            connection.disconnect()

    def _listen_to(self, connection: Any) -> None:
        began = asked = time.monotonic()
        connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix, check_health=False)
        connection.read_response()
        # Without this, the client reads such messages and keeps them to itself.
        connection._parser.set_invalidation_push_handler(lambda message: message)  # noqa: SLF001
        self._told(None)
        self._complete_to, waits = began, False
        while not self._closed.is_set():
            now = time.monotonic()
            if waits and now - asked >= SILENCE_SECONDS:
                raise TimeoutError
            if not waits and now - asked >= PING_SECONDS:
                connection.send_command("PING", check_health=False)
                asked, waits = now, True
                self._beat()
            if not connection.can_read(PING_SECONDS / 4):
                continue
            message = connection.read_response(push_request=True)
            if not isinstance(message, list):
                # The answer: everything up to the moment of the question has been read before it.
                self._complete_to, waits = asked, False
            elif message[0] in (b"invalidate", "invalidate"):
                self._told(message[1])
