"""The driver's errors in the words of :mod:`dbopt.exceptions`.

Messages name alias, address, code and what to do; never a parameter, a value or a password. The driver's own error,
which may quote values, stays attached as ``__cause__``. Decisions rest on codes, not on texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from dbopt.exceptions import (
    GraphAuthError,
    GraphCommitUnknownError,
    GraphError,
    GraphIntegrityError,
    GraphPoolTimeoutError,
    GraphQueryError,
    GraphSchemaConflictError,
    GraphSchemaError,
    GraphTimeoutError,
    GraphTransientError,
    GraphUnavailableError,
    require_extra,
)

_SCHEMA = "Neo.ClientError.Schema."
_SCHEMA_CONFLICTS = frozenset(
    _SCHEMA + name
    for name in (
        "EquivalentSchemaRuleAlreadyExists",
        "IndexAlreadyExists",
        "IndexWithNameAlreadyExists",
        "ConstraintAlreadyExists",
        "ConstraintWithNameAlreadyExists",
    )
)
_POOL_TIMEOUT_5 = "failed to obtain a connection from the pool"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a query ran, for messages."""

    alias: str
    database: str
    address: str
    query: str

    def __str__(self) -> str:
        return f"Neo4j {self.alias!r} (database {self.database!r} at {self.address})"


def driver_errors() -> tuple[type[Exception], ...]:
    """Return the classes that the driver raises, for ``except``."""
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    return (exceptions.Neo4jError, exceptions.DriverError)


def _said_by_server(error: Exception) -> Exception:
    """Return what is behind the error that the driver makes when a transaction ends whose result had failed already."""
    failed = getattr(require_extra("neo4j.exceptions", "neo4j"), "ResultFailedError", None)
    if failed is not None and isinstance(error, failed) and isinstance(error.__cause__, driver_errors()):
        return error.__cause__
    return error


def is_retryable(error: Exception) -> bool:
    """Tell whether the driver calls the failure passing, and no write can have been committed."""
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    error = _said_by_server(error)
    if isinstance(error, exceptions.IncompleteCommit) or is_pool_timeout(error):
        return False
    return bool(getattr(error, "is_retryable", bool)())


def is_pool_timeout(error: Exception) -> bool:
    """Tell whether no connection became free; driver 5 has no class for it."""
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    named = getattr(exceptions, "ConnectionAcquisitionTimeoutError", None)
    if named is not None and isinstance(error, named):
        return True
    return isinstance(error, exceptions.ClientError) and code_of(error) is None and _POOL_TIMEOUT_5 in str(error)


def is_driver_closed(error: Exception) -> bool:
    """Tell whether another thread closed the driver; the driver has no class for it."""
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    return type(error) is exceptions.DriverError and str(error) == "Driver closed"


def code_of(error: Exception) -> str | None:
    """Return the server's code, or None for an error that the driver made itself."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else None


def translate(error: Exception, place: Place) -> GraphError:
    """Return the error of dbopt that says what the driver's error means."""
    error = _said_by_server(error)
    code = code_of(error)
    facts = {"code": code, "alias": place.alias}
    made = _of_connection(error, place) or _of_code(error, code, place)
    if made is not None:
        cls, message = made
        return cls(message, **facts)
    if isinstance(error, require_extra("neo4j.exceptions", "neo4j").Neo4jError):
        return GraphQueryError(f"{place} refused query {place.query}: {_refusal(error, code)}", **facts)
    return GraphError(f"The Neo4j driver failed ({type(error).__name__}) for query {place.query} on {place}.", **facts)


def _of_connection(error: Exception, place: Place) -> tuple[type[GraphError], str] | None:
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    if is_pool_timeout(error):
        return GraphPoolTimeoutError, (
            f"No connection to {place} became free in time for query {place.query}. Shorten the queries that hold "
            "them, or raise MAX_CONNECTION_POOL_SIZE or ACQUISITION_TIMEOUT."
        )
    if isinstance(error, exceptions.IncompleteCommit):
        return GraphCommitUnknownError, (
            f"The connection to {place} broke during COMMIT of query {place.query}: look up whether it was written."
        )
    unavailable = (exceptions.ServiceUnavailable, exceptions.SessionExpired, exceptions.DatabaseUnavailable)
    if isinstance(error, unavailable):
        return GraphUnavailableError, (
            f"{place} is out of reach for query {place.query}. Is the server running, and is the URI right?"
        )
    return None


def _of_code(error: Exception, code: str | None, place: Place) -> tuple[type[GraphError], str] | None:
    exceptions = require_extra("neo4j.exceptions", "neo4j")
    code = code or ""
    if ".Schema." in code:
        return _of_schema(code, place)
    # Not the driver's class Forbidden: it also stands for schema and data in one transaction.
    if code.startswith("Neo.ClientError.Security.") or isinstance(error, exceptions.AuthError):
        return GraphAuthError, (
            f"{place} refused the user ({code}) for query {place.query}. Check USER and PASSWORD of "
            f'DBOPT["NEO4J"]["{place.alias}"], and the rights of that user.'
        )
    if code.startswith("Neo.ClientError.Transaction.TransactionTimedOut"):
        return GraphTimeoutError, f"Query {place.query} on {place} ran longer than its time limit, and was ended."
    if isinstance(error, exceptions.TransientError):
        return GraphTransientError, f"Query {place.query} on {place} failed for a passing reason, repeatedly ({code})."
    return None


def _of_schema(code: str, place: Place) -> tuple[type[GraphError], str]:
    if code in _SCHEMA_CONFLICTS:
        return GraphSchemaConflictError, f"{place} has an index or constraint that contradicts {place.query} ({code})."
    if code == _SCHEMA + "ConstraintValidationFailed":
        return GraphIntegrityError, f"Query {place.query} on {place} violates a constraint ({code})."
    return GraphSchemaError, f"{place} could not change the schema by {place.query} ({code})."


def _refusal(error: Exception, code: str | None) -> str:
    if code == "Neo.ClientError.Database.DatabaseNotFound":
        return f'there is no such database ({code}). Check DATABASE in DBOPT["NEO4J"].'
    if code == "Neo.ClientError.Statement.AccessMode":
        return f"a read may not write ({code}). Use write()."
    if code == "Neo.ClientError.Statement.SyntaxError":
        # Raised before parameters are bound: it can quote the query's text, and nothing else.
        first = str(getattr(error, "message", "")).split("\n", maxsplit=1)[0]
        return f"{first[:200]} ({code})"
    return f"{code}."
