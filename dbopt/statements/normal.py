"""The normalised text of a statement: values as ``?``, lists, rows and CASE arms collapsed, spaces as they belong."""

from __future__ import annotations

from dbopt.statements.words import LONG_TYPES

# A list element or CASE arm of more parts is not compared with its neighbour: that keeps the time linear.
_LONGEST_COMPARED = 256
_NO_SPACE_BEFORE = frozenset(",).]:;[") | {"::"}
_NO_SPACE_AFTER = frozenset(("", "(", "[", ".", "::"))
_VALUE = "?"
_VALUES = "?..."
# Where in a cast we are.
_TYPE_AHEAD, _IN_TYPE, _IN_SIZE = 1, 2, 3


class _Frame:
    """An open parenthesis, bracket or CASE, or the whole text: which of its parts are the current element."""

    __slots__ = ("comma", "element", "follows", "is_pure", "kind", "neighbour", "rows", "start")

    def __init__(self, kind: str, start: int) -> None:
        self.kind = kind
        self.start = self.element = start
        self.neighbour = self.comma = self.follows = -1
        self.is_pure = True
        self.rows = False


class NormalText:
    """Parts of the text, and what the last tokens were.

    Attributes:
        previous, before: the last token and the one before it: keywords and names folded, values as ``?``.
        is_operand: the last token ends an operand, so that a minus behind it subtracts.
        cast: 1 where the type of a value's cast comes next, 2 inside of the type, 3 inside of its parentheses.
    """

    __slots__ = ("_before_is_operand", "_frames", "_parts", "_type", "before", "cast", "is_operand", "previous")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._frames = [_Frame("text", 0)]
        self.previous = self.before = ""
        self.is_operand = self._before_is_operand = False
        self.cast, self._type = 0, ""

    def __str__(self) -> str:
        return "".join(self._parts).strip(" ;")

    @property
    def depth(self) -> int:
        """How many parentheses, brackets and CASEs are open, plus one."""
        return len(self._frames)

    def add(self, shown: str, token: str, *, is_operand: bool = False) -> None:
        """Add a part, with the space that belongs before it whatever stood there in the source."""
        if token in _NO_SPACE_BEFORE or self.previous in _NO_SPACE_AFTER:
            self._parts.append(shown)
        else:
            self._parts.append(" " + shown)
        self.before, self._before_is_operand = self.previous, self.is_operand
        self.previous, self.is_operand = token, is_operand

    def add_value(self) -> None:
        """Add a value; its sign belongs to it."""
        if self.previous in ("-", "+") and not self._before_is_operand:
            self._parts.pop()
            self.previous = self.before
        self.add(_VALUE, _VALUE, is_operand=True)

    def add_sign(self, sign: str) -> None:
        """Add an operator, a bracket or a comma."""
        if sign == ",":
            self._comma()
        elif sign in ("(", "["):
            self._open(sign)
        elif sign in (")", "]"):
            self._close(sign)
        elif sign == "::" and self.previous == _VALUE:
            self.cast = _TYPE_AHEAD
        else:
            # Operators with a question mark (jsonb) must not look like values.
            self.add(sign.replace("?", "??"), sign)

    def _open(self, sign: str) -> None:
        frame = self._frames[-1]
        kind = "list" if self.previous == "in" or (sign == "[" and not self.is_operand) else "parenthesis"
        if self.previous == "values" or (frame.rows and self.previous == ","):
            kind, frame.rows = "row", True
        shown = sign if self.is_operand or sign == "[" or self.previous in _NO_SPACE_AFTER else " " + sign
        self._parts.append(shown)
        self.before, self._before_is_operand = self.previous, self.is_operand
        self.previous, self.is_operand = sign, False
        opened = _Frame(kind, len(self._parts))
        opened.follows = frame.comma if kind == "row" else -1
        self._frames.append(opened)

    def _close(self, sign: str) -> None:
        while self._frames[-1].kind == "case":
            self._frames.pop()
        frame = self._frames.pop() if len(self._frames) > 1 else None
        if frame is not None:
            self._end_element(frame)
            is_list = frame.kind != "parenthesis" or frame.neighbour >= 0
            if frame.is_pure and is_list and len(self._parts) > frame.start:
                self._parts[frame.start :] = [_VALUES]
        self.add(sign, sign, is_operand=True)
        # A further row says nothing new, unless it asks for rows itself.
        if frame is not None and frame.follows >= 0 and "SELECT" not in self._parts[frame.follows :]:
            del self._parts[frame.follows :]

    def _comma(self) -> None:
        frame = self._frames[-1]
        if frame.rows and self.previous == ")":
            frame.comma = len(self._parts)
        else:
            frame.rows = False
            self._end_element(frame)
            frame.neighbour = frame.element
        self.add(",", ",")
        if not frame.rows:
            frame.element = len(self._parts)

    def _end_element(self, frame: _Frame) -> None:
        """Note whether the element is a single value; drop it where it repeats its neighbour in a list."""
        parts, start, before = self._parts, frame.element, frame.neighbour
        frame.is_pure = frame.is_pure and len(parts) - start == 1 and parts[start].strip() in (_VALUE, "DEFAULT")
        if frame.kind != "list" or before < 0 or len(parts) - before > _LONGEST_COMPARED:
            return
        if "".join(parts[before : start - 1]).strip() == "".join(parts[start:]).strip():
            del parts[start - 1 :]
            frame.element = before

    def add_case(self) -> None:
        """Begin a CASE."""
        self.add("CASE", "case")
        self._frames.append(_Frame("case", len(self._parts)))

    def begin_arm(self) -> None:
        """Begin an arm of CASE (or nothing, elsewhere: MERGE has WHEN too)."""
        frame = self._frames[-1]
        if frame.kind == "case":
            self._end_arm(frame)
            frame.neighbour, frame.element = frame.element, len(self._parts)

    def end_case(self) -> bool:
        """End a CASE, if one is open here."""
        if self._frames[-1].kind != "case":
            return False
        self._end_arm(self._frames.pop())
        self.add("END", "end", is_operand=True)
        return True

    def _end_arm(self, frame: _Frame) -> None:
        parts, start, before = self._parts, frame.element, frame.neighbour
        if not 0 <= before < start < len(parts) <= before + _LONGEST_COMPARED:
            return
        if parts[start:] == parts[before:start] and parts[start] == " WHEN":
            del parts[start:]
            frame.element = before

    def is_in_type(self, part: str) -> bool:
        """Pass over the type of a value's cast, and say whether the token was part of it."""
        word, cast = part.lower(), self.cast
        if cast == _TYPE_AHEAD:
            self.cast, self._type = (_IN_TYPE if word[0] in '"_' or word[0].isalpha() else 0), word
        elif cast == _IN_TYPE and part in ("[", "("):
            self.cast = _IN_SIZE
        elif cast == _IN_SIZE and part in ("]", ")"):
            self.cast = _IN_TYPE
        elif cast == _IN_TYPE and part == "::":
            self.cast = _TYPE_AHEAD
        elif not self._goes_on_with_type(part, word):
            self.cast = 0
        return self.cast > 0

    def _goes_on_with_type(self, part: str, word: str) -> bool:
        if self.cast == _IN_SIZE:
            return part == "," or part[0].isdigit()
        return word in LONG_TYPES.get(self._type, ())
