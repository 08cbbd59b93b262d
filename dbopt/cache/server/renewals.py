"""The commands that replace tokens where no marks and hold-offs are kept; every write waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.cache.names.tokens import new_token
from dbopt.cache.server.roads import Command

if TYPE_CHECKING:
    from collections.abc import Iterable


def renewals(keys: Iterable[str], *, token_ms: int) -> list[Command]:
    """Return a command for each key that replaces its token, if it has one, by one that lives for so many ms.

    Packed here: the client takes longer to pack a command than the server to carry it out.
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
