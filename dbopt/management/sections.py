"""What `dbopt_check` looks at: one function a section, which takes the scope and returns messages of Django's checks.

A message of level WARNING or above is a finding; its `obj` says what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from django.core.checks import CheckMessage, Tags, run_checks

from dbopt.conf import dbopt_settings


@dataclass(frozen=True)
class Scope:
    """What is looked at.

    Attributes:
        databases: aliases whose servers may be asked; none: nothing connects.
        schema: dotted path of the one GraphQL schema; None: all that are served.
    """

    databases: tuple[str, ...] = ()
    schema: str | None = None


def system_checks(scope: Scope) -> Iterable[CheckMessage]:
    """Run Django's checks that dbopt has registered, those for deployment included."""
    # Without aliases, checks that ask a server do not.
    tags = ["dbopt", Tags.database]
    return run_checks(tags=tags, include_deployment_checks=True, databases=list(scope.databases) or None)


def graphql(scope: Scope) -> Iterable[CheckMessage]:
    """Read the schemas and the source of their resolvers."""
    if find_spec("graphene_django") is None:
        return []
    from dbopt.graphql.audit.findings import audit
    from dbopt.graphql.audit.served import schema_at, served_schemas

    schemas = served_schemas() if scope.schema is None else [schema_at(scope.schema)]
    declared = dbopt_settings.cache.function_writes
    return [found for schema in schemas for found in audit(schema, dbopt_settings.graphql, declared=declared)]


SECTIONS: Mapping[str, Callable[[Scope], Iterable[CheckMessage]]] = {"system": system_checks, "graphql": graphql}
