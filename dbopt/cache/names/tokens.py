"""Generation tags and their tokens.

A tag names what a result depends on; its token is a random value that every write replaces. A result stays valid while
the tokens that were read before its query are still the current ones.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from dbopt.cache.names.keys import NO_TENANT, scoped

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN_BYTES = 16

# A statement or transaction that writes more rows of a table than this is taken for one that writes all of them.
MAX_ROWS = 100

# How long replicas may lag behind a write; until then a replica's rows must not be stored.
HOLD_OFF_SECONDS = 2.0

# Losing a token costs one miss, so its life only has to be longer than that of most values.
TOKEN_SECONDS = 86_400.0

_TOKEN = struct.Struct(">8sQ")

# In the place of the time: a position in the primary's log, with this bit to tell.
_POSITION = 1 << 63

EPOCH = scoped(NO_TENANT, "E")
_TABLE, _ROW, _BULK, _DATABASE = (scoped(NO_TENANT, f"{kind}:") for kind in "TRBX")


def new_token() -> bytes:
    """Return a token that was never used before: 8 random bytes, then the end of the hold-off in ms since 1970.

    Random, not a counter: an evicted counter starts again and would revive old entries.
    The time only guards stores of rows read from replicas; validity never depends on a clock.
    """
    return _TOKEN.pack(os.urandom(8), int((time.time() + HOLD_OFF_SECONDS) * 1000))


def hold_off_ms(token: bytes) -> int:
    """Return the moment, in ms since 1970, before which rows read from a replica must not be stored."""
    held = int(_TOKEN.unpack_from(token)[1])
    return 0 if held & _POSITION else held


def log_position(token: bytes) -> int | None:
    """Return the position in the primary's log that a replica must have replayed; None where a token has a time."""
    held = int(_TOKEN.unpack_from(token)[1])
    return held - _POSITION if held & _POSITION else None


def packed_position(position: int) -> bytes:
    """Return the 8 bytes that stand in a token in the place of the time."""
    return (position | _POSITION).to_bytes(8, "big")


def is_pending(token: bytes) -> bool:
    """Tell whether a token carries marks of writers that may commit at any moment, see :mod:`dbopt.cache.server.strict`."""
    return len(token) > TOKEN_BYTES


def vector_hash(tokens: Iterable[bytes]) -> bytes:
    """Return the 8 bytes that stand for tokens in their order."""
    summary = hashlib.blake2b(digest_size=8)
    for token in tokens:
        summary.update(len(token).to_bytes(4, "big"))
        summary.update(token)
    return summary.digest()


def tenant_tag(tenant: str) -> str:
    """Return the tag of everything of one tenant."""
    return scoped(tenant, "TE")


def function_tag(name: str) -> str:
    """Return the tag of all results of one cached function, whoever the tenant is."""
    return scoped(NO_TENANT, f"N:{name}")


def own_tag(tag: str) -> str:
    """Return the tag that a project named itself."""
    return scoped(NO_TENANT, f"U:{tag}")


def table_tag(database: str, table: str) -> str:
    """Return the tag of a table's rows, in a database named by its primary's alias."""
    return f"{_TABLE}{database}.{table}"


def row_tag(database: str, table: str, pk: str) -> str:
    """Return the tag of one row, named by its primary key in canonical form."""
    # Most keys are numbers: to quote a text that needs no quotes takes as long as all the rest.
    return f"{_ROW}{database}.{table}:{pk if pk.isalnum() and pk.isascii() else quote(pk, safe='')}"


def bulk_tag(database: str, table: str) -> str:
    """Return the tag that goes with every row of a table: renewed by writes that do not show which rows they touch."""
    return f"{_BULK}{database}.{table}"


def is_row(tag: str) -> bool:
    """Tell whether a tag is that of one row."""
    return tag.startswith(_ROW)


def bulk_of(row: str) -> str:
    """Return the bulk tag that goes with the tag of a row."""
    return _BULK + row[len(_ROW) : row.rindex(":")]


def is_of_database(tag: str) -> bool:
    """Tell whether a tag is about rows in a database: all of them, a table's or one."""
    return tag[: len(_ROW)] in (_ROW, _BULK, _TABLE, _DATABASE)


def table_of(tag: str) -> str | None:
    """Return the table that a table's, row's or bulk tag is about; None for other tags."""
    kind = tag[: len(_ROW)]
    if kind not in (_ROW, _BULK, _TABLE):
        return None
    return (bulk_of(tag) if kind == _ROW else tag).rpartition(".")[2]


def database_tag(database: str) -> str:
    """Return the tag of everything in a database: renewed when a write does not show which tables it touches."""
    return f"{_DATABASE}{database}"
