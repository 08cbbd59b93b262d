"""The way to the cache server: connections of our own, one round trip for everything that is asked at once.

The client's pools and retries are not used: they look at every connection before each use, and wait between attempts.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dbopt.exceptions import require_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from dbopt.cache.server.lineage import Lineage


class Script(str):
    """A Lua script, sent by its name and, to a server that has forgotten it, whole."""

    __slots__ = ("sha",)

    sha: str

    def __new__(cls, text: str) -> Script:
        """Compute the name under which servers keep it."""
        script = super().__new__(cls, text)
        script.sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - Redis names scripts so
        return script

    def command(self, keys: Sequence[str], arguments: Sequence[object]) -> Command:
        """Return the command that runs it over keys of one slot."""
        return Command(keys[0], ("EVALSHA", self.sha, len(keys), *keys, *arguments), self)


class Command(NamedTuple):
    """What to send, and the key that tells a cluster where to. It may be carried out twice.

    Where the bytes of the words are at hand, they are sent as they are.
    """

    key: str
    words: tuple[Any, ...]
    script: Script | None = None
    packed: bytes = b""

    def whole(self) -> Command:
        """Return the same with the script's text in place of its name."""
        return Command(self.key, ("EVAL", self.script, *self.words[2:]))


class Network(Protocol):
    """The server, or the nodes of a cluster. A place is where a connection leads to."""

    def by_place(self, keys: Sequence[str]) -> Mapping[Hashable, Sequence[int]]:
        """Return the positions of keys by the places where they lie; may connect in order to find out."""

    def new_connection(self, place: Hashable, **options: Any) -> Any:
        """Return a connection that is not connected yet; options replace those of the settings."""

    def places(self) -> Sequence[Hashable]:
        """Return all places that are known; connects nowhere."""

    def look_again(self) -> None:
        """Note that a place failed: keys may lie elsewhere by now."""

    def redirected(self, command: Command, answer: Exception) -> Any:
        """Return the answer to a command that a server wanted to have sent elsewhere."""


class Road:
    """Sends commands to where their keys lie and returns the answers. Thread-safe; belongs to one process."""

    def __init__(self, network: Network, lineage: Lineage, *, replaced: Callable[[], object]) -> None:
        self._errors = errors = require_extra("redis.exceptions", "redis")
        self.faults: tuple[type[Exception], ...] = (errors.RedisError, errors.RedisClusterException, OSError)
        self.refusals: type[Exception] = errors.ResponseError
        self._network = network
        self._lineage = lineage
        self._replaced = replaced
        self._idle: dict[Hashable, list[Any]] = {}
        # How often commands were sent; for tests, which count them instead of measuring time.
        self.round_trips = 0

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands at once and return their answers, as the server gave them.

        Raises:
            redis.RedisError, OSError: an answer is missing, or one of them is an error.
        """
        answers = self._exchange(commands)
        if self._lineage.strangers:
            # The server was not known yet: what it answered may be older than what the one before it was told.
            self._settle(self._lineage.strangers)
            answers = self._exchange(commands)
        return answers

    def close(self) -> None:
        """Close what is idle. A connection that is in use now is not used again."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            while connections:
                connections.pop().disconnect()

    def _settle(self, strangers: frozenset[bytes]) -> None:
        answers = self._exchange([self._lineage.question(stranger) for stranger in strangers])
        if self._lineage.settled(strangers, answers):
            # Another server stands in the old one's place: nothing that is connected to that one may be asked again.
            self.close()
            self._replaced()

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        try:
            answers = self._send(commands)
        except self.faults:
            self.close()
            self._network.look_again()
            raise
        for number, answer in enumerate(answers):
            if isinstance(answer, Exception):
                answers[number] = self._second_answer(commands[number], answer)
        return answers

    def _second_answer(self, command: Command, answer: Exception) -> Any:
        if isinstance(answer, self._errors.NoScriptError) and command.script is not None:
            (answer,) = self._send([command.whole()])
        elif isinstance(answer, self._errors.AskError):
            answer = self._network.redirected(command, answer)
        elif isinstance(answer, self._errors.ReadOnlyError):
            # Made a replica: its address, or its name, may lead to another server when it is asked anew.
            self.close()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, commands: Sequence[Command], *, is_last_try: bool = False) -> list[Any]:
        groups = self._network.by_place([command.key for command in commands])
        lines: list[_Line] = []
        answers: list[Any] = [None] * len(commands)
        self.round_trips += 1
        try:
            for place in groups:
                lines.append(self._line(place))  # noqa: PERF401 - those made so far are left when the next one fails
            # All are sent before any answer is awaited: places work at the same time.
            for line, numbers in zip(lines, groups.values(), strict=True):
                line.send([commands[number] for number in numbers])
            for line, numbers in zip(lines, groups.values(), strict=True):
                for number in numbers:
                    answers[number] = line.read(self.refusals)
        except self._errors.ConnectionError:
            if is_last_try or not any(line.was_idle for line in lines):
                raise
        else:
            return answers
        finally:
            for line in lines:
                line.leave()
        # A server that was started again, or that tidied up, has closed connections that lay idle.
        self.close()
        return self._send(commands, is_last_try=True)

    def _line(self, place: Hashable) -> _Line:
        home = self._idle.setdefault(place, [])
        try:
            return _Line(home.pop(), home, was_idle=True)
        except IndexError:
            connection = self._network.new_connection(place)
        try:
            connection.connect()
            self._lineage.met(connection)
        except BaseException:
            connection.disconnect()
            raise
        return _Line(connection, home, was_idle=False)


class _Line:
    """A connection while one thread uses it."""

    __slots__ = ("_connection", "_home", "_unread", "was_idle")

    def __init__(self, connection: Any, home: list[Any], *, was_idle: bool) -> None:
        self.was_idle = was_idle
        self._connection = connection
        self._home = home
        self._unread = 0

    def send(self, commands: Sequence[Command]) -> None:
        self._unread = len(commands)
        connection, packed = self._connection, [command.packed for command in commands]
        if all(packed):
            packed = [b"".join(packed)]
        elif len(commands) == 1:
            packed = connection.pack_command(*commands[0].words)
        else:
            packed = connection.pack_commands([command.words for command in commands])
        connection.send_packed_command(packed, check_health=False)

    def read(self, refusal: type[Exception]) -> Any:
        try:
            answer = self._connection.read_response()
        except refusal as error:
            answer = error
        self._unread -= 1
        return answer

    def leave(self) -> None:
        if self._unread:
            # What was not read would be taken for the answer to the next question.
            self._connection.disconnect()
        else:
            self._home.append(self._connection)
