"""Generation tags and their tokens.

A tag names what a result depends on; its token is a random value that every write replaces. A result stays valid while
the tokens that were read before its query are still the current ones.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
import time
from typing import TYPE_CHECKING

from dbopt.cache.keys import NO_TENANT, scoped

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN_BYTES = 16

# How long replicas may lag behind a write; until then a replica's rows must not be stored.
HOLD_OFF_SECONDS = 2.0

# Losing a token costs one miss, so its life only has to be longer than that of most values.
TOKEN_SECONDS = 86_400.0

_TOKEN = struct.Struct(">8sQ")

EPOCH = scoped(NO_TENANT, "E")


def new_token() -> bytes:
    """Return a token that was never used before: 8 random bytes, then the end of the hold-off in ms since 1970.

    Random, not a counter: an evicted counter starts again and would revive old entries.
    The time only guards stores of rows read from replicas; validity never depends on a clock.
    """
    return _TOKEN.pack(secrets.token_bytes(8), int((time.time() + HOLD_OFF_SECONDS) * 1000))


def hold_off_ms(token: bytes) -> int:
    """Return the moment, in ms since 1970, before which rows read from a replica must not be stored."""
    return int(_TOKEN.unpack(token)[1])


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
    return scoped(NO_TENANT, f"T:{database}.{table}")


def database_tag(database: str) -> str:
    """Return the tag of everything in a database: renewed when a write does not show which tables it touches."""
    return scoped(NO_TENANT, f"X:{database}")
