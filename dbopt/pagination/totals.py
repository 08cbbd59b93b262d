"""How many rows a list has: counted, estimated by the planner, or counted up to a cap."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from django.db import connections

from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from django.db.models import QuerySet

TotalMode = Literal["exact", "estimated", "capped"]
DEFAULT_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Total:
    """A number of rows and what it means; as text "42", "about 42" or "more than 42".

    Attributes:
        count: the number, for "more than" the cap.
        kind: "exact", "about" (the planner's estimate) or "more than" (not counted any further).
    """

    count: int
    kind: Literal["exact", "about", "more than"] = "exact"

    def __str__(self) -> str:
        return str(self.count) if self.kind == "exact" else f"{self.kind} {self.count}"


def count_rows(queryset: QuerySet[Any], mode: TotalMode | None = "exact", *, cap: int = DEFAULT_CAP) -> Total | None:
    """Return how many rows a queryset has, by one statement.

    Args:
        queryset: the rows; its order costs nothing.
        mode: "exact" counts every row. "estimated" asks PostgreSQL's planner, which takes the same fraction of a
            millisecond for any table; other databases count. "capped" stops counting behind the cap. None: not at all.
        cap: what "capped" counts at most.

    Returns:
        None for the mode None only.

    Raises:
        ConfigurationError: the mode is unknown, or the cap negative.
    """
    if mode is None:
        return None
    rows = queryset.order_by()
    if mode == "exact":
        return Total(rows.count())
    if mode == "estimated":
        return _estimated(rows)
    if mode != "capped":
        raise ConfigurationError(f"The total {mode!r} is unknown. Use one of: {', '.join(get_args(TotalMode))}, None.")
    if cap < 0:
        raise ConfigurationError(f"The cap of a total is {cap}; it must not be negative.")
    count = rows[: cap + 1].count()
    return Total(cap, "more than") if count > cap else Total(count)


def _estimated(rows: QuerySet[Any]) -> Total:
    if connections[rows.db].vendor != "postgresql":
        return Total(rows.count())
    found = rows.explain(format="json")
    if not found:
        # Filters that nothing can pass: Django asked no database.
        return Total(0)
    (plan,) = json.loads(found)
    return Total(int(plan["Plan"]["Plan Rows"]), "about")
