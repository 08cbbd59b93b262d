"""What can be read of a resolver without running it: the project's functions behind it, and the functions they call.

Names are looked up where the function would look them up, as far as no local variable stands in between.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from dbopt.monitoring.origins import project_path

MISSING: Any = object()
"""What a name stands for that cannot be told."""

_DEPTH = 3
_ALLOWED = re.compile(r"#\s*dbopt:\s*allow\s+(W\d+)\b[\s:,-]*(\S.*)?")

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, eq=False)
class Source:
    """A function of the project's own.

    Attributes:
        owner: the class whose method it is, where that is known: what ``cls`` stands for.
        where: ``path:line``, the path below its import root.
        text: its lines, and the one above.
    """

    function: FunctionType
    owner: type | None
    tree: Function
    where: str
    text: str
    called: list[Source] = field(default_factory=list)

    @property
    def first_argument(self) -> str | None:
        """The name of the first argument: of a resolver, the parent."""
        arguments = [*self.tree.args.posonlyargs, *self.tree.args.args]
        return arguments[0].arg if arguments else None

    def line(self, node: ast.AST) -> str:
        """Return ``path:line`` of a node."""
        return f"{self.where.rpartition(':')[0]}:{getattr(node, 'lineno', 0)}"

    def allows(self, code: str) -> bool:
        """Say whether a comment ``# dbopt: allow W504 reason`` speaks of a finding; without a reason it does not count."""
        return any(found == code and reason for found, reason in _ALLOWED.findall(self.text))

    def value(self, node: ast.AST) -> Any:
        """Return what a name, or an attribute of a module or class, stands for; MISSING where that cannot be told."""
        if isinstance(node, ast.Attribute):
            base = self.value(node.value)
            if not isinstance(base, (ModuleType, type)):
                return MISSING
            try:
                return getattr(base, node.attr, MISSING)
            except Exception:  # noqa: BLE001  # a descriptor of the project's: it only tells nothing
                return MISSING
        return self._named(node.id) if isinstance(node, ast.Name) else MISSING

    def _named(self, name: str) -> Any:
        code = self.function.__code__
        if name == self.first_argument and self.owner is not None:
            return self.owner
        if name in code.co_varnames or name in code.co_cellvars:
            return MISSING
        if name in code.co_freevars:
            return _content((self.function.__closure__ or ())[code.co_freevars.index(name)])
        return self.function.__globals__.get(name, getattr(builtins, name, MISSING))


def sources_behind(resolver: Any) -> list[Source]:
    """Return the project's own functions that a resolver consists of, and below each those that it calls."""
    return list(_sources(resolver, set(), _DEPTH))


def reached(sources: Iterable[Source]) -> Iterator[Source]:
    """Walk sources and what they call."""
    for source in sources:
        yield source
        yield from reached(source.called)


def _sources(resolver: Any, seen: set[Any], depth: int) -> Iterator[Source]:
    for function, owner in _functions(resolver, set()):
        if function.__code__ in seen:
            continue
        seen.add(function.__code__)
        source = _read(function, owner)
        if source is None:
            continue
        if depth:
            for node in ast.walk(source.tree):
                target = source.value(node.func) if isinstance(node, ast.Call) else None
                if isinstance(target, (FunctionType, MethodType, partial)):
                    source.called.extend(_sources(target, seen, depth - 1))
        yield source


def _functions(thing: Any, seen: set[int]) -> Iterator[tuple[FunctionType, type | None]]:
    """Take a resolver apart: partials, decorators, bound methods, objects that are called and hold functions."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, FunctionType):
        yield thing, None
    elif isinstance(thing, MethodType):
        yield from _methods(thing)
    for part in _parts(thing):
        if isinstance(part, (FunctionType, MethodType, partial)):
            yield from _functions(part, seen)


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, FunctionType):
        return [getattr(thing, "__wrapped__", None), *map(_content, thing.__closure__ or ())]
    if isinstance(thing, (MethodType, type)):
        return []
    return [*vars(thing).values()] if hasattr(thing, "__dict__") else []


def _methods(method: MethodType) -> Iterator[tuple[FunctionType, type | None]]:
    owner = method.__self__ if isinstance(method.__self__, type) else type(method.__self__)
    if isinstance(method.__func__, FunctionType):
        yield method.__func__, owner
    if isinstance(method.__self__, type):
        # A mutation's class: graphene's `mutate` calls the others by name.
        for base in owner.__mro__:
            for value in vars(base).values():
                function = getattr(value, "__func__", value)
                if isinstance(function, FunctionType):
                    yield function, owner


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _read(function: FunctionType, owner: type | None) -> Source | None:
    code = function.__code__
    path = project_path(code.co_filename)
    module = None if path is None else _module(code.co_filename)
    if module is None:
        return None
    tree, lines = module
    for node in ast.walk(tree):
        if isinstance(node, Function) and _is_tree_of(node, function):
            first = code.co_firstlineno
            text = "\n".join(lines[max(first - 2, 0) : node.end_lineno])
            return Source(function, owner, node, f"{path}:{first}", text)
    return None


def _is_tree_of(node: Function, function: FunctionType) -> bool:
    code = function.__code__
    if isinstance(node, ast.Lambda):
        names = tuple(argument.arg for argument in (*node.args.posonlyargs, *node.args.args))
        # Of two alike on one line the first has to do.
        is_alike = code.co_name == "<lambda>" and names == code.co_varnames[: len(names)]
        return is_alike and node.lineno == code.co_firstlineno
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return node.name == code.co_name and first == code.co_firstlineno


@lru_cache(maxsize=256)
def _module(filename: str) -> tuple[ast.Module, list[str]] | None:
    try:
        text = Path(filename).read_text(encoding="utf-8")
        return ast.parse(text), text.splitlines()
    except (OSError, SyntaxError, ValueError):
        return None
