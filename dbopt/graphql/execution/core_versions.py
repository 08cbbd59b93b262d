"""All that differs between the versions of graphql-core: 3.2.0 to 3.3. No other module asks which one is installed.

3.3 has no `ExecutionContext`. Its `Executor` takes that place, with other names for some of the same things; what
graphql-core passes to resolvers is passed as that version has it, ``info.variable_values.coerced`` for instance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import graphql
from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    execute,
    validate,
)

# Its own word for the class, and for the argument that names one.
_HAS_EXECUTOR = hasattr(graphql, "Executor")

if TYPE_CHECKING:
    from graphql import ExecutionContext

    FieldDetails: Any
    VariableValues: Any
elif _HAS_EXECUTOR:
    from graphql import Executor as ExecutionContext
    from graphql.execution.collect_fields import FieldDetails
    from graphql.execution.values import VariableValues
else:
    from graphql import ExecutionContext

_INFO_TAIL = GraphQLResolveInfo._fields[5:]
_NO_FRAGMENT_VARIABLES = "Fragments with variables of their own are not supported."


class OperationContext(ExecutionContext):
    """One operation as graphql-core knows it, with one method left to write; the others changed from version to version."""

    def execute_root(self, root_type: GraphQLObjectType, root_value: Any, *, serially: bool) -> dict[str, Any] | None:
        """Execute the operation completely.

        Raises:
            GraphQLError: the whole data is null.
        """
        raise NotImplementedError

    if _HAS_EXECUTOR:

        def execute_collected_root_fields(
            self, root_type: GraphQLObjectType, root_value: Any, fields: Any, serially: bool, deferred: Any
        ) -> dict[str, Any] | None:
            """Execute the operation, as 3.3 asks for it."""
            executor: Any = self
            if any(fragment.variable_signatures for fragment in executor.fragments.values()):
                raise GraphQLError(_NO_FRAGMENT_VARIABLES, self.operation)
            # An info has them, and an error's frames have infos: a cycle that would keep the request.
            methods = (executor.gather_async_work, executor.track_async_work)
            executor.async_helpers = type(executor.async_helpers)(*map(_weakly, methods))
            return self.execute_root(root_type, root_value, serially=serially)
    else:

        def execute_operation(self, operation: OperationDefinitionNode, root_value: Any) -> dict[str, Any] | None:
            """Execute the operation, as 3.2 asks for it."""
            kind = operation.operation
            root_type = self.schema.get_root_type(kind)
            if root_type is None:
                raise GraphQLError(f"Schema is not configured to execute {kind.value} operation.", operation)
            return self.execute_root(root_type, root_value, serially=kind is OperationType.MUTATION)


def _weakly(method: Any) -> Callable[[Any], Any]:
    reference: WeakMethod[Any] = WeakMethod(method)

    def call(values: Any) -> Any:
        found: Any = reference()
        return found(values)

    return call


def executed_by(context_class: type[ExecutionContext]) -> dict[str, Any]:
    """Return the argument that says which class executes: of graphql-core's `execute`, or a graphene schema's."""
    return {"executor_class" if _HAS_EXECUTOR else "execution_context_class": context_class}


def execute_document(
    schema: GraphQLSchema,
    document: DocumentNode,
    *,
    context_class: type[ExecutionContext],
    variables: Any,
    hides_suggestions: bool,
    **others: Any,
) -> ExecutionResult:
    """Execute synchronously; others are further arguments of graphql-core's `execute`.

    Raises:
        TypeError: variables are no dictionary.
    """
    if variables is not None and not isinstance(variables, dict):
        # In the words of 3.2; 3.3 would take anything.
        raise TypeError("Variable values must be provided as a dictionary with variable names as keys.")
    others |= _hiding(execute, hides_suggestions=hides_suggestions) | executed_by(context_class)
    if _HAS_EXECUTOR:
        # A QuerySet can be read in two ways.
        others["is_async_iterable"] = lambda _: False
    result: Any = execute(schema, document, variable_values=variables, **others)
    return result  # type: ignore[no-any-return]  # an awaitable only of a class that is not ours


def fragments_of(context: Any) -> dict[str, FragmentDefinitionNode]:
    """Return the fragments of a document by name, from an execution context or a resolve info."""
    found: dict[str, FragmentDefinitionNode] = getattr(context, "fragment_definitions", context.fragments)
    return found


def info_tail(context: ExecutionContext) -> tuple[Any, ...]:
    """Return what a resolve info holds behind its path: the same for all fields."""
    others = {"fragments": fragments_of(context), "context": context.context_value}
    return tuple(others[name] if name in others else getattr(context, name) for name in _INFO_TAIL)


def propagates_errors(context: ExecutionContext) -> bool:
    """Whether a null where none is allowed empties what is around it. From 3.3 on a directive can switch that off."""
    return getattr(context, "error_propagation", True)


def runtime_type(  # noqa: PLR0913, PLR0917  # graphql-core's arguments
    context: ExecutionContext,
    name: Any,
    abstract: GraphQLAbstractType,
    nodes: Sequence[FieldNode],
    info: GraphQLResolveInfo,
    value: Any,
) -> GraphQLObjectType:
    """Return the object type that `resolve_type` named.

    Raises:
        GraphQLError: there is none of that name, or it is none of the abstract type's.
    """
    places: Any = [FieldDetails(node, None) for node in nodes] if _HAS_EXECUTOR else nodes
    return context.ensure_valid_runtime_type(name, abstract, places, info, value)


def add_errors(context: ExecutionContext, errors: list[GraphQLError]) -> None:
    """Add to the errors that the response will have. 3.2.10 moved the list."""
    owner: Any = getattr(context, "collected_errors", context)
    owner.errors.extend(errors)


def plain_variables(values: Any) -> Any:
    """Return variables by name, from what graphql-core coerced; anything else as it is."""
    return getattr(values, "coerced", values)


def core_variables(values: dict[str, Any]) -> Any:
    """Return coerced variables in the form in which graphql-core takes them."""
    return VariableValues({}, values) if _HAS_EXECUTOR else values


def output_method(leaf: GraphQLLeafType) -> str:
    """Return the name of the method that makes a value one of the response. Enums of graphene know the old name only."""
    return "coerce_output_value" if _HAS_EXECUTOR and isinstance(leaf, GraphQLScalarType) else "serialize"


def validate_document(
    schema: GraphQLSchema,
    document: DocumentNode,
    rules: tuple[type[ASTValidationRule], ...],
    *,
    max_errors: int | None,
    hides_suggestions: bool,
) -> list[GraphQLError]:
    """Validate without looking for suggestions, which takes time, from 3.2.7 on; older versions always look."""
    return validate(schema, document, rules, max_errors, **_hiding(validate, hides_suggestions=hides_suggestions))


def _hiding(function: Callable[..., Any], *, hides_suggestions: bool) -> dict[str, Any]:
    return {"hide_suggestions": True} if hides_suggestions and _can_hide_suggestions(function) else {}


@cache
def _can_hide_suggestions(function: Callable[..., Any]) -> bool:
    return "hide_suggestions" in signature(function).parameters
