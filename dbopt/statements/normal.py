"""The normalised text of a statement: values as ``?``, lists, rows and CASE arms collapsed, spaces as they belong."""

from __future__ import annotations

import re

# A list element or CASE arm of more parts is not compared with its neighbour: that keeps the time linear.
_LONGEST_COMPARED = 256
_NO_SPACE_BEFORE = frozenset(",).]:;[") | {"::"}
_NO_SPACE_AFTER = frozenset(("", "(", "[", ".", "::"))
_VALUE = "?"
_VALUES = "?..."
_LISTS = re.compile(r"IN \(\?(?:, \?)*+\)")
# The last character of a stretch -> the token that it ends with; all others end keywords (ASC, NULL).
_OPERANDS = {'"': '"', "s": _VALUE, ")": ")"}


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
    """

    __slots__ = ("_before_is_operand", "_frames", "_parts", "before", "is_operand", "previous")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._frames = [_Frame("text", 0)]
        self.previous = self.before = ""
        self.is_operand = self._before_is_operand = False

    def __str__(self) -> str:
        return "".join(self._parts).strip(" ;")

    @property
    def depth(self) -> int:
        """How many parentheses, brackets and CASEs are open, plus one."""
        return len(self._frames)

    @property
    def is_list(self) -> bool:
        """Whether the elements of a list stand here, which are compared one by one."""
        return self._frames[-1].kind == "list"

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

    def add_stretch(self, source: str) -> None:
        """Add what is spaced like a normalised text already, and of whose values only ``%s`` and lists of it are left."""
        shown = source.replace("%s", _VALUE)
        self.add(_LISTS.sub("IN (?...)", shown) if " IN " in shown else shown, '"')
        self.previous = _OPERANDS.get(source[-1], "null")
        self.is_operand = source[-1] in _OPERANDS
        self._frames[-1].rows = False

    def add_values(self, *, several: bool) -> None:
        """Add values in parentheses."""
        self._open("(")
        self._frames[-1].neighbour = 0 if several else -1
        self.add(_VALUE, _VALUE)
        self._close(")")

    def add_rows(self) -> None:
        """Add the rows of VALUES, each of which is values in parentheses."""
        self.add_values(several=True)
        self._frames[-1].rows = True

    def add_sign(self, sign: str) -> None:
        """Add an operator, a bracket or a comma."""
        if sign == ",":
            self._comma()
        elif sign in ("(", "["):
            self._open(sign)
        elif sign in (")", "]"):
            self._close(sign)
        else:
            # Operators with a question mark (jsonb) must not look like values.
            self.add(sign.replace("?", "??"), sign)

    def _open(self, sign: str) -> None:
        frame = self._frames[-1]
        kind = "list" if self.previous == "in" or (sign == "[" and not self.is_operand) else "parenthesis"
        if self.previous == "values":
            kind, frame.rows, frame.comma = "row", True, -1
        elif frame.rows and self.previous == ",":
            kind = "row"
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
        self._frames[-1].rows = frame is not None and frame.kind == "row"
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
        if parts[start] == " WHEN" and "".join(parts[before:start]) == "".join(parts[start:]):
            del parts[start:]
            frame.element = before
