"""One reader of Cypher text: comments, strings and names; fingerprints of statements."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(
    r"""
    (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
  | (?P<name>`(?:``|[^`])*`|\$?[^\W\d]\w*|\$\d+)
  | (?P<number>(?<![\w.])(?:0x[0-9a-fA-F]+|0o[0-7]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A Cypher statement without its values.

    Attributes:
        text: one line, comments removed, every literal replaced by ``?``.
        fingerprint: 16 hexadecimal digits; the same for statements that differ only in literals and layout.
        verb: the first word that is not an option of the planner, in upper case.
    """

    text: str
    fingerprint: str
    verb: str


@lru_cache(maxsize=2048)
def read_statement(cypher: str) -> Statement:
    """Read a Cypher text; remembers what it read."""
    parts = []
    for match in _TOKEN.finditer(cypher):
        kind = match.lastgroup
        if kind in ("comment", "space"):
            parts.append(" ")
        elif kind in ("string", "number"):
            parts.append("?")
        else:
            parts.append(match.group())
    text = " ".join("".join(parts).split()).removesuffix(";").rstrip()
    # Lists of literals of any length are the same statement.
    text = re.sub(r"\[\s*\?(?:\s*,\s*\?)+\s*\]", "[?]", text)
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return Statement(text=text, fingerprint=digest, verb=_verb(text))


def _verb(text: str) -> str:
    rest = re.sub(r"^CYPHER(?:\s+(?:\?|\w+\s*=\s*\w+))*\s*", "", text, flags=re.IGNORECASE)
    found = re.match(r"\w+", rest)
    return found.group().upper() if found else ""
