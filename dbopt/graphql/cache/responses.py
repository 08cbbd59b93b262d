"""Whole responses: kept as the bytes that were sent, for as long and for whom their fields allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphql import ExecutionResult, OperationType

from dbopt.cache.server.servers import server_or_none
from dbopt.conf import dbopt_settings
from dbopt.exceptions import UncacheableArgumentError
from dbopt.graphql.cache.hints import Scope, hints_of
from dbopt.graphql.cache.identities import Identity
from dbopt.graphql.cache.observations import Observation, observed
from dbopt.graphql.cache.operations import Operation, Question, coerced, operation_of
from dbopt.graphql.cache.scoped import ScopedCall
from dbopt.graphql.encoding import encode
from dbopt.tenancy import current_tenant

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from dbopt.cache.functions.calls import Call


@dataclass(frozen=True, slots=True)
class EncodedData:
    """The data of a response as JSON.

    Attributes:
        made: when its computation began, in seconds since 1970.
        max_age: seconds it may be used, from then on; None for one that is not kept.
        is_public: whether it is the same for every client.
    """

    json: bytes
    made: float
    max_age: float | None
    is_public: bool


def respond(
    request: HttpRequest, question: Question, execute: Callable[[], ExecutionResult], *, orjson: bool
) -> ExecutionResult:
    """Return the stored response to a question, or execute it and store the response if it may be kept.

    What is kept has :class:`EncodedData` as its data. Limits and permissions of the view come before this.
    """
    if question.operation.operation is not OperationType.QUERY or not hints_of(question.schema):
        return execute()
    operation, variables = operation_of(question), coerced(question)
    scope = operation.scope(question.schema, variables) if operation is not None and variables is not None else None
    if operation is None or variables is None or scope is None or server_or_none() is None:
        return execute()
    try:
        key = operation.question(variables)
    except UncacheableArgumentError:
        return execute()
    call = ResponseCall(operation, execute, question=question, key=key, scope=scope, request=request, orjson=orjson)
    return call.result()


class ResponseCall(ScopedCall):
    """One question on its way to its response."""

    def __init__(  # noqa: PLR0913  # all that is known of a question, by keyword
        self,
        operation: Operation,
        execute: Callable[[], ExecutionResult],
        *,
        question: Question,
        key: str,
        scope: Scope,
        request: HttpRequest,
        orjson: bool,
    ) -> None:
        super().__init__(operation.spec, self._produce, question=key, identity=Identity(scope, request))
        self._execute = execute
        self._orjson = orjson
        self._observation = Observation(hints_of(question.schema), context=request)
        self._refusal: str | None = None
        self._made = time.time()

    def result(self) -> ExecutionResult:
        """Return the response."""
        found = self.value()
        if isinstance(found, ExecutionResult):
            return found
        data, made, max_age = found
        has_tenants = dbopt_settings.tenancy.resolver is not None or current_tenant() is not None
        is_public = self.identity.is_anybody(self.watch) and not has_tenants
        encoded: Any = EncodedData(data, made, max_age if self.is_kept else None, is_public)
        return ExecutionResult(data=encoded)

    def refusal(self) -> str | None:
        """Return why the response must not be stored."""
        return self._refusal

    def _produce(self) -> Any:
        with observed(self._observation):
            result = self._execute()
        self.watch = self._observation.watch
        is_whole = type(result) is ExecutionResult and not result.errors and result.data is not None
        self._refusal = self._observation.refusal if is_whole else "errors"
        if self._refusal is None and result.extensions:
            self._refusal = "extensions"
        if self._refusal is None:
            try:
                return [encode(result.data, fast=self._orjson), self._made, self._observation.max_age]
            except TypeError:
                # The view says so, when it comes to the same.
                self._refusal = "json"
        return result

    def _end(self, call: Call, result: Any, *, accept: bool, started: float, absent: str | None = None) -> None:
        if call.fill is not None and self._refusal is None:
            call.fill.timeout = self._observation.max_age
        super()._end(call, result, accept=accept, started=started, absent=absent)


def spliced(response: dict[str, Any], *, fast: bool) -> bytes:
    """Return a response whose data is encoded as JSON."""
    data: EncodedData = response["data"]
    others = encode({name: value for name, value in response.items() if name != "data"}, fast=fast)
    return b'{"data":' + data.json + (b"}" if others == b"{}" else b"," + others[1:])


def decoded(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response whose data is encoded as it was before."""
    return {**response, "data": json.loads(response["data"].json)}


def announce_age(response: HttpResponse, data: EncodedData) -> None:
    """Tell clients for how long they may keep a response, unless somebody has told them already."""
    if data.max_age is not None and not response.has_header("Cache-Control"):
        age = max(0, int(time.time() - data.made))
        response["Cache-Control"] = f"{'public' if data.is_public else 'private'}, max-age={int(data.max_age)}"
        response["Age"] = str(age)
