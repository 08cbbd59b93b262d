"""`cached_field`: resolvers whose results are kept until what they read is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import QuerySet
from graphene_django import DjangoListField
from graphql import GraphQLResolveInfo, get_named_type, print_ast

from dbopt.cache.functions.decorator import evaluated
from dbopt.cache.functions.specs import Options
from dbopt.cache.names.keys import digest, encode_argument
from dbopt.exceptions import ConfigurationError, UncacheableArgumentError
from dbopt.graphql.cache.hints import Scope, checked_scope, declared_fields
from dbopt.graphql.cache.identities import Identity
from dbopt.graphql.cache.scoped import ScopedCall, ScopedSpec
from dbopt.graphql.cache.telling import OTHER, plain
from dbopt.graphql.cache.watching import Watch, watching
from dbopt.graphql.execution.batches import LazyInfo
from dbopt.graphql.execution.core_versions import plain_variables

if TYPE_CHECKING:
    from graphql.pyutils import Path

F = TypeVar("F", bound=Callable[..., Any])

_SELECTION, _PATH, _ROOT = (f"{OTHER}{name}" for name in ("selection", "path", "root"))


def cached_field(
    timeout: float | str | None = None, *, scope: str = "USER", tags: Iterable[str] = (), version: int = 1
) -> Callable[[F], F]:
    """Keep what a resolver returns until what it read is written, at most for ``timeout``.

    Results of equal parents (all their loaded columns), arguments and language are shared within the scope and the
    tenant; the selection set counts where the resolver looks at it. What the resolver reads by SQL is observed. A
    returned QuerySet is evaluated. Promises and coroutines are not kept: for many parents at once there is the second
    level of loaders.

    Args:
        timeout: seconds, or the name of an entry in ``DBOPT["CACHE"]["TIMEOUTS"]``; None means ``TIMEOUT``.
        scope: as for :func:`~dbopt.graphql.cache_control`.
        tags: names for ``dbopt.cache.invalidate("name")``; needed by a resolver that runs no SQL.
        version: raise it when the meaning of the result changes.

    Raises:
        ConfigurationError: at decoration, or at the first call for a name that TIMEOUTS does not have.
        MissingExtraError: at a call, where the redis client is not installed.
    """
    shared_by = checked_scope(scope, where="cached_field")

    def decorate(resolver: F) -> F:
        spec = _spec(resolver, timeout=timeout, tags=tags, version=version)

        @wraps(resolver)
        def resolve(parent: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
            try:
                question = _question(spec, parent, info, arguments)
            except UncacheableArgumentError:
                return resolver(parent, info, **arguments)
            call = FieldCall(
                spec, lambda seen: resolver(parent, seen, **arguments), question=question, scope=shared_by, info=info
            )
            return call.value()

        resolve.spec = spec  # type: ignore[attr-defined]
        return resolve  # type: ignore[return-value]  # the signature of every resolver

    return decorate


def _spec(resolver: Any, *, timeout: float | str | None, tags: Iterable[str], version: int) -> ScopedSpec:
    if hasattr(resolver, "batch_resolve"):
        raise ConfigurationError(
            f"cached_field cannot decorate {resolver.__qualname__}, which is a @batch resolver: "
            "it would ask for each parent alone. Load through a loader with a second_level."
        )

    def named(question: str, whose: str) -> None:
        """Stand for the resolver: its parameters are what keys are made of."""

    named.__module__, named.__qualname__ = resolver.__module__, resolver.__qualname__
    options = Options(
        decorator="cached_field",
        timeout=timeout,
        tags=tags,
        version=version,
    )
    return ScopedSpec(named, options)


def _question(spec: ScopedSpec, parent: Any, info: GraphQLResolveInfo, arguments: Mapping[str, Any]) -> str:
    field = f"{info.parent_type.name}.{info.field_name}"
    return digest(encode_argument(field, [field, plain(parent), dict(arguments)], function=spec.path))


class FieldCall(ScopedCall):
    """A resolver's result for one parent."""

    def __init__(
        self, spec: ScopedSpec, resolve: Callable[[Any], Any], *, question: str, scope: Scope, info: GraphQLResolveInfo
    ) -> None:
        identity = Identity(
            scope, info.context, tell_other=lambda name: _told(_FACTS[name], info) if name in _FACTS else None
        )
        super().__init__(spec, self._produce, question=question, identity=identity)
        self._resolve = resolve
        self._info = info

    def _produce(self) -> Any:
        with watching(self._info.context) as self.watch:
            seen = SeenInfo.of(self._info, self.watch)
            found = self._resolve(seen)
            field = declared_fields(self._info.parent_type).get(self._info.field_name)
            if isinstance(field, DjangoListField) and isinstance(found, QuerySet):
                # It would not ask for permission for a list.
                node_type: Any = get_named_type(self._info.return_type)
                found = node_type.graphene_type.get_queryset(found, seen)
            # Here, where it is watched.
            return evaluated(found)


_FACTS: Mapping[str, Callable[[Any], Any]] = {
    _SELECTION: lambda info: [
        [print_ast(node) for node in (info.operation, *info.field_nodes, *info.fragments.values())],
        plain_variables(info.variable_values),
    ],
    _PATH: lambda info: info.path.as_list(),
    _ROOT: lambda info: plain(info.root_value),
}


def _told(facts: Callable[[Any], Any], info: Any) -> bytes | None:
    try:
        return encode_argument("info", facts(info), function="cached_field")
    except UncacheableArgumentError:
        return None


class SeenInfo(LazyInfo):
    """An info that notes which parts of the operation a resolver looks at."""

    inner: GraphQLResolveInfo
    watch: Watch

    @classmethod
    def of(cls, info: GraphQLResolveInfo, watch: Watch) -> SeenInfo:
        """Return the info to give to a resolver."""
        seen: SeenInfo = tuple.__new__(cls, tuple.__iter__(info))
        seen.inner, seen.watch = info, watch
        return seen

    def _read(self, name: str, fact: str) -> Any:
        if fact not in self.watch.told:
            # From the inner one, which may be watched, too.
            self.watch.told[fact] = _told(_FACTS[fact], self.inner)
        return getattr(self.inner, name)

    def __iter__(self) -> Any:
        return iter([getattr(self, name) for name in self._fields])

    def __getitem__(self, position: Any) -> Any:
        return [getattr(self, name) for name in self._fields][position]

    @property
    def path(self) -> Path:
        """Where the field is in the response."""
        path: Path = self._read("path", _PATH)
        return path

    root_value = property(lambda self: self._read("root_value", _ROOT))
    operation = property(lambda self: self._read("operation", _SELECTION))
    field_nodes = property(lambda self: self._read("field_nodes", _SELECTION))
    fragments = property(lambda self: self._read("fragments", _SELECTION))
    variable_values = property(lambda self: self._read("variable_values", _SELECTION))
