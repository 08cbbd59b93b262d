"""Codes of dbopt's errors in the response: ``extensions.code``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.db import OperationalError

from dbopt.exceptions import InvalidCursorError, OperationTimeoutError, PageSizeError, TenantRequiredError

if TYPE_CHECKING:
    from graphql import GraphQLError

# SQLSTATE of a statement that PostgreSQL gave up: at its own statement_timeout, for instance.
_QUERY_CANCELED = "57014"


def error_code(error: BaseException | None) -> str | None:
    """Return the code of an error of dbopt, None for any other."""
    if isinstance(error, PageSizeError):
        return error.code
    if isinstance(error, InvalidCursorError):
        return "INVALID_CURSOR"
    if isinstance(error, TenantRequiredError):
        return "TENANT_REQUIRED"
    return "TIMEOUT" if _is_timeout(error) else None


def _is_timeout(error: BaseException | None) -> bool:
    if isinstance(error, OperationTimeoutError):
        return True
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) == _QUERY_CANCELED


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
