"""What a statement says, gathered while its tokens go by once."""

from __future__ import annotations

import re
from collections.abc import Callable

from dbopt.statements.normal import NormalText
from dbopt.statements.tokens import (
    CALM,
    CAST,
    COMMENT,
    DOLLAR,
    ESCAPED_NAME,
    LITERAL,
    ONE_QUOTED,
    QUOTED,
    QUOTED_NAMES,
    ROWS,
    SIGN,
    TOKEN,
    TYPE,
    VALUE,
    VALUES,
    WORD,
    end_of_comment,
    escaped_name,
    folded,
    names_of_type,
    quoted_names,
)
from dbopt.statements.words import (
    BEFORE_A_TABLE,
    GRAMMAR,
    HARMLESS,
    KEYWORDS,
    MAIN_VERBS,
    NO_HANDLES,
    OF_HANDLES,
    RESERVED,
    VOLATILE_LITERALS,
    VOLATILE_VERBS,
    VOLATILE_WORDS,
    is_volatile_function,
)

Match = re.Match[str]

_LONGEST_MOMENT = 32
_LETTERS = re.compile(r"(?<![a-z])[a-z]{3,}")
_BEFORE_EXPLAINED = frozenset(("explain", "analyze", "analyse", "verbose", ")"))


class Reading:
    """The facts of a text. Attributes as in :class:`~dbopt.statements.Statement`."""

    verb = ""
    statements = 0
    writes = locks = cascade = volatile = False
    isolation: str | None = None
    # Of the statement that is being read: its verb, whether the verb is yet to come, whether it is an EXPLAIN that runs
    # nothing or a COPY whose direction is not known yet; and the last name.
    _current = ""
    _is_fresh = True
    _is_dry = _copies = _names_isolation = False
    _name = ""

    def __init__(self, sql: str) -> None:
        self.text = NormalText()
        self.identifiers: set[str] = set()
        self.functions: set[str] = set()
        # At which depths a WITH waits for its own verb.
        self._with_depths: list[int] = []
        self._read(sql)

    def _read(self, sql: str) -> None:
        position, match, readers = 0, TOKEN.match, _READERS
        while found := match(sql, position):
            # A reader that takes more, or less, than its token says where to go on.
            position = readers[found.lastindex or SIGN](self, found) or found.end()
        self._end_statement()
        self.volatile = self.volatile or any(map(is_volatile_function, self.functions))
        if self._names_isolation and "set_config" in self.functions:
            self.isolation = "unknown"

    # Tokens

    def read_calm(self, found: Match) -> int | None:
        """Read a stretch that Django wrote, unless its parts count one by one here."""
        if self._is_fresh or self.text.is_list or self._names_a_handle():
            return self.read_quoted(QUOTED_NAMES.match(found.string, found.start(CALM)) or found)
        stretch = found[CALM]
        names = stretch.split('"')[1::2]
        self.identifiers.update(names)
        self._name = names[-1]
        self.text.add_stretch(stretch)
        return None

    def read_quoted(self, found: Match) -> int | None:
        """Read quoted names; where elements are compared, the first of them."""
        group = found.lastindex or 0
        if self.text.is_list:
            found, group = ONE_QUOTED.match(found.string, found.start(group)) or found, 0
        token = found[group]
        if self._names_a_handle():
            self.text.add_value()
        else:
            names = quoted_names(token)
            self.identifiers.update(names)
            self._name = names[-1]
            self.text.add(token, '"', is_operand=True)
        return found.end()

    def read_escaped_name(self, found: Match) -> None:
        """Read a quoted name with escapes."""
        token = found[ESCAPED_NAME]
        self._name = escaped_name(token)
        self.identifiers.add(self._name)
        self.text.add(token, '"', is_operand=True)

    def read_value(self, _: Match) -> None:
        """Read a number or a placeholder."""
        self.text.add_value()

    def read_literal(self, found: Match) -> None:
        """Read a literal; some stand for a moment in time: 'now', 'today 12:00'."""
        token = found[LITERAL]
        if len(token) <= _LONGEST_MOMENT and not VOLATILE_LITERALS.isdisjoint(_LETTERS.findall(token.lower())):
            self.volatile = True
        elif "transaction_isolation" in token:
            self._names_isolation = True
        self.text.add_value()

    def read_dollar(self, found: Match) -> int:
        """Read a literal between dollars."""
        sql, tag = found.string, found[DOLLAR]
        closing = sql.find(tag, found.end())
        self.text.add_value()
        return len(sql) if closing < 0 else closing + len(tag)

    def read_cast(self, found: Match) -> int | None:
        """Read a cast: that of a value is dropped, because drivers add and leave out casts as they like."""
        if self.text.previous != "?":
            self.text.add("::", "::")
            return None
        cast = TYPE.match(found.string, found.end())
        if cast is None:
            return None
        self.identifiers.update(names_of_type(cast[1]))
        return cast.end()

    def read_comment(self, found: Match) -> int:
        """Pass over a comment that holds another one."""
        return end_of_comment(found.string, found.end())

    def read_rows(self, found: Match) -> None:
        """Read VALUES with rows of placeholders."""
        self._read_word("VALUES")
        self.text.add_rows()

    def read_values(self, found: Match) -> None:
        """Read placeholders in parentheses."""
        self._note_function()
        self.text.add_values(several="," in found[VALUES])

    def read_sign(self, found: Match) -> None:
        """Read an operator, a parenthesis or a comma."""
        sign, text = found[SIGN], self.text
        if sign == "(":
            self._note_function()
        text.add_sign(sign)
        if sign in (")", "]"):
            while self._with_depths and self._with_depths[-1] > text.depth:
                self._with_depths.pop()
        elif sign == ";" and text.depth == 1:
            self._end_statement()

    def _note_function(self) -> None:
        text = self.text
        if text.is_operand and text.previous not in (")", "]", "?"):
            self.functions.add(self._name)

    def read_word(self, found: Match) -> None:
        """Read a keyword or a name without quotes."""
        token, text = found[WORD], self.text
        plain = _PLAIN_KEYWORDS.get(token)
        if plain is not None and not self._is_fresh and text.previous != ".":
            text.add(token, plain)
        else:
            self._read_word(token)

    def _read_word(self, token: str) -> None:
        word = folded(token)
        if self._is_fresh:
            self._begin(word)
        elif word in KEYWORDS and self.text.previous != ".":
            self._keyword(word)
        else:
            self._plain_name(word)

    def _plain_name(self, word: str) -> None:
        text = self.text
        if self._current in ("set", "begin", "start"):
            self._note_isolation(word)
        elif word == "prepared" and self._current == "commit":
            self.writes = True
        if self._names_a_handle() and word not in NO_HANDLES:
            text.add_value()
            return
        names = word.split(".")
        self.identifiers.update(names)
        self._name = names[-1]
        self.note_body(word)
        if word == "share" and text.previous in ("for", "key"):
            self.locks = True
        text.add(word, word, is_operand=True)

    def _keyword(self, word: str) -> None:
        text = self.text
        note = _NOTES.get(word)
        if note is not None:
            note(self, word)
        if word in _SHAPES and _SHAPES[word](text):
            return
        if word in GRAMMAR and text.previous in BEFORE_A_TABLE and not self._is_set_of_upsert(word):
            self.identifiers.add(word)
        text.add(KEYWORDS[word], word)

    def _is_set_of_upsert(self, word: str) -> bool:
        return word == "set" and self.text.previous == "update" and self.text.before in ("do", "then")

    # What it does

    def _begin(self, word: str) -> None:
        self._is_fresh = False
        self.statements += 1
        self._current = word
        self.verb = self.verb or word
        self._is_dry = word == "explain"
        self._copies = word == "copy"
        if word == "with":
            self._with_depths.append(self.text.depth)
        self.writes = self.writes or word not in HARMLESS
        self.locks = self.locks or word == "lock"
        self.volatile = self.volatile or word in VOLATILE_VERBS
        self.text.add(word.upper(), word)

    def _end_statement(self) -> None:
        # A COPY of which neither direction was seen.
        self.writes = self.writes or self._copies
        self._is_fresh, self._copies, self._is_dry = True, False, False
        self._current = ""
        self._with_depths.clear()

    def note_with(self, word: str) -> None:
        """See a WITH, which may be one of an inner statement."""
        if self.text.previous in ("(", "as") or self.text.previous in _BEFORE_EXPLAINED:
            self._with_depths.append(self.text.depth)
        else:
            self.note_body(word)

    def note_verb(self, word: str) -> None:
        """See a verb that is not the first: behind WITH, inside a common table, behind EXPLAIN or inside COPY."""
        text = self.text
        if self._with_depths and self._with_depths[-1] == text.depth:
            if text.previous not in ("with", "recursive", ","):
                self._with_depths.pop()
                self._run(word)
                if self._current == "with" and text.depth == 1:
                    self._current = word
                    self.verb = word if self.statements == 1 else self.verb
        else:
            self.note_body(word)
        if word == "update" and text.previous in ("for", "key"):
            self.locks = True

    def note_body(self, word: str) -> None:
        """See what may be the verb of a common table's body, of EXPLAIN or of COPY."""
        text = self.text
        opens_body = text.previous == "(" and (text.before in ("as", "materialized") or self._current == "copy")
        is_explained = self._current == "explain" and text.depth == 1 and text.previous in _BEFORE_EXPLAINED
        if is_explained or (opens_body and word in MAIN_VERBS):
            self._run(word)

    def _run(self, word: str) -> None:
        self.writes = self.writes or (word not in HARMLESS and not self._is_dry)

    def note_into(self, _: str) -> None:
        """See SELECT ... INTO, which makes a table."""
        if self._current == "select" and self.text.previous not in ("insert", "merge"):
            self.writes = True

    def note_direction(self, word: str) -> None:
        """See whether COPY reads or writes."""
        if self._copies and self.text.depth == 1:
            self._copies = False
            self.writes = self.writes or word == "from"

    def note_cascade(self, _: str) -> None:
        """See CASCADE."""
        self.cascade = True

    def note_analyze(self, _: str) -> None:
        """See an EXPLAIN that runs the statement."""
        self._is_dry = False

    def note_volatile(self, _: str) -> None:
        """See a word whose value changes by itself."""
        self.volatile = True

    def _note_isolation(self, word: str) -> None:
        text = self.text
        if text.previous == "level" and text.before == "isolation":
            self.isolation = word
        elif text.before == "level" and self.isolation in ("read", "repeatable"):
            self.isolation = f"{self.isolation} {word}"

    def _names_a_handle(self) -> bool:
        """Whether a name that comes now is the name of a savepoint or cursor."""
        return self._current in OF_HANDLES or (self._current == "declare" and self.text.previous == "declare")


