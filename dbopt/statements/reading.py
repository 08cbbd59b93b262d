"""What a statement says, gathered while its tokens go by once."""

from __future__ import annotations

from collections.abc import Callable

from dbopt.statements.normal import NormalText
from dbopt.statements.tokens import (
    ESCAPED_NAME,
    LITERAL,
    QUOTED,
    SIGN,
    VALUE,
    WORD,
    escaped_name,
    folded,
    quoted_names,
    tokens,
)
from dbopt.statements.words import (
    BEFORE_A_TABLE,
    GRAMMAR,
    HARMLESS,
    KEYWORDS,
    MAIN_VERBS,
    NO_HANDLES,
    OF_HANDLES,
    VOLATILE_FUNCTIONS,
    VOLATILE_LITERALS,
    VOLATILE_WORDS,
)

_LONGEST_VOLATILE_LITERAL = 16
_BEFORE_EXPLAINED = frozenset(("explain", "analyze", "analyse", "verbose", ")"))


class Reading:
    """The facts of a text. Attributes as in :class:`~dbopt.statements.Statement`."""

    def __init__(self, sql: str) -> None:
        self.text = NormalText()
        self.verb = ""
        self.statements = 0
        self.writes = self.locks = self.cascade = self.volatile = False
        self.isolation: str | None = None
        self.identifiers: set[str] = set()
        self.functions: set[str] = set()
        # Of the statement that is being read: its verb, whether the verb is yet to come, at which depths a WITH waits
        # for its own verb, whether it is an EXPLAIN that runs nothing or a COPY whose direction is not known yet.
        self._current = ""
        self._is_fresh = True
        self._with_depths: list[int] = []
        self._is_dry = self._copies = False
        self._name = ""
        self._read(sql)

    def _read(self, sql: str) -> None:
        readers = {
            QUOTED: self._quoted,
            LITERAL: self._literal,
            ESCAPED_NAME: self._escaped,
            WORD: self._word,
            VALUE: self._value,
            SIGN: self._sign,
        }
        text = self.text
        for kind, token in tokens(sql):
            if text.cast:
                if text.cast == 1 and kind in (QUOTED, WORD):
                    self.identifiers.update(quoted_names(token) if kind == QUOTED else folded(token).split("."))
                if text.is_in_type(token):
                    continue
            readers[kind](token)
        self._end_statement()
        self.volatile = self.volatile or not VOLATILE_FUNCTIONS.isdisjoint(self.functions)

    def _value(self, _: str) -> None:
        self.text.add_value()

    def _literal(self, token: str) -> None:
        if len(token) < _LONGEST_VOLATILE_LITERAL and token.strip("'").strip().lower() in VOLATILE_LITERALS:
            self.volatile = True
        self.text.add_value()

    def _quoted(self, token: str) -> None:
        if self._names_a_handle():
            self.text.add_value()
            return
        names = quoted_names(token)
        self.identifiers.update(names)
        self._name = names[-1]
        self.text.add(token, '"', is_operand=True)

    def _escaped(self, token: str) -> None:
        self._name = escaped_name(token)
        self.identifiers.add(self._name)
        self.text.add(token, '"', is_operand=True)

    def _sign(self, sign: str) -> None:
        text = self.text
        if sign == "(" and text.is_operand and text.previous not in (")", "]", "?"):
            self.functions.add(self._name)
        text.add_sign(sign)
        if sign == ")":
            while self._with_depths and self._with_depths[-1] > text.depth:
                self._with_depths.pop()
        elif sign == ";" and text.depth == 1:
            self._end_statement()

    def _word(self, token: str) -> None:
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
