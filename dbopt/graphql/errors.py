"""Codes of dbopt's errors in the response: ``extensions.code``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbopt.exceptions import InvalidCursorError, PageSizeError, TenantRequiredError

if TYPE_CHECKING:
    from graphql import GraphQLError


def error_code(error: BaseException | None) -> str | None:
    """Return the code of an error of dbopt, None for any other."""
    if isinstance(error, PageSizeError):
        return error.code
    if isinstance(error, InvalidCursorError):
        return "INVALID_CURSOR"
    if isinstance(error, TenantRequiredError):
        return "TENANT_REQUIRED"
    return None


def with_code(error: GraphQLError) -> GraphQLError:
    """Put the code of the original error into the extensions; an error that has a code keeps it."""
    code = error_code(error.original_error)
    if code is not None and "code" not in (error.extensions or {}):
        error.extensions = {**(error.extensions or {}), "code": code}
    return error


# Written by graphql-core's `did_you_mean`, always at the end.
_SUGGESTION = re.compile(r" Did you mean [^?]*\?$")


def without_suggestions(message: str) -> str:
    """Return a message of graphql-core without the names of the schema that it suggests."""
    return _SUGGESTION.sub("", message)
