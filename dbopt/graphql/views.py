"""The view: graphene-django's, with dbopt's executor, limits, document cache and error codes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import graphene_django.views
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseNotAllowed, UnreadablePostError
from graphene_django.constants import MUTATION_ERRORS_FLAG
from graphene_django.settings import graphene_settings
from graphene_django.views import HttpError
from graphql import (
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    validate_schema,
)

from dbopt.conf import dbopt_settings
from dbopt.graphql.cache import responses
from dbopt.graphql.cache.observations import observing
from dbopt.graphql.cache.operations import Question
from dbopt.graphql.encoding import encode
from dbopt.graphql.errors import error_code, with_code, without_suggestions
from dbopt.graphql.execution.core_versions import execute_document
from dbopt.graphql.execution.deadlines import TimedExecutionContext, time_limit
from dbopt.graphql.execution.promises import drop_leftovers
from dbopt.graphql.execution.registry import clear_registry
from dbopt.graphql.reports import reported
from dbopt.graphql.safety import limits, persisted
from dbopt.graphql.safety.documents import PreparedDocument, documents_of, rules_of

if TYPE_CHECKING:
    from django.http import HttpRequest

    from dbopt.conf import GraphQLSettings

_STATISTICS_HEADER = "Dbopt-Statistics"
_UPLOAD = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One operation of a request; persist_as is the id under which its text shall be kept."""

    text: str
    variables: Any
    operation_name: str | None
    persist_as: str | None


