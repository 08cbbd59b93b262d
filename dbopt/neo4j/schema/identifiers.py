"""Names inside Cypher: checked and quoted, because they cannot be parameters."""

from __future__ import annotations

import hashlib
import re

from dbopt.exceptions import GraphSchemaError

MAX_NAME_LENGTH = 64


def check_identifier(what: str, value: object) -> str:
    r"""Return a label, type, property or index name that can be quoted safely.

    Raises:
        GraphSchemaError: not a string, empty, with control characters, or with ``\u``: the server resolves such
            escapes inside backticks too, so that a doubled backtick alone would not protect.
    """
    if not isinstance(value, str) or not value:
        raise GraphSchemaError(f"{what} must be a string that is not empty, not {value!r}.")
    if "\\u" in value or any(not character.isprintable() for character in value):
        raise GraphSchemaError(f"{what} is {value!r}: it may hold neither control characters nor \\u escapes.")
    return value


def quote(identifier: str) -> str:
    """Quote a checked identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def derived_name(*parts: str) -> str:
    """Join parts to a name of at most 64 characters in lower case; what would be lost is kept as a hash."""
    whole = "_".join(parts)
    name = re.sub(r"\W", "_", whole.lower(), flags=re.ASCII)
    if len(name) <= MAX_NAME_LENGTH and name == whole.lower():
        return name
    tail = hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()
    return f"{name[: MAX_NAME_LENGTH - len(tail) - 1]}_{tail}"
