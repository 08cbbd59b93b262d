"""A question to a schema, and what its trace finds: statements that it repeats."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import Warning as Finding
from django.core.exceptions import ObjectDoesNotExist
from django.http import HttpRequest
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationType,
    get_operation_ast,
    parse,
    validate,
)

from dbopt.graphql.audit.traces import TracedStatement, trace
from dbopt.graphql.errors import error_code
from dbopt.tenancy import tenant_context

if TYPE_CHECKING:
    from dbopt.conf import GraphQLSettings

_TEXT = 160


@dataclass(frozen=True)
class Question:
    """A document and who asks.

    Attributes:
        name: of the document, for messages.
        databases: aliases whose transactions are rolled back.
        may_write: run mutations too.
    """

    name: str
    text: str
    variables: Mapping[str, Any]
    operation: str | None
    user: str | None
    tenant: str | None
    databases: tuple[str, ...]
    may_write: bool


def findings_of(schema: GraphQLSchema, question: Question, *, often: int, settings: GraphQLSettings) -> list[Finding]:
    """Run a question and return a finding for each statement that it repeats, and one if its answer has errors.

    Args:
        schema: whose question it is.
        question: the document and who asks.
        often: a statement is repeated from here on.
        settings: fields about which nothing shall be said.

    Raises:
        ValueError: it cannot be run: no valid document, no such operation or user, a mutation where none may be.
    """
    document = _document(schema, question)
    with nullcontext() if question.tenant is None else tenant_context(question.tenant):
        found, result = trace(
            schema,
            document,
            context=_request(question),
            variables=question.variables,
            databases=question.databases,
            operation_name=question.operation,
        )
    repeated = [row for row in found.repeated(often) if not row.askers or row.askers.keys() - settings.check_exceptions]
    return [*_failed(question, result), *(_repeated(question, row) for row in repeated)]


def _document(schema: GraphQLSchema, question: Question) -> DocumentNode:
    try:
        document = parse(question.text)
    except GraphQLError as error:
        raise ValueError(f"no GraphQL document: {error.message}") from error
    errors = validate(schema, document)
    if errors:
        raise ValueError("; ".join(error.message for error in errors))
    operation = get_operation_ast(document, question.operation)
    if operation is None:
        raise ValueError("name one of its operations with --operation.")
    if operation.operation is not OperationType.QUERY and not question.may_write:
        raise ValueError(
            f"a {operation.operation.value} is only run with --allow-mutations: "
            "rows are rolled back, mails, files and other stores are not."
        )
    return document


def _request(question: Question) -> HttpRequest:
    request = HttpRequest()
    request.method = "POST"
    request.META = {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1"}
    if apps.is_installed("django.contrib.auth"):
        request.user = _user(question.user)
    elif question.user is not None:
        raise ValueError("there are no users: django.contrib.auth is not installed.")
    return request


def _user(name: str | None) -> Any:
    # Here, because a project without users cannot import it.
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import AnonymousUser

    if name is None:
        return AnonymousUser()
    try:
        return get_user_model()._default_manager.get_by_natural_key(name)  # noqa: SLF001  # public by documentation
    except ObjectDoesNotExist as error:
        raise ValueError(f"there is no user {name!r}.") from error


def _failed(question: Question, result: ExecutionResult) -> list[Finding]:
    if not result.errors:
        return []
    # Where and of which kind, not what it says: messages of databases show rows.
    first = result.errors[0]
    place = ".".join(map(str, first.path or ())) or "the operation"
    cause = first.original_error
    kind = error_code(cause) or (type(cause).__name__ if cause is not None else first.message)
    return [
        Finding(
            f"{question.name}: {len(result.errors)} errors in the answer, the first at {place} ({kind}).",
            hint="What lies behind an error was not run. Ask as a user (--user, --tenant) who may see it.",
            obj=question.name,
            id="dbopt.W507",
        )
    ]


def _repeated(question: Question, row: TracedStatement) -> Finding:
    askers = ", ".join(sorted(row.askers, key=lambda name: -row.askers[name])) or "the operation"
    callers = ", ".join(sorted(row.callers, key=lambda name: -row.callers[name])[:3])
    text = row.text if len(row.text) <= _TEXT else f"{row.text[:_TEXT]}..."
    return Finding(
        f"{question.name}: {askers} asked {row.count} times{f' ({callers})' if callers else ''}: {text}",
        hint="Put a loader behind the field, or resolve all parents at once with @batch.",
        obj=askers,
        id="dbopt.W506",
    )
