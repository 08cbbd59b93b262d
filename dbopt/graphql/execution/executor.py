"""The executor: an execution context for graphql-core that works in batches and understands promises."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError, GraphQLObjectType

from dbopt.graphql.execution.columns import TOO_DEEP
from dbopt.graphql.execution.core_versions import OperationContext, add_errors
from dbopt.graphql.execution.nulls import RootNulledError
from dbopt.graphql.execution.promises import held_queue
from dbopt.graphql.execution.registry import loaders_of_operation
from dbopt.graphql.execution.runs import Run


class DboptExecutionContext(OperationContext):
    """Pass it as ``execution_context_class`` to a view, to `graphql.execute`, or to a graphene schema's `execute`.

    With graphql-core 3.3 it is an `Executor`, and the argument of the latter two is ``executor_class``.
    """

    run_class: type[Run] = Run

    def execute_root(self, root_type: GraphQLObjectType, root_value: Any, *, serially: bool) -> dict[str, Any] | None:
        """Execute the operation completely, promises included; the context's loaders are closed at its end."""
        run = self.run_class(self)
        nulled: GraphQLError | None = None
        try:
            with loaders_of_operation(self.context_value), held_queue():
                try:
                    fields = run.planner.selections.fields(root_type, [self.operation.selection_set])
                except RecursionError:
                    fields = None
                if fields is None:
                    raise GraphQLError(TOO_DEEP, self.operation)
                return run.execute(root_type, fields, root_value=root_value, serially=serially)
        except RootNulledError as error:
            nulled = error.error
        finally:
            add_errors(self, run.errors)
        raise nulled
