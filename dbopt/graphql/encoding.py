"""Responses as JSON: by orjson where it is installed and can write the value, else by the standard library."""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


def encode(value: Any, *, fast: bool) -> bytes:
    """Return a value as compact JSON.

    Raises:
        TypeError: it holds something that is not JSON.
    """
    if fast and orjson is not None:
        try:
            return orjson.dumps(value, option=_OPTIONS)
        except TypeError:
            # What only json writes: integers of more than 64 bits, keys that are no strings, lone surrogates.
            pass
    return json.dumps(value, separators=(",", ":")).encode()


_OPTIONS = 0 if orjson is None else orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
