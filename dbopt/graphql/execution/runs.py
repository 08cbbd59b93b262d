"""A run: one operation on its way through batches, loaders and the queue of this thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from graphql import FieldNode, GraphQLError, GraphQLObjectType, GraphQLResolveInfo

from dbopt.graphql.execution.awaitables import close
from dbopt.graphql.execution.batches import Batch, Cell, Cells, FieldColumn, Items, LazyInfo, PathReference
from dbopt.graphql.execution.columns import complete
from dbopt.graphql.execution.core_versions import fragments_of, info_tail, propagates_errors
from dbopt.graphql.execution.nulls import fail
from dbopt.graphql.execution.plans import FieldPlan, ObjectPlan, Planner
from dbopt.graphql.execution.promises import run_next_job
from dbopt.graphql.execution.registry import clear_loaders
from dbopt.graphql.execution.selections import Selections

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from graphql import ExecutionContext, GraphQLNamedType


class RowReader(Protocol):
    """Says how the rows of a type are read: the projector of a schema that was optimized."""

    def prepare(self, rows: QuerySet[Any], info: Any, named: GraphQLNamedType) -> QuerySet[Any]:
        """Return the rows as they will be read."""
        ...


class Run:
    """The state of one operation. Belongs to one thread."""

    def __init__(self, context: ExecutionContext) -> None:
        self.context = context
        selections = Selections(context.schema, fragments=fragments_of(context), variables=context.variable_values)
        self.planner = Planner(
            selections, default_resolver=context.field_resolver, middleware=context.middleware_manager
        )
        self.batches: deque[Batch] = deque()
        self.settled: deque[tuple[Cell, Any, Exception | None]] = deque()
        self.delivered: deque[tuple[FieldColumn, list[Any]]] = deque()
        self.pending = 0
        self.errors: list[GraphQLError] = []
        self.has_nulls = False
        self.propagates_errors = propagates_errors(context)
        self.plain_types: set[type] = set()
        # How rows are read, where `optimize` set it.
        self.rows: RowReader | None = context.schema.extensions.get("dbopt.rows")
        self._info_tail = info_tail(context)

    def info(self, field: FieldPlan, batch: Batch, row: int) -> GraphQLResolveInfo:
        """Return what graphql-core passes to a resolver; its path is built when read."""
        where = PathReference(batch, row, field.name)
        head = (field.nodes[0].name.value, field.nodes, field.definition.type, field.parent_type, where)
        return tuple.__new__(LazyInfo, (*head, *self._info_tail))

    def execute(
        self, root_type: GraphQLObjectType, fields: dict[str, list[FieldNode]], *, root_value: Any, serially: bool
    ) -> dict[str, Any]:
        """Resolve the root fields and all below; serially means each is finished before the next one starts."""
        plan = self.planner.compile(root_type, fields)
        output = dict(plan.template)
        if serially:
            for field in plan.fields:
                self.batches.append(Batch(ObjectPlan(root_type, [field], {}), [root_value], [output]))
                self.drain()
                # The next field writes: what was loaded until now is of before.
                clear_loaders(self.context.context_value)
        else:
            self.batches.append(Batch(plan, [root_value], [output]))
            self.drain()
        return output

    def drain(self) -> None:
        """Work until nothing is left: batches first, so that as many loads as possible meet in one batch."""
        while True:
            if self.batches:
                self._run_batch(self.batches.popleft())
            elif self.delivered:
                self._complete_column(*self.delivered.popleft())
            elif self.settled:
                self._complete_settled()
            elif not run_next_job() and not self.wait():
                break
        if self.pending:
            raise GraphQLError(
                f"{self.pending} promise(s) were never settled: nothing is left to run that could settle them."
            )

    def accept(self, awaitable: Any, waiter: Cell | FieldColumn) -> Exception | None:
        """Take what a resolver returned for later, or return why not: a thread cannot await. For subclasses that can."""
        close(awaitable)
        return TypeError(
            f"The resolver of {waiter.field.coordinate} returned an awaitable, which this view cannot wait for. "
            "Make the resolver synchronous, or use AsyncGraphQLView."
        )

    def wait(self) -> bool:
        """Called when nothing else is left: settle something and return True, or return False. For subclasses."""
        return False

    def checkpoint(self, batch: Batch) -> None:
        """Called before each batch. For subclasses: raise GraphQLError to end the operation."""

    def _run_batch(self, batch: Batch) -> None:
        self.checkpoint(batch)
        rows: Sequence[int] | None = None
        if self.has_nulls and batch.parent is not None:
            rows = [row for row in range(len(batch.sources)) if not batch.is_gone(row)]
        for field in batch.plan.fields:
            if batch.gone:
                rows = [row for row in (range(len(batch.sources)) if rows is None else rows) if row not in batch.gone]
            sources = batch.sources if rows is None else [batch.sources[row] for row in rows]
            if sources:
                self._run_field(batch, field, sources, rows)

    def _run_field(self, batch: Batch, field: FieldPlan, sources: Sequence[Any], rows: Sequence[int] | None) -> None:
        if field.attribute is not None:
            values: list[Any] | None = _attributes(sources, *field.attribute)
        elif field.batch_resolve is not None:
            values = self._resolve_column(batch, field, sources, rows)
        else:
            values = self._resolve_each(batch, field, sources, rows)
        if values is None:
            self.pending += 1
        else:
            complete(self, Cells(batch, field, values, rows=rows))

    def _resolve_column(
        self, batch: Batch, field: FieldPlan, sources: Sequence[Any], rows: Sequence[int] | None
    ) -> list[Any] | None:
        info = self.info(field, batch, 0 if rows is None else rows[0])
        column = FieldColumn(self, batch, field, rows)
        try:
            values: list[Any] | None = field.batch_resolve(sources, info, column, **self._arguments(field))  # type: ignore[misc]
        except Exception as error:  # noqa: BLE001  # user code: an error of this field, for all its parents
            return [error] * len(sources)
        if hasattr(values, "__await__"):
            refusal = self.accept(values, column)
            return None if refusal is None else [refusal] * len(sources)
        return values

    def _resolve_each(
        self, batch: Batch, field: FieldPlan, sources: Sequence[Any], rows: Sequence[int] | None
    ) -> list[Any]:
        if field.argument_error is not None:
            return [field.argument_error] * len(sources)
        values: list[Any] = []
        resolve = field.resolve
        for position, source in enumerate(sources):
            info = self.info(field, batch, position if rows is None else rows[position])
            try:
                values.append(resolve(source, info, **self._arguments(field)))
            except Exception as error:  # noqa: BLE001  # user code: an error of this field
                values.append(error)
        return values

    def _arguments(self, field: FieldPlan) -> dict[str, Any]:
        return self.planner.arguments(field) if field.has_mutable_arguments else field.arguments

    def _complete_column(self, column: FieldColumn, values: list[Any]) -> None:
        self.pending -= 1
        cells = Cells(column.batch, column.field, values, rows=column.rows)
        if self.has_nulls:
            name = column.field.name
            rows = enumerate(cells.all_rows())
            cells = cells.only([position for position, row in rows if not column.batch.is_lost(row, name, ())])
        complete(self, cells)

    def _complete_settled(self) -> None:
        """Group settled cells by field again, so that the work below them is column-wise again."""
        groups: dict[tuple[int, int, int], Cells] = {}
        while self.settled:
            cell, value, error = self.settled.popleft()
            self.pending -= 1
            if self.has_nulls and cell.is_lost:
                continue
            if error is not None:
                fail(cell, error)
                continue
            key = (id(cell.batch), id(cell.field), len(cell.spot))
            group = groups.get(key)
            if group is None:
                items = None if cell.holder is None else Items()
                group = groups[key] = Cells(cell.batch, cell.field, [], rows=[], items=items)
            _append(group, cell, value)
        for cells in groups.values():
            complete(self, cells)


def _append(group: Cells, cell: Cell, value: Any) -> None:
    group.values.append(value)  # type: ignore[attr-defined]
    group.rows.append(cell.row)  # type: ignore[union-attr]
    if group.items is not None and cell.holder is not None:
        group.items.add(cell.spot, cell.holder)


def _attributes(sources: Sequence[Any], name: str, default: Any) -> list[Any]:
    if not any(issubclass(kind, dict) for kind in set(map(type, sources))):
        try:
            return list(map(attrgetter(name), sources))
        except Exception:  # noqa: BLE001, S110  # missing, or a property failed: find out below for which object
            pass
    values = []
    for source in sources:
        try:
            values.append(source.get(name, default) if isinstance(source, dict) else getattr(source, name, default))
        except Exception as error:  # noqa: BLE001  # user code: an error of this field
            values.append(error)
    return values
