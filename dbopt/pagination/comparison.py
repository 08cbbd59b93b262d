"""Row comparison: ``(a, b) > (x, y)``, which an index on (a, b) answers as one range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from django.db.models import BooleanField, Expression

Operator = Literal["<", "<=", ">", ">=", "="]


class RowCompare(Expression):
    """A condition that compares several expressions with as many others, as a row.

    The usual ``a > x OR (a = x AND b > y)`` means the same, but is read as a filter from the start of the index.
    Where an operand is NULL, the condition is unknown unless an operand before it decides.
    """

    conditional = True

    def __init__(self, left: Sequence[Any], operator: Operator, right: Sequence[Any]) -> None:
        super().__init__(output_field=BooleanField())
        self.left = list(left)
        self.operator = operator
        self.right = list(right)

    def get_source_expressions(self) -> list[Any]:
        """Return both sides."""
        return [*self.left, *self.right]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        """Take both sides back, resolved."""
        count = len(self.left)
        self.left, self.right = list(exprs[:count]), list(exprs[count:])

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Return the condition and its parameters."""
        rows: list[str] = []
        params: list[Any] = []
        for side in (self.left, self.right):
            columns = []
            for expression in side:
                sql, own = compiler.compile(expression)
                columns.append(sql)
                params.extend(own)
            rows.append(f"({', '.join(columns)})")
        return f"{rows[0]} {self.operator} {rows[1]}", params
