"""SQL text as tokens: PostgreSQL 18, chapter 4.1 (Lexical Structure), with psycopg's placeholders."""

from __future__ import annotations

import re
import sys

CALM, QUOTED, LITERAL, ESCAPED_NAME, ROWS, WORD, VALUES, VALUE, DOLLAR, CAST, COMMENT, SIGN = range(1, 13)

_NAME = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+"
_QUOTED = r'"[^"]*+(?:""[^"]*+)*+(?:"|\Z)'
# One token, because column lists are long.
_QUOTED_NAMES = rf"{_QUOTED} (?: (?:\.|,[ ]) {_QUOTED} )*+"
_PLAIN_BODY = r"[^']*+(?:''[^']*+)*+"
_ESCAPED_BODY = r"[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+"
# Literals that only a line break parts are one literal.
_CONTINUED = r"(?:[ \t\f\v]*+[\n\r][ \t\n\r\f\v]*+'{body}'?)*+"
# A comment with another one inside is a token, because only counting finds its end.
_SKIPPED = r"(?: [ \t\n\r\f\v]++ | --[^\n\r]*+ | /\* (?: [^*/]++ | \*(?!/) | /(?!\*) )*+ \*/ )*+"

_PATH = r'"[^"%]*+"(?:\."[^"%]*+")*+'
_LIST = r"\(%s(?:,\ %s)*+\)"
_ROW = r"\((?:%s|DEFAULT)(?:,\ (?:%s|DEFAULT))*+\)"
_GOES_ON = rf"""
    \ (?:=|<|>|<=|>=|<>)\ (?: %s | {_PATH} ) | \ IN\ {_LIST} | \ (?: IS\ (?:NOT\ )?NULL | ASC | DESC )(?![\w$])
    | \ (?:AND|OR)\ {_PATH}"""
# What Django's compiler writes around quoted names: normalised already, but for its placeholders.
_CALM = rf"""{_PATH} (?: ,\ {_PATH} | {_GOES_ON}
    | \ (?:AS|FROM|SET|INNER\ JOIN|LEFT\ OUTER\ JOIN|GROUP\ BY|ORDER\ BY)\ {_PATH}
    | \ (?:WHERE|AND|OR|ON)\ (?: {_PATH} | \( {_PATH} (?:{_GOES_ON})*+ \) ) )*+ (?!")"""

# Possessive throughout: linear also on texts that end inside a literal. The groups are the kinds above.
TOKEN = re.compile(
    rf"""
    {_SKIPPED}
    (?: ( {_CALM} )
      | ( {_QUOTED_NAMES} )
      | ( [eE]'{_ESCAPED_BODY}'?{_CONTINUED.format(body=_ESCAPED_BODY)}
        | (?:[bBxXnN]|[uU]&)?'{_PLAIN_BODY}'?{_CONTINUED.format(body=_PLAIN_BODY)} )
      | ( [uU]&{_QUOTED} )
      | ( VALUES\ {_ROW} (?: ,\ {_ROW} )*+ )
      | ( {_NAME} (?: \.{_NAME} )*+ )
      | ( {_LIST} )
      | ( %[sbt] | %\([^()]*+\)[sbt] | \$[0-9]++ | 0[xXoObB][0-9a-fA-F_]++
        | (?: [0-9][0-9_]*+ (?: \.[0-9_]*+ )? | \.[0-9][0-9_]*+ ) (?: [eE][+-]?[0-9]++ )? )
      | ( \$ (?: [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*+ )? \$ )
      | ( :: )
      | ( /\* )
      | ( %% | ->>? | <-> | -\|- | (?: (?!/\*)[<>=~!@\#&|^`?*/] )++ | . )
    )""",
    re.VERBOSE | re.DOTALL,
)
QUOTED_NAMES = re.compile(_QUOTED_NAMES, re.VERBOSE | re.DOTALL)
# The type behind a cast: ?::timestamp(3) with time zone, ?::"Books"[].
TYPE = re.compile(
    rf"""
    {_SKIPPED}
    ( (?P<long> (?i:double|character|bit|time|timestamp) (?![\w$.]) )
    | (?:{_NAME}|{_QUOTED}) (?: \. (?:{_NAME}|{_QUOTED}) )*+ )
    (?: {_SKIPPED} (?: \([0-9, ]++\) | \[[0-9]*+\]
      | (?(long) (?i:precision|varying|with|without|time|zone) (?![\w$.]) | (?!) ) ) )*+""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
ONE_QUOTED = re.compile(r'"([^"]*+(?:""[^"]*+)*+)(?:"|\Z)')
_UNICODE_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{4})|\+([0-9a-fA-F]{6}))")
# PostgreSQL folds only these: in UTF-8 an unquoted Ä stays Ä.
_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def end_of_comment(sql: str, position: int) -> int:
    """Return where a comment ends, of which `position` is the first character behind its opening."""
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
    names: list[str] = ONE_QUOTED.findall(token)
    return [name.replace('""', '"') for name in names] if '""' in token else names


def names_of_type(name: str) -> list[str]:
    """Return the names inside the name of a type, of which any may be quoted."""
    plain = ONE_QUOTED.sub("", name).split(".") if '"' in name else name.split(".")
    return [*quoted_names(name), *(folded(part) for part in plain if part)]


def escaped_name(token: str) -> str:
    r"""Return the name that ``U&"d\0061ta"`` spells; another escape character (UESCAPE) is not read."""
    return _UNICODE_ESCAPE.sub(_character, quoted_names(token)[0])


def _character(escape: re.Match[str]) -> str:
    code = int(escape[1] or escape[2], 16)
    return chr(code) if code <= sys.maxunicode else escape[0]
