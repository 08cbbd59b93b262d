"""The commands of each hit and each write, packed: the client takes longer to pack one than the server to carry it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.cache.names.tokens import new_token
from dbopt.cache.server.roads import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def reading(keys: Sequence[str]) -> Command:
    """Return a command that reads keys of one place."""
    parts = [b"*%d\r\n$4\r\nMGET\r\n" % (len(keys) + 1)]
    for key in keys:
        name = key.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(name), name))
    return Command(keys[0], ("MGET", *keys), None, b"".join(parts))


def renewals(keys: Iterable[str], *, token_ms: int) -> list[Command]:
    """Return a command for each key that replaces its token, if it has one, by one that lives for so many ms.

    For tokens that carry neither marks nor hold-offs.
    """
    # One token for all: each key gets what it never held before.
    token = new_token()
    end = b"$16\r\n%b\r\n$2\r\nXX\r\n$2\r\nPX\r\n$%d\r\n%d\r\n" % (token, len(str(token_ms)), token_ms)
    commands = []
    for key in keys:
        name = key.encode()
        packed = b"*6\r\n$3\r\nSET\r\n$%d\r\n%b\r\n%b" % (len(name), name, end)
        # XX: what is not there needs no renewal, and would only keep a key for every row that is written.
        commands.append(Command(key, ("SET", key, token, "XX", "PX", token_ms), None, packed))
    return commands
