"""Row comparison: ``(a, b) > (x, y)``, which an index on (a, b) answers as one range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from django.db.models import Lookup, Value

Operator = Literal["<", "<=", ">", ">=", "="]


# A look-up, because Django wraps any other condition in one and resolves that twice.
class RowCompare(Lookup):
    """A condition that compares several expressions with as many values, as a row.

    The usual ``a > x OR (a = x AND b > y)`` means the same, but is read as a filter from the start of the index.
    Where an operand is NULL, the condition is unknown unless an operand before it decides.
    """

    conditional = True
    prepare_rhs = False

    def __init__(self, left: Sequence[Any], operator: Operator, right: Sequence[Value]) -> None:
        super().__init__(list(left), list(right))
        self.operator = operator

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two conditions equal."""
        return type(self), self.lhs, self.operator, self.rhs

    def get_prep_lhs(self) -> Any:
        """Return the left side as it is: no single expression."""
        return self.lhs

    def get_source_expressions(self) -> list[Any]:
        """Return what is to be resolved: values are not."""
        return self.lhs  # type: ignore[no-any-return]

    def set_source_expressions(self, new_exprs: Sequence[Any]) -> None:
        """Take the left side back, resolved or relabelled."""
        self.lhs = list(new_exprs)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> RowCompare:
        """Return the condition with its left side resolved."""
        return RowCompare([column.resolve_expression(*args, **kwargs) for column in self.lhs], self.operator, self.rhs)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Return the condition and its parameters."""
        rows: list[str] = []
        params: list[Any] = []
        for side in (self.lhs, self.rhs):
            columns = []
            for expression in side:
                sql, own = compiler.compile(expression)
                columns.append(sql)
                params.extend(own)
            rows.append(f"({', '.join(columns)})")
        return f"{rows[0]} {self.operator} {rows[1]}", params
