"""Errors and null propagation, without exceptions across levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, located_error
from graphql.pyutils import Path

from dbopt.graphql.errors import with_code

if TYPE_CHECKING:
    from dbopt.graphql.execution.batches import Batch, Cell, Spot
    from dbopt.graphql.execution.plans import FieldPlan


class RootNulledError(Exception):
    """A null reached the root: the whole data is null."""

    def __init__(self, error: GraphQLError) -> None:
        self.error = error
        super().__init__()


def fail(cell: Cell, error: Exception) -> None:
    """Record an error at one position and null the nearest position around it that may be null.

    Positions that are gone already report nothing.

    Raises:
        RootNulledError: no position up to the root may be null.
    """
    run, batch, field, row, spot = cell.run, cell.batch, cell.field, cell.row, cell.spot
    if run.has_nulls and cell.is_lost:
        return
    located = _located(cell, error)
    run.has_nulls = True
    while True:
        level = len(spot)
        while level >= 0 and run.propagates_errors and not field.nullable[level]:
            level -= 1
        if level >= 0:
            _null(batch, field, row, spot[:level])
            run.errors.append(located)
            return
        # The object itself becomes null: go on with its position in its parent.
        batch.gone.add(row)
        if batch.parent is None or batch.field is None:
            raise RootNulledError(located)
        spot = batch.spot(row)
        field, row, batch = batch.field, batch.parent_rows[row], batch.parent


def _null(batch: Batch, field: FieldPlan, row: int, spot: Spot) -> None:
    batch.nulled.add((row, field.name, spot))
    container: Any = batch.outputs[row]
    key: Any = field.name
    for index in spot:
        container, key = container[key], index
    container[key] = None


def _located(cell: Cell, error: Exception) -> GraphQLError:
    path = Path(cell.batch.path(cell.row), cell.field.name, cell.field.parent_type.name)
    for index in cell.spot:
        path = Path(path, index, None)
    return with_code(located_error(error, cell.field.nodes, path.as_list()))
