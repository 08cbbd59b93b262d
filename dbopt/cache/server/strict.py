"""The level "strict": a value is served only while nobody can have committed a write to what it depends on.

The token of a strict table carries a mark for each writer that may be committing: 8 bytes that name the writer, and 8
with the moment, in ms of the server's clock, from which the writer counts as dead. A writer marks before its COMMIT,
or, outside an atomic block, before each statement, and takes its own mark away when it renews the token afterwards.
Whoever reads at this level goes around the cache while a token has a mark, and stores nothing.

Tokens and marks share a key: what evicts one evicts both. Every mark and every removal of one replaces the token, so
that what was filled before is void. A writer that was killed leaves its mark; the first reader after the deadline
removes it and replaces the token, for the writer may have committed.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dbopt.cache.names.tokens import packed_position
from dbopt.cache.server.cluster import by_slot
from dbopt.cache.server.roads import Command, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

# How long a COMMIT, or a writing statement outside a transaction, may take until its writer counts as dead.
MARK_SECONDS = 120.0

WRITER_BYTES = 8

MARK, RENEW, REAP, CREATE = "mark", "renew", "reap", "create"

# ARGV: the operation, the writer, in ms the lives of a mark, of a hold-off for replicas and of a token, the position in
# a primary's log that stands in place of the hold-off, or nothing; then 8 random bytes a key. Returns the tokens. Renewing what is not there would only keep keys that nobody reads.
_TOKENS = Script("""
local operation, writer = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tokens = {}
for number, key in ipairs(KEYS) do
    local token = redis.call('GET', key)
    local marks, reaped = '', false
    for at = 17, token and #token or 0, 16 do
        if string.sub(token, at, at + 7) ~= writer then
            if struct.unpack('>I8', token, at + 8) > now then
                marks = marks .. string.sub(token, at, at + 15)
            else
                reaped = true
            end
        end
    end
    if operation == 'mark' then marks = marks .. writer .. struct.pack('>I8', now + ARGV[3]) end
    if operation == 'mark' or reaped or (operation == 'renew' and token) or (operation == 'create' and not token) then
        token = ARGV[6 + number] .. (ARGV[6] ~= '' and ARGV[6] or struct.pack('>I8', now + ARGV[4])) .. marks
        redis.call('SET', key, token, 'PX', ARGV[5])
    end
    tokens[number] = token
end
return tokens
""")


def new_writer() -> bytes:
    """Return the name of a writer, for one transaction."""
    return secrets.token_bytes(WRITER_BYTES)


def token_commands(  # noqa: PLR0913 - what one change needs, by keyword
    operation: str,
    keys: Sequence[str],
    *,
    writer: bytes = b"",
    hold_off: float,
    token_ms: int,
    position: int | None = None,
) -> list[Command]:
    """Return the commands, one a slot, that change tokens where marks and hold-offs are kept.

    Args:
        operation: MARK, RENEW (without the writer's mark), REAP (of dead writers only) or CREATE (where there is none).
        keys: of tokens.
        writer: whose mark it is about.
        hold_off: seconds for which rows from replicas must not be stored.
        token_ms: how long a token lives.
        position: in the log of the primary, which replicas must have replayed; None: the hold-off counts.
    """
    reached = b"" if position is None else packed_position(position)
    lives = (int(MARK_SECONDS * 1000), int(hold_off * 1000), token_ms)
    groups = [[keys[number] for number in numbers] for numbers in by_slot(keys)]
    return [
        _TOKENS.command(group, (operation, writer, *lives, reached, *(secrets.token_bytes(8) for _ in group)))
        for group in groups
    ]