class GraphQLView(graphene_django.views.GraphQLView):
    """Answers GraphQL over HTTP, as graphene-django's view does, without N+1 and within limits.

    Promise loaders work in it. Errors of dbopt carry ``extensions.code``.
    ``validation_rules`` are applied after those of the specification, not instead of them.
    """

    # Of the operation that is being answered; a view lives as long as its request.
    _wants_text = False
    _report: dict[str, Any] | None = None
    _stored: responses.EncodedData | None = None

    execution_context_class = TimedExecutionContext

    def get_options(self, request: HttpRequest) -> GraphQLSettings:
        """Return the limits and switches of a request: ``DBOPT["GRAPHQL"]``. For views that want their own."""
        return dbopt_settings.graphql

    def persisting_client(self, request: HttpRequest) -> str | None:
        """Return whose quota a document is added to with ``PERSISTED = "automatic"``; None: this client may add none.

        By default the signed-in user: strangers must not fill the store.
        """
        user = getattr(request, "user", None)
        return f"user {user.pk}" if user is not None and user.is_authenticated else None

    def limited_time(self, request: HttpRequest) -> AbstractContextManager[Any]:
        """Return a block that limits the time of an operation: to the time limit of its options."""
        return time_limit(self.get_options(request).time_limit)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer a request. Callbacks that an earlier user of this thread left behind are dropped first."""
        drop_leftovers()
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        if self._stored is not None and request.method == "GET":
            responses.announce_age(response, self._stored)
        return response

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the operation, or the list of operations, of a request."""
        options = self.get_options(request)
        try:
            if options.max_body_bytes is not None and self.get_content_type(request) != _UPLOAD:
                _check_body(_announced_length(request), options)
                _check_body(len(request.body), options)
            data = super().parse_body(request)
        except UnreadablePostError as error:
            raise HttpError(HttpResponseBadRequest("The body could not be read.")) from error
        except UnicodeDecodeError as error:
            raise HttpError(HttpResponseBadRequest("The body is not UTF-8.")) from error
        except RecursionError as error:
            raise HttpError(HttpResponseBadRequest("POST body sent JSON that is nested too deeply.")) from error
        if self.batch:
            _check_batch(data, options)
        return data

    def get_response(self, request: HttpRequest, data: Any, show_graphiql: bool = False) -> tuple[Any, int]:
        """Return the body and the status of one operation."""
        self._wants_text, self._report = False, None
        body, status = super().get_response(request, data, show_graphiql)
        # Apollo's clients give persisted documents up for good when this answer has status 400.
        return body, 200 if self._wants_text else status

    def execute_graphql_request(  # noqa: PLR0913, PLR0917  # upstream's arguments
        self,
        request: HttpRequest,
        data: Any,
        query: Any,
        variables: Any,
        operation_name: str | None,
        show_graphiql: bool = False,
    ) -> ExecutionResult | None:
        """Execute one operation; the request's loaders are closed at its end, whatever happens."""
        try:
            asked = self._asked(request, data, query, variables, operation_name)
            if asked is not None:
                return self._answer(request, asked, show_graphiql=show_graphiql)
        except GraphQLError as error:
            self._wants_text = (error.extensions or {}).get("code") in persisted.WANTS_TEXT
            # Its frames lead to that of the caller, which holds the result: a cycle that keeps the request.
            error.__context__ = None
            return ExecutionResult(data=None, errors=[error.with_traceback(None)])
        finally:
            clear_registry(request)
        if show_graphiql:
            return None
        raise HttpError(HttpResponseBadRequest("Must provide query string."))

    def _asked(
        self, request: HttpRequest, data: Any, query: Any, variables: Any, operation_name: str | None
    ) -> _Asked | None:
        if query and not isinstance(query, str):
            raise HttpError(HttpResponseBadRequest("The query must be a string."))
        limits.check_values(variables, self.get_options(request).max_values)
        document_id = persisted.requested_id(request.GET) or persisted.requested_id(data)
        text = persisted.text_of(query, document_id, self.get_options(request))
        return _Asked(text, variables, operation_name, document_id if query else None) if text else None

    def _answer(self, request: HttpRequest, asked: _Asked, *, show_graphiql: bool) -> ExecutionResult | None:
        schema = self.schema.graphql_schema
        if schema_errors := validate_schema(schema):
            return ExecutionResult(data=None, errors=schema_errors)
        options = self.get_options(request)
        prepared = documents_of(schema).prepare(
            schema,
            asked.text,
            options,
            rules=rules_of(self.validation_rules),
            max_errors=graphene_settings.MAX_VALIDATION_ERRORS,
        )
        operation = get_operation_ast(prepared.document, asked.operation_name)
        if request.method == "GET" and operation is not None and operation.operation is not OperationType.QUERY:
            if show_graphiql:
                return None
            raise _only_by_post(operation)
        if prepared.errors:
            return ExecutionResult(data=None, errors=prepared.errors)
        if asked.persist_as is not None and options.persisted == persisted.AUTOMATIC:
            documents = persisted.stored_documents(dbopt_settings.cache.alias)
            documents.add(asked.persist_as, asked.text, client=lambda: self.persisting_client(request), options=options)
        if operation is not None and options.max_cost is not None:
            cost = prepared.cost(schema, operation, asked.variables, options)
            limits.check(cost, options.max_cost, code="COST_LIMIT", what="points of cost")
        if not (options.statistics and _may_see_statistics(request)):
            return self._respond(request, asked, prepared, operation)
        with reported() as report:
            result = self._respond(request, asked, prepared, operation)
        self._report = report.summary()
        if operation is not None:
            self._report["cost"] = prepared.cost(schema, operation, asked.variables, options)
        return result

    def _respond(
        self,
        request: HttpRequest,
        asked: _Asked,
        prepared: PreparedDocument,
        operation: OperationDefinitionNode | None,
    ) -> ExecutionResult:
        execute = partial(self._execute, request, asked, prepared, operation)
        options = self.get_options(request)
        if operation is None or not options.response_cache:
            return execute()
        question = Question(
            view=f"{type(self).__module__}.{type(self).__qualname__}",
            schema=self.schema.graphql_schema,
            text=asked.text,
            document=prepared.document,
            operation=operation,
            variables=asked.variables,
        )
        result = responses.respond(request, question, execute, orjson=options.orjson)
        self._stored = result.data if isinstance(result.data, responses.EncodedData) else None
        return result

    def _execute(
        self,
        request: HttpRequest,
        asked: _Asked,
        prepared: PreparedDocument,
        operation: OperationDefinitionNode | None,
    ) -> ExecutionResult:
        is_atomic = operation is not None and operation.operation is OperationType.MUTATION and _has_atomic_mutations()
        block: AbstractContextManager[Any] = transaction.atomic() if is_atomic else nullcontext()
        try:
            with self.limited_time(request), block:
                result = execute_document(
                    self.schema.graphql_schema,
                    prepared.document,
                    context_class=observing(self.execution_context_class),
                    variables=asked.variables,
                    hides_suggestions=not self.get_options(request).shows_suggestions,
                    root_value=self.get_root_value(request),
                    context_value=self.get_context(request),
                    operation_name=asked.operation_name,
                    middleware=self.get_middleware(request),
                )
                # Upstream keeps what a failing mutation wrote; one that was stopped half-way is no one's intention.
                if is_atomic and (getattr(request, MUTATION_ERRORS_FLAG, False) is True or _has_timed_out(result)):
                    transaction.set_rollback(True)
        except Exception as error:  # noqa: BLE001  # upstream's rule: any error becomes a response
            return ExecutionResult(errors=[error])  # type: ignore[list-item]  # format_error takes any
        return result

    def json_encode(self, request: HttpRequest, d: Any, pretty: bool = False) -> Any:
        """Return a response as JSON: bytes, or for the parts of a batch, which upstream joins, a string."""
        if self._report is not None:
            d = {**d, "extensions": {"dbopt": self._report}}
        is_encoded, fast = isinstance(d.get("data"), responses.EncodedData), self.get_options(request).orjson
        if self.pretty or pretty or request.GET.get("pretty"):
            return super().json_encode(request, responses.decoded(d) if is_encoded else d, pretty)
        encoded = responses.spliced(d, fast=fast) if is_encoded else encode(d, fast=fast)
        return encoded.decode() if self.batch else encoded

    @staticmethod
    def format_error(error: Exception) -> dict[str, Any]:
        """Return an error as the response shows it."""
        if isinstance(error, HttpError) and isinstance(error.__cause__, GraphQLError):
            error = error.__cause__
        if isinstance(error, GraphQLError):
            formatted = dict(with_code(error).formatted)
            if error.path is None and not dbopt_settings.graphql.shows_suggestions:
                formatted["message"] = without_suggestions(error.message)
            return formatted
        code = error_code(error)
        return {"message": str(error)} if code is None else {"message": str(error), "extensions": {"code": code}}


