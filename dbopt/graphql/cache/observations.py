"""What a running operation shows of itself: the fields it resolves, and what those look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from dbopt.cache.names.tokens import own_tag
from dbopt.cache.observation.recordings import depend_all
from dbopt.graphql.cache.watching import Watch, watching
from dbopt.graphql.execution.executor import DboptExecutionContext
from dbopt.graphql.execution.runs import Run
from dbopt.signals import cypher_executed

if TYPE_CHECKING:
    from graphql import ExecutionContext, FieldNode, GraphQLObjectType

    from dbopt.graphql.cache.hints import SchemaHints
    from dbopt.graphql.execution.batches import Batch
    from dbopt.graphql.execution.plans import FieldPlan


class Observation:
    """What one execution showed. Belongs to it.

    Attributes:
        max_age: the shortest of the fields that were resolved, in seconds.
        watch: what was looked at on the context.
    """

    def __init__(self, hints: SchemaHints, *, context: Any) -> None:
        self.max_age = math.inf
        self.watch = Watch()
        self._hints = hints
        self._context = context
        self._resolved: set[int] = set()
        self._has_begun = False
        self._has_tags = False
        self._asked_graph = False
        self._refusal: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why the response must not be stored, as far as the execution showed; None: it may be."""
        if not self._has_begun:
            return "executor"
        if self._asked_graph and not self._has_tags:
            return "no_tags"
        return self._refusal if self.max_age > 0 else "max_age"

    @contextmanager
    def running(self, context: Any, root_value: Any) -> Iterator[None]:
        """Watch an execution."""
        self._has_begun = True
        if context is not self._context or root_value is not None:
            # What the view made of the request nobody knows.
            self._refusal = "context"
        with watching(context) as self.watch:
            yield

    def resolving(self, field: FieldPlan) -> None:
        """Note that a field is about to be resolved."""
        if id(field.definition) in self._resolved:
            return
        self._resolved.add(id(field.definition))
        hint = self._hints.hint(field.definition)
        if hint is not None:
            self.max_age = min(self.max_age, hint.seconds)
            if hint.tags:
                self._has_tags = True
                depend_all([own_tag(tag) for tag in hint.tags])
        elif not self._hints.inherits(field.definition):
            self._refusal = "no_hint"

    def asked_graph(self) -> None:
        """Note that Neo4j was read, whose writes nobody observes."""
        self._asked_graph = True


_observation: ContextVar[Observation | None] = ContextVar("dbopt_graphql_observation", default=None)


@contextmanager
def observed(observation: Observation) -> Iterator[None]:
    """Have what is executed inside observed."""
    cypher_executed.connect(_heard_cypher, dispatch_uid="dbopt.graphql.cache")
    token = _observation.set(observation)
    try:
        yield
    finally:
        _observation.reset(token)


def _heard_cypher(**_: Any) -> None:
    observation = _observation.get()
    if observation is not None:
        observation.asked_graph()


def observing(context_class: type[ExecutionContext]) -> type[ExecutionContext]:
    """Return the execution context class to use: while nobody observes, or where it is not dbopt's, the same."""
    is_ours = _observation.get() is not None and issubclass(context_class, DboptExecutionContext)
    return _observing(context_class) if is_ours else context_class  # type: ignore[arg-type]  # classes can be hashed


@cache
def _observing(context_class: type[DboptExecutionContext]) -> type[ExecutionContext]:
    run_class = type("ObservedRun", (_ObservedRun, context_class.run_class), {})
    return type(context_class.__name__, (context_class,), {"run_class": run_class})


class _ObservedRun(Run):
    def __init__(self, context: ExecutionContext) -> None:
        super().__init__(context)
        self._observation = _observation.get()

    def execute(
        self, root_type: GraphQLObjectType, fields: dict[str, list[FieldNode]], *, root_value: Any, serially: bool
    ) -> dict[str, Any]:
        """Execute the operation, watched."""
        if self._observation is None:
            return super().execute(root_type, fields, root_value=root_value, serially=serially)
        with self._observation.running(self.context.context_value, root_value):
            return super().execute(root_type, fields, root_value=root_value, serially=serially)

    def _run_field(self, batch: Batch, field: FieldPlan, sources: Sequence[Any], rows: Sequence[int] | None) -> None:
        if self._observation is not None:
            self._observation.resolving(field)
        super()._run_field(batch, field, sources, rows)
