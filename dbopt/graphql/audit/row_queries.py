"""Where the source of a resolver asks the database. Read, not run: what it builds by other means is not seen."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.db.models.manager import BaseManager

from dbopt.graphql.audit.sources import MISSING, Source, reached
from dbopt.graphql.loading.generic_relations import is_generic_foreign_key

if TYPE_CHECKING:
    from django.db.models import Model

_RELATIONS = (ForwardManyToOneDescriptor, ReverseManyToOneDescriptor, ReverseOneToOneDescriptor)
_MANAGERS = frozenset(("objects", "_default_manager", "_base_manager"))
_LOADS = frozenset(("load", "load_many"))
_WRITES = frozenset(("save", "delete"))


@dataclass(frozen=True)
class Asking:
    """A place that asks: `what` as it stands there, `where` as ``path:line``."""

    source: Source
    what: str
    where: str


def queries(source: Source, model: type[Model] | None = None) -> Iterator[Asking]:
    """Find what a function asks itself.

    Args:
        source: the function.
        model: of its first argument, whose relations then count.
    """
    return _queries(source, ast.walk(source.tree), model)


def all_queries(source: Source, model: type[Model] | None = None) -> Iterator[Asking]:
    """Find what a function asks, and what the functions ask that it calls."""
    yield from queries(source, model)
    for called in reached(source.called):
        yield from queries(called)


def queries_in_loops(source: Source, model: type[Model] | None = None) -> Iterator[Asking]:
    """Find what a function asks inside of loops and comprehensions, itself or by what it calls.

    Rows that it saves there count as well, and loads that it waits for.
    """
    repeated = list(_repeated(source.tree))
    yield from _queries(source, repeated, model)
    by_code = {called.function.__code__: called for called in source.called}
    for node in repeated:
        if not isinstance(node, ast.Call):
            continue
        if _waits_for_load(node) or _saves(node):
            yield Asking(source, ast.unparse(node), source.line(node))
        code = getattr(source.value(node.func), "__code__", None)
        called = None if code is None else by_code.get(code)
        if called is not None and next(all_queries(called), None) is not None:
            yield Asking(source, f"{ast.unparse(node.func)}()", source.line(node))


def _queries(source: Source, nodes: Iterable[ast.AST], model: type[Model] | None) -> Iterator[Asking]:
    for node in nodes:
        if _asks(source, node, model):
            yield Asking(source, ast.unparse(node), source.line(node))


def _asks(source: Source, node: ast.AST, model: type[Model] | None) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        shortcut = getattr(source.value(node.func), "__module__", "") == "django.shortcuts"
        return name == "refresh_from_db" or shortcut or (name == "cursor" and _is_connection(node.func))
    if not isinstance(node, ast.Attribute):
        return False
    if isinstance(node.value, ast.Name) and node.value.id == source.first_argument and model is not None:
        attribute = inspect.getattr_static(model, node.attr, None)
        return isinstance(attribute, _RELATIONS) or is_generic_foreign_key(getattr(attribute, "field", attribute))
    found = source.value(node)
    return isinstance(found, BaseManager) or (found is MISSING and node.attr in _MANAGERS)


def _is_connection(node: Any) -> bool:
    base = node.value
    return (
        getattr(base, "id", None) == "connection" or getattr(getattr(base, "value", None), "id", None) == "connections"
    )


def _waits_for_load(node: ast.Call) -> bool:
    method = node.func
    if not (isinstance(method, ast.Attribute) and method.attr == "get" and isinstance(method.value, ast.Call)):
        return False
    return getattr(method.value.func, "attr", None) in _LOADS


def _saves(node: ast.Call) -> bool:
    """``row.save()`` and ``row.delete()``, but not what takes the name of a file or key."""
    return isinstance(node.func, ast.Attribute) and node.func.attr in _WRITES and not node.args


def _repeated(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs more than once, each node once."""
    seen: set[ast.AST] = set()
    for node in ast.walk(tree):
        for part in _bodies(node):
            for inner in ast.walk(part):
                if inner not in seen:
                    seen.add(inner)
                    yield inner


def _bodies(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return [*node.body]
    if isinstance(node, ast.While):
        return [node.test, *node.body]
    if isinstance(node, ast.DictComp):
        return [node.key, node.value, *_conditions(node.generators)]
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
        return [node.elt, *_conditions(node.generators)]
    return []


def _conditions(generators: list[ast.comprehension]) -> list[ast.AST]:
    # The first iterable is read once; those behind it once for each item of those before.
    conditions = [part for generator in generators for part in generator.ifs]
    return [*conditions, *(later.iter for later in generators[1:])]
