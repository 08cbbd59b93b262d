"""Every error that dbopt raises, in one tree.

::

    DboptError
    ├── MissingExtraError (ImproperlyConfigured, ImportError)    an optional client is not installed
    ├── ConfigurationError (ImproperlyConfigured)                a setting is wrong
    ├── LoaderContractError (ValueError)                         batch_load broke its contract
    ├── UncacheableArgumentError (TypeError)                     an argument has no canonical form
    ├── InvalidCursorError (ValueError)                          a page cursor cannot be used
    ├── PageSizeError (ValueError)                               first/last are out of range
    ├── TenantRequiredError (PermissionDenied)                   no tenant, and one is required
    ├── OperationTimeoutError (OperationalError, TimeoutError)   a GraphQL operation ran longer than its limit
    ├── CacheUnreachableError (ConnectionError)              a command needs the cache server, which does not answer
    ├── SessionUnavailableError (ConnectionError)            the sessions' Redis does not answer
    ├── ServerStartError                                     a server for tests or the demo cannot be had
    ├── IndexBuildError (OperationalError)
    │   └── IndexConflictError
    └── GraphError
        ├── GraphUnavailableError                                no server answers
        ├── GraphPoolTimeoutError (TimeoutError)                 no connection became free in time
        ├── GraphAuthError                                       refused: never retried
        ├── GraphIntegrityError                                  a constraint was violated
        ├── GraphQueryError                                      the Cypher is wrong
        ├── GraphTransientError                                  still failing after retries
        ├── GraphTimeoutError (TimeoutError)                     the query took too long
        ├── GraphCommitUnknownError                              the outcome must be looked up
        └── GraphSchemaError
            └── GraphSchemaConflictError

Each class also inherits what callers already catch. A warning is no error: ``CachedInstanceWarning`` (UserWarning).
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.utils import OperationalError


class DboptError(Exception):
    """Root of all errors of dbopt."""


class MissingExtraError(DboptError, ImproperlyConfigured, ImportError):
    """Say which extra of dbopt brings a client that is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        self.module = module
        self.extra = extra
        super().__init__(f"{module!r} is not installed. Install it with: pip install 'dbopt[{extra}]'")


class ConfigurationError(DboptError, ImproperlyConfigured):
    """A value in the DBOPT setting, or an argument of a configuration function, is wrong."""


class LoaderContractError(DboptError, ValueError):
    """A loader's batch_load returned something else than one value per key."""


class UncacheableArgumentError(DboptError, TypeError):
    """An argument of a cached function has no canonical form, so no key can be made of it."""


class CachedInstanceWarning(UserWarning):
    """An instance of a model that came from the cache was saved or deleted without reading its row again."""


class InvalidCursorError(DboptError, ValueError):
    """A page cursor is damaged, forged, or of another list."""

    def __init__(self, argument: str, reason: str) -> None:
        self.argument = argument
        self.reason = reason
        super().__init__(f"Argument `{argument}` is not a valid cursor for this list: {reason}.")


class PageSizeError(DboptError, ValueError):
    """The page size, or the combination of page arguments, cannot be served.

    Attributes:
        code: PAGINATION_REQUIRED, PAGE_TOO_LARGE or BAD_PAGINATION.
    """

    def __init__(self, message: str, *, code: str) -> None:
        self.code = code
        super().__init__(message)


class TenantRequiredError(DboptError, PermissionDenied):
    """No tenant is set where one is required."""


class OperationTimeoutError(DboptError, OperationalError, TimeoutError):
    """A GraphQL operation ran longer than its time limit; its statement was cancelled or not started.

    Attributes:
        seconds: the limit.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The operation took longer than {seconds:g} seconds.")


class CacheUnreachableError(DboptError, ConnectionError):
    """A command cannot do its work without the cache server. Views never see it: they are answered by the database."""


class SessionUnavailableError(DboptError, ConnectionError):
    """The Redis that holds the sessions does not answer, or refuses to store one."""


class ServerStartError(DboptError):
    """A server for tests or the demo could not be started."""


class IndexBuildError(DboptError, OperationalError):
    """An index could not be built."""


class IndexConflictError(IndexBuildError):
    """The name of an index is taken by another definition."""


class GraphError(DboptError):
    """Root of all errors of the graph database.

    Attributes:
        code: the server's code (``Neo.ClientError...``) where there is one.
        alias: the alias of ``DBOPT["NEO4J"]``.
    """

    def __init__(self, message: str, *, code: str | None = None, alias: str | None = None) -> None:
        self.code = code
        self.alias = alias
        super().__init__(message)


class GraphUnavailableError(GraphError):
    """No server answers at the configured address."""


class GraphPoolTimeoutError(GraphError, TimeoutError):
    """No pooled connection became free in time."""


class GraphAuthError(GraphError):
    """The server refused the credentials or the action."""


class GraphIntegrityError(GraphError):
    """A constraint of the graph was violated."""


class GraphQueryError(GraphError):
    """The server refused the query: wrong Cypher, parameter or database."""


class GraphTransientError(GraphError):
    """The query failed for a passing reason, and went on failing when retried."""


class GraphTimeoutError(GraphError, TimeoutError):
    """The query ran longer than its time limit."""


class GraphCommitUnknownError(GraphError):
    """The connection broke during COMMIT: whether the write happened must be looked up."""


class GraphSchemaError(GraphError):
    """A graph index or constraint could not be created."""


class GraphSchemaConflictError(GraphSchemaError):
    """A declared index or constraint contradicts another, or what is in the database."""


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional client, or name the extra that brings it.

    Raises:
        MissingExtraError: the client is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A client that is there but misses something of its own is another fault: show that one.
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise
        raise MissingExtraError(module, extra) from error
