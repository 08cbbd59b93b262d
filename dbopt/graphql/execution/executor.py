"""The executor: an execution context for graphql-core 3.2 that works in batches and understands promises."""

from __future__ import annotations

from typing import Any

from graphql import ExecutionContext, GraphQLError, OperationDefinitionNode, OperationType

from dbopt.graphql.execution.columns import TOO_DEEP
from dbopt.graphql.execution.core_versions import add_errors
from dbopt.graphql.execution.nulls import RootNulledError
from dbopt.graphql.execution.promises import held_queue
from dbopt.graphql.execution.registry import loaders_of_operation
from dbopt.graphql.execution.runs import Run


class DboptExecutionContext(ExecutionContext):
    """Pass it as ``execution_context_class`` to a view, to `graphql.execute`, or to a graphene schema's `execute`.

    Only `execute_operation` differs from graphql-core: the other methods changed their arguments within 3.2.
    """

    run_class: type[Run] = Run

    def execute_operation(self, operation: OperationDefinitionNode, root_value: Any) -> dict[str, Any] | None:
        """Execute the operation completely, promises included; the context's loaders are closed at its end."""
        root_type = self.schema.get_root_type(operation.operation)
        if root_type is None:
            raise GraphQLError(f"Schema is not configured to execute {operation.operation.value} operation.", operation)
        run = self.run_class(self)
        nulled: GraphQLError | None = None
        try:
            with loaders_of_operation(self.context_value), held_queue():
                try:
                    fields = run.planner.selections.fields(root_type, [operation.selection_set])
                except RecursionError:
                    fields = None
                if fields is None:
                    raise GraphQLError(TOO_DEEP, operation)
                serially = operation.operation is OperationType.MUTATION
                return run.execute(root_type, fields, root_value=root_value, serially=serially)
        except RootNulledError as error:
            nulled = error.error
        finally:
            add_errors(self, run.errors)
        raise nulled
