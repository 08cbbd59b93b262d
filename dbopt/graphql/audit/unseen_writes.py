"""Writes that no observer sees, as far as the source of a mutation shows them.

Seen is what passes Django's cursors, COPY included. A program may reach a database in ways that no text shows.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType

from dbopt.graphql.audit.row_queries import Asking
from dbopt.graphql.audit.sources import MISSING, Source
from dbopt.statements import read_statement

CLIENTS = frozenset(
    ("aiopg", "asyncpg", "elasticsearch", "MySQLdb", "neo4j", "psycopg", "psycopg2", "psycopg_pool", "pymongo",
     "pymysql", "sqlalchemy", "sqlite3")
)  # fmt: skip
"""Packages that write to databases by ways of their own."""

_PROCEDURES = frozenset(("call", "do"))


def unseen_writes(sources: Iterable[Source], *, declared: Collection[str]) -> list[Asking]:
    """Return what functions do that may write unseen; nothing where one of them tells the cache.

    Args:
        sources: a mutation's functions.
        declared: functions of the database whose writes the settings declare.
    """
    known = list(sources)
    if any(_tells_the_cache(source) for source in known):
        return []
    return [found for source in known for found in _unseen(source, declared)]


def _tells_the_cache(source: Source) -> bool:
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return any(_module_of(source.value(call.func)).startswith("dbopt.cache") for call in calls)


def _unseen(source: Source, declared: Collection[str]) -> Iterator[Asking]:
    for node in ast.walk(source.tree):
        what = _what(source, node, declared)
        if what is not None:
            yield Asking(source, what, source.line(node))


def _what(source: Source, node: ast.AST, declared: Collection[str]) -> str | None:
    if isinstance(node, ast.Attribute) and _is_driver(node):
        return f"{ast.unparse(node)}, the driver itself"
    if isinstance(node, ast.Call):
        return _what_of_call(source, node, declared)
    if isinstance(node, (ast.Name, ast.Attribute)):
        package = _module_of(source.value(node)).split(".")[0]
        return f"{ast.unparse(node)} of {package}" if package in CLIENTS else None
    return None


def _is_driver(node: ast.Attribute) -> bool:
    """``connection.connection`` and ``cursor.cursor`` are what Django has wrapped."""
    base = node.value
    name = base.id if isinstance(base, ast.Name) else getattr(base, "attr", None)
    if isinstance(base, ast.Subscript):
        name = "connection" if getattr(base.value, "id", None) == "connections" else None
    return node.attr in ("connection", "cursor") and name == node.attr


def _what_of_call(source: Source, node: ast.Call, declared: Collection[str]) -> str | None:
    if not isinstance(node.func, ast.Attribute) or not node.args:
        return _what_of_session(source, node)
    first = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    if node.func.attr == "callproc" and first not in declared:
        return f"what the database's function {first!r} writes" if first else "what a function of the database writes"
    if node.func.attr == "execute" and isinstance(first, str):
        statement = read_statement(first)
        if statement.verb in _PROCEDURES and not statement.functions & set(declared):
            return f"what {statement.verb.upper()} writes"
    return _what_of_session(source, node)


def _what_of_session(source: Source, node: ast.Call) -> str | None:
    """``graph.session("w")`` lends the driver's own session."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr != "session":
        return None
    base = node.func.value
    graph = source.value(base.value if isinstance(base, ast.Subscript) else base)
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    writes = any(isinstance(part, ast.Constant) and part.value == "w" for part in arguments)
    is_graph = graph is not MISSING and _module_of(graph).startswith("dbopt.neo4j")
    return f"{ast.unparse(node)}, a session of the driver's own" if writes and is_graph else None


def _module_of(value: object) -> str:
    """Return the module that a value comes from; of a module, its own name."""
    if value is MISSING:
        return ""
    name = getattr(value, "__name__", "") if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return str(name or type(value).__module__)
