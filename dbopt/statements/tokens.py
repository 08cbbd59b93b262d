"""SQL text as tokens: PostgreSQL 18, chapter 4.1 (Lexical Structure), with psycopg's placeholders."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

QUOTED, LITERAL, ESCAPED_NAME, WORD, VALUE, _DOLLAR, _COMMENT, SIGN = range(1, 9)

_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+"
_QUOTED = r'"[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
_PLAIN_BODY = r"[^']*+(?:''[^']*+)*+"
_ESCAPED_BODY = r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+"
# Literals that only a line break parts are one literal.
_CONTINUED = r"(?:[ \t\f\v]*+[\n\r][ \t\n\r\f\v]*+'{body}'?)*+"
# Possessive throughout: linear also on texts that end inside a literal. The groups are the kinds above.
# Quoted names that dots or commas join are one token, because Django's column lists are long.
_TOKEN = re.compile(
    rf"""
    (?: [ \t\n\r\f\v]++ | --[^\n\r]*+ )*+
    (?: ( {_QUOTED} (?: (?:\.|,[ ]) {_QUOTED} )*+ )
      | ( [eE]'{_ESCAPED_BODY}'?{_CONTINUED.format(body=_ESCAPED_BODY)}
        | (?:[bBxXnN]|[uU]&)?'{_PLAIN_BODY}'?{_CONTINUED.format(body=_PLAIN_BODY)} )
      | ( [uU]&{_QUOTED} )
      | ( {_NAME} (?: \.{_NAME} )*+ )
      | ( %[sbt] | %\([^()]*+\)[sbt] | \$[0-9]++ | 0[xXoObB][0-9a-fA-F_]++
        | (?: [0-9][0-9_]*+ (?: \.[0-9_]*+ )? | \.[0-9][0-9_]*+ ) (?: [eE][+-]?[0-9]++ )? )
      | ( \$ (?: [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+ )? \$ )
      | ( /\* )
      | ( :: | %% | ->>? | <-> | -\|- | (?: (?!/\*)[<>=~!@\#&|^`?*/] )++ | . )
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ONE_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)(?:"|\Z)')
_UNICODE_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{4})|\+([0-9a-fA-F]{6}))")
# PostgreSQL folds only these: in UTF-8 an unquoted Ä stays Ä.
_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def tokens(sql: str) -> Iterator[tuple[int, str]]:
    """Yield (kind, token) for all that is neither space nor comment."""
    match, position = _TOKEN.match, 0
    while (found := match(sql, position)) is not None:
        kind = found.lastindex or SIGN
        token = found[kind]
        position = found.end()
        if kind == _COMMENT:
            position = _end_of_comment(sql, position)
        elif kind == _DOLLAR:
            closing = sql.find(token, position)
            position = len(sql) if closing < 0 else closing + len(token)
            yield VALUE, token
        else:
            yield kind, token


def _end_of_comment(sql: str, position: int) -> int:
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def folded(word: str) -> str:
    """Return an unquoted name as PostgreSQL folds it."""
    return word.lower() if word.isascii() else word.translate(_FOLD)


def quoted_names(token: str) -> list[str]:
    """Return the names inside a token of quoted names, in order."""
    names: list[str] = _ONE_QUOTED.findall(token)
    return [name.replace('""', '"') for name in names] if '""' in token else names


def escaped_name(token: str) -> str:
    r"""Return the name that ``U&"d\0061ta"`` spells; another escape character (UESCAPE) is not read."""
    return _UNICODE_ESCAPE.sub(_character, quoted_names(token)[0])


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1] or escape[2], 16)
    return chr(code) if code <= sys.maxunicode else escape[0]
