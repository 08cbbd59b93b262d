"""Running a document to see which statements it repeats, and which fields ask for them. Nothing that it writes stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from dbopt.graphql.execution.core_versions import execute_document
from dbopt.graphql.execution.executor import DboptExecutionContext
from dbopt.graphql.execution.runs import Run
from dbopt.monitoring.origins import find_caller
from dbopt.signals import batch_loaded
from dbopt.statements import read_statement

if TYPE_CHECKING:
    from graphql import DocumentNode, ExecutionContext, ExecutionResult, GraphQLSchema

    from dbopt.graphql.execution.batches import Batch, FieldColumn
    from dbopt.graphql.execution.plans import FieldPlan


@dataclass
class TracedStatement:
    """One fingerprint of an operation.

    Attributes:
        text: normalised: no parameter, no literal.
        askers: how often each asked: ``Type.field``, or ``loader X`` for what a loader sent for many fields at once.
        callers: ``path:line`` -> how often.
    """

    alias: str
    fingerprint: str
    text: str
    count: int
    askers: dict[str, int]
    callers: dict[str, int]


class Trace:
    """What one operation asked the databases of this thread."""

    def __init__(self) -> None:
        self.statements: dict[tuple[str, str], TracedStatement] = {}
        self.field: str | None = None
        self._of_loaders: list[TracedStatement] = []

    def __call__(self, run: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Count a statement, then run it: an execute wrapper."""
        connection = context["connection"]
        read = read_statement(sql, connection)
        if read.operation != "txn":
            row = self.statements.setdefault(
                (connection.alias, read.fingerprint),
                TracedStatement(connection.alias, read.fingerprint, read.text, 0, {}, {}),
            )
            row.count += 1
            caller = find_caller(2)
            if self.field is not None:
                row.askers[self.field] = row.askers.get(self.field, 0) + 1
            else:
                self._of_loaders.append(row)
            if caller is not None:
                row.callers[caller[0]] = row.callers.get(caller[0], 0) + 1
        return run(sql, params, many, context)

    def name_loader(self, *, loader: str, **_: Any) -> None:
        """Name who has sent what no field asked for: a receiver of `batch_loaded`, which comes after the statements."""
        asker = f"loader {loader}"
        for row in self._of_loaders:
            row.askers[asker] = row.askers.get(asker, 0) + 1
        self._of_loaders.clear()

    def repeated(self, often: int) -> list[TracedStatement]:
        """Return the statements that were executed so often, the most frequent first."""
        found = [row for row in self.statements.values() if row.count >= often]
        return sorted(found, key=lambda row: (-row.count, row.fingerprint))


def trace(  # noqa: PLR0913  # all by keyword but two
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    context: Any,
    variables: Mapping[str, Any],
    databases: Sequence[str],
    operation_name: str | None = None,
) -> tuple[Trace, ExecutionResult]:
    """Execute a document as the view would, in transactions that are rolled back.

    What else it does stays done: messages, files, caches, other databases. Hooks of `on_commit` do not run.

    Args:
        schema: whose document it is; the document is valid.
        document: queries and mutations.
        context: for the resolvers, a request for instance.
        variables: of the operation.
        databases: aliases whose transactions are rolled back; statements of all aliases are counted.
        operation_name: which operation, where there are several.
    """
    found = Trace()
    token = _current.set(found)
    try:
        with _rolled_back(databases), _watched(found):
            result = execute_document(
                schema,
                document,
                context_class=_TracedExecutionContext,
                variables=dict(variables),
                hides_suggestions=False,
                context_value=context,
                operation_name=operation_name,
            )
    finally:
        _current.reset(token)
    return found, result


_current: ContextVar[Trace] = ContextVar("dbopt_graphql_trace")


class _TracedRun(Run):
    """A run that says which field it is at."""

    def __init__(self, context: ExecutionContext) -> None:
        super().__init__(context)
        self._trace = _current.get()

    def _run_field(self, batch: Batch, field: FieldPlan, sources: Sequence[Any], rows: Sequence[int] | None) -> None:
        with self._at(field):
            super()._run_field(batch, field, sources, rows)

    def _complete_column(self, column: FieldColumn, values: list[Any]) -> None:
        with self._at(column.field):
            super()._complete_column(column, values)

    @contextmanager
    def _at(self, field: FieldPlan) -> Iterator[None]:
        outer, self._trace.field = self._trace.field, field.coordinate
        try:
            yield
        finally:
            self._trace.field = outer


class _TracedExecutionContext(DboptExecutionContext):
    run_class = _TracedRun


@contextmanager
def _rolled_back(databases: Sequence[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for alias in databases:
            stack.enter_context(transaction.atomic(using=alias))
        try:
            yield
        finally:
            for alias in databases:
                transaction.set_rollback(True, using=alias)


@contextmanager
def _watched(found: Trace) -> Iterator[None]:
    watched = connections.all()
    for connection in watched:
        # By hand: Django's execute_wrapper() takes away whatever is last at its end, which may be another's.
        connection.execute_wrappers.append(found)
    batch_loaded.connect(found.name_loader, weak=False)
    try:
        yield
    finally:
        batch_loaded.disconnect(found.name_loader)
        for connection in watched:
            connection.execute_wrappers.remove(found)