def _constant(text: NormalText) -> bool:
    # IS NULL and NOT NULL are parts of a statement, not its values.
    if text.previous in ("is", "not"):
        return False
    text.add_value()
    return True


def _case(text: NormalText) -> bool:
    text.add_case()
    return True


def _arm(text: NormalText) -> bool:
    text.begin_arm()
    return False


_READERS: dict[int, Callable[[Reading, Match], int | None]] = {
    CALM: Reading.read_calm,
    QUOTED: Reading.read_quoted,
    LITERAL: Reading.read_literal,
    ESCAPED_NAME: Reading.read_escaped_name,
    ROWS: Reading.read_rows,
    WORD: Reading.read_word,
    VALUES: Reading.read_values,
    VALUE: Reading.read_value,
    DOLLAR: Reading.read_dollar,
    CAST: Reading.read_cast,
    COMMENT: Reading.read_comment,
    SIGN: Reading.read_sign,
}
_SHAPES: dict[str, Callable[[NormalText], bool]] = {
    "null": _constant,
    "true": _constant,
    "false": _constant,
    "case": _case,
    "when": _arm,
    "else": _arm,
    "end": NormalText.end_case,
}
_NOTES: dict[str, Callable[[Reading, str], None]] = {
    **dict.fromkeys(MAIN_VERBS, Reading.note_verb),
    **dict.fromkeys(VOLATILE_WORDS, Reading.note_volatile),
    **dict.fromkeys(("from", "to"), Reading.note_direction),
    **dict.fromkeys(("analyze", "analyse"), Reading.note_analyze),
    "create": Reading.note_body,
    "refresh": Reading.note_body,
    "with": Reading.note_with,
    "into": Reading.note_into,
    "cascade": Reading.note_cascade,
}
# Keywords of which nothing is noted, as Django spells them.
_PLAIN_KEYWORDS = {KEYWORDS[word]: word for word in RESERVED - _NOTES.keys() - _SHAPES.keys()}