def _may_see_statistics(request: HttpRequest) -> bool:
    if settings.DEBUG:
        return True
    # The user is looked at only where this is asked for: loading one costs statements, and makes the response vary.
    if _STATISTICS_HEADER not in request.headers:
        return False
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)


def _has_timed_out(result: Any) -> bool:
    return any(error_code(error.original_error) == "TIMEOUT" for error in result.errors or ())


def _has_atomic_mutations() -> bool:
    return graphene_settings.ATOMIC_MUTATIONS is True or connection.settings_dict.get("ATOMIC_MUTATIONS", False) is True


def _only_by_post(operation: OperationDefinitionNode) -> HttpError:
    kind = operation.operation.value
    return HttpError(HttpResponseNotAllowed(["POST"], f"Can only perform a {kind} operation from a POST request."))


def _announced_length(request: HttpRequest) -> int:
    text = request.headers.get("content-length") or ""
    return int(text) if text.isdecimal() else 0


def _check_body(length: int, options: GraphQLSettings) -> None:
    try:
        limits.check(length, options.max_body_bytes, code="SIZE_LIMIT", what="bytes in the body")
    except limits.LimitExceededError as error:
        raise HttpError(HttpResponse(status=413), str(error)) from error


def _check_batch(entries: list[Any], options: GraphQLSettings) -> None:
    try:
        limits.check(len(entries), options.max_batch, code="BATCH_LIMIT", what="operations in the batch")
    except limits.LimitExceededError as error:
        raise HttpError(HttpResponseBadRequest(), str(error)) from error
    if not all(isinstance(entry, dict) for entry in entries):
        raise HttpError(HttpResponseBadRequest("Each entry of a batch must be an object."))
