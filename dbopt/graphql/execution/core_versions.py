"""Where the versions 3.2.x of graphql-core differ in what is used here."""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionContext,
    GraphQLError,
    GraphQLSchema,
    validate,
)


def add_errors(context: ExecutionContext, errors: list[GraphQLError]) -> None:
    """Add to the errors that the response will have. 3.2.10 moved the list."""
    owner: Any = getattr(context, "collected_errors", context)
    owner.errors.extend(errors)


def validate_document(
    schema: GraphQLSchema,
    document: DocumentNode,
    rules: tuple[type[ASTValidationRule], ...],
    *,
    max_errors: int | None,
    hides_suggestions: bool,
) -> list[GraphQLError]:
    """Validate without looking for suggestions, which takes time, from 3.2.7 on; older versions always look."""
    hidden: dict[str, Any] = {"hide_suggestions": True} if hides_suggestions and _can_hide_suggestions() else {}
    return validate(schema, document, rules, max_errors, **hidden)


@cache
def _can_hide_suggestions() -> bool:
    return "hide_suggestions" in signature(validate).parameters
