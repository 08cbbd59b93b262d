"""Batches, and the cells in them: the state of a running operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphql import GraphQLResolveInfo
from graphql.pyutils import Path

if TYPE_CHECKING:
    from dbopt.graphql.execution.plans import FieldPlan, ObjectPlan
    from dbopt.graphql.execution.runs import Run

Spot = tuple[int, ...]
"""Position of an item inside the (nested) list of a field; () is the field itself."""


class Batch:
    """All objects that reached the same plan, whatever their parents.

    Attributes:
        sources: what the resolvers returned; outputs: the response objects, in the same order.
        parent, field: the batch and the field these objects come from; None for the root.
        parent_rows, spots: where each of them stands there; spots is None outside lists.
        nulled: positions (row, response key, spot) in outputs that null propagation emptied.
        gone: rows that are no longer part of the response.
    """

    __slots__ = ("field", "gone", "nulled", "outputs", "parent", "parent_rows", "plan", "sources", "spots")

    def __init__(self, plan: ObjectPlan, sources: Sequence[Any], outputs: list[dict[str, Any]]) -> None:
        self.plan = plan
        self.sources = sources
        self.outputs = outputs
        self.parent: Batch | None = None
        self.field: FieldPlan | None = None
        self.parent_rows: Sequence[int] = ()
        self.spots: list[Spot] | None = None
        self.nulled: set[tuple[int, str, Spot]] = set()
        self.gone: set[int] = set()

    def path(self, row: int) -> Path | None:
        """Return where an object stands in the response, None for the root."""
        # A loop: chained fragments nest deeper than Python recurses.
        steps: list[tuple[str | int, str | None]] = []
        batch = self
        while batch.parent is not None and batch.field is not None:
            steps.extend((index, None) for index in reversed(batch.spot(row)))
            steps.append((batch.field.name, batch.parent.plan.object_type.name))
            batch, row = batch.parent, batch.parent_rows[row]
        path: Path | None = None
        for key, type_name in reversed(steps):
            path = Path(path, key, type_name)
        return path

    def spot(self, row: int) -> Spot:
        """Return where an object stands in the list it came in."""
        return () if self.spots is None else self.spots[row]

    def is_gone(self, row: int) -> bool:
        """Whether an object was taken out of the response by null propagation."""
        batch = self
        while batch.parent is not None and batch.field is not None:
            if row in batch.gone:
                return True
            parent_row = batch.parent_rows[row]
            if batch.parent.is_nulled(parent_row, batch.field.name, batch.spot(row)):
                return True
            batch, row = batch.parent, parent_row
        return False

    def is_lost(self, row: int, name: str, spot: Spot) -> bool:
        """Whether a position is no longer part of the response: emptied itself, or with what is around it."""
        return self.is_nulled(row, name, spot) or self.is_gone(row)

    def is_nulled(self, row: int, name: str, spot: Spot) -> bool:
        """Whether a position, or a list around it, was emptied."""
        nulled = self.nulled
        return bool(nulled) and any((row, name, spot[:length]) in nulled for length in range(len(spot) + 1))


class PathReference:
    """Where a field is; becomes a Path when somebody asks."""

    __slots__ = ("batch", "name", "row")

    def __init__(self, batch: Batch, row: int, name: str) -> None:
        self.batch = batch
        self.row = row
        self.name = name

    def build(self) -> Path:
        """Return the path of the field."""
        return Path(self.batch.path(self.row), self.name, self.batch.plan.object_type.name)


class LazyInfo(GraphQLResolveInfo):
    """GraphQLResolveInfo that builds its `path` only when it is read."""

    __slots__ = ()

    @property
    def path(self) -> Path:
        """Where the field is in the response."""
        path = self[4]
        return path.build() if isinstance(path, PathReference) else path


class Cell:
    """One position in the response."""

    __slots__ = ("batch", "field", "holder", "row", "run", "spot")

    def __init__(self, run: Run, cells: Cells, position: int) -> None:
        self.run = run
        self.batch = cells.batch
        self.field = cells.field
        self.row = cells.row(position)
        self.spot = cells.spot(position)
        self.holder = None if cells.items is None else cells.items.holders[position]

    def settle(self, value: Any, error: Exception | None) -> None:
        """Take the result of the promise that the cell waits for."""
        self.run.settled.append((self, value, error))

    @property
    def is_lost(self) -> bool:
        """Whether the position is no longer part of the response."""
        return self.batch.is_lost(self.row, self.field.name, self.spot)


class FieldColumn:
    """One field of a whole batch that waits for a loader."""

    __slots__ = ("batch", "field", "rows", "run")

    def __init__(self, run: Run, batch: Batch, field: FieldPlan, rows: Sequence[int] | None) -> None:
        self.run = run
        self.batch = batch
        self.field = field
        self.rows = rows

    @property
    def height(self) -> int:
        """Levels of objects below the field."""
        return self.field.height

    def deliver(self, values: list[Any]) -> None:
        """Take the values, one a row."""
        self.run.delivered.append((self, values))

    def settle(self, value: Any, error: Exception | None) -> None:
        """Take the values, or the error of all rows."""
        count = len(self.batch.sources if self.rows is None else self.rows)
        self.deliver(value if error is None else [error] * count)

    @property
    def is_lost(self) -> bool:
        """Whether nobody wants the values: each row is looked at when they come."""
        return False


class Items:
    """Where list items belong: their spots, and the (list, index) to write each of them to."""

    __slots__ = ("holders", "spots")

    def __init__(self) -> None:
        self.spots: list[Spot] = []
        self.holders: list[tuple[list[Any], int]] = []

    def add(self, spot: Spot, holder: tuple[list[Any], int]) -> None:
        """Add one item."""
        self.spots.append(spot)
        self.holders.append(holder)

    def only(self, positions: Sequence[int]) -> Items:
        """Return a part of the items."""
        part = Items()
        part.spots = [self.spots[position] for position in positions]
        part.holders = [self.holders[position] for position in positions]
        return part


class Cells:
    """Values on their way into the response: all of one field, at one list level.

    Attributes:
        rows: object of the batch that each value belongs to; None when it is all of them in order.
        items: for list items, where they belong.
    """

    __slots__ = ("batch", "field", "items", "rows", "values")

    def __init__(
        self,
        batch: Batch,
        field: FieldPlan,
        values: Sequence[Any],
        *,
        rows: Sequence[int] | None,
        items: Items | None = None,
    ) -> None:
        self.batch = batch
        self.field = field
        self.values = values
        self.rows = rows
        self.items = items

    @property
    def level(self) -> int:
        """Lists around each value."""
        return 0 if self.items is None else len(self.items.spots[0])

    @property
    def is_nullable(self) -> bool:
        """Whether the type allows null here."""
        return self.field.nullable[self.level]

    def row(self, position: int) -> int:
        """Return the object of the batch that a value belongs to."""
        return position if self.rows is None else self.rows[position]

    def spot(self, position: int) -> Spot:
        """Return where a value stands in the list of its field."""
        return () if self.items is None else self.items.spots[position]

    def all_rows(self) -> Sequence[int]:
        """Return the object of each value."""
        return range(len(self.values)) if self.rows is None else self.rows

    def only(self, positions: Sequence[int]) -> Cells:
        """Return a part of the cells."""
        return Cells(
            self.batch,
            self.field,
            [self.values[position] for position in positions],
            rows=[self.row(position) for position in positions],
            items=None if self.items is None else self.items.only(positions),
        )

    def write(self, outputs: Sequence[Any]) -> None:
        """Put one output a cell into the response."""
        if self.items is not None:
            for (holder, index), output in zip(self.items.holders, outputs, strict=True):
                holder[index] = output
            return
        name, parents = self.field.name, self.batch.outputs
        if self.rows is None:
            for parent, output in zip(parents, outputs, strict=True):
                parent[name] = output
        else:
            for row, output in zip(self.rows, outputs, strict=True):
                parents[row][name] = output

    def write_one(self, position: int, output: Any) -> None:
        """Put the output of one cell into the response."""
        if self.items is not None:
            holder, index = self.items.holders[position]
            holder[index] = output
        else:
            self.batch.outputs[self.row(position)][self.field.name] = output
