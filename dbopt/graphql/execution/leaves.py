"""Leaf columns that need no serialising: exact built-in types in range."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from graphql import GraphQLBoolean, GraphQLFloat, GraphQLID, GraphQLInt, GraphQLLeafType, GraphQLString, Undefined
from graphql.pyutils import inspect

from dbopt.graphql.execution.core_versions import output_method

MAX_INT, MIN_INT = 2**31 - 1, -(2**31)
_NONE = type(None)
_EXACT: dict[GraphQLLeafType, type] = {GraphQLString: str, GraphQLBoolean: bool, GraphQLID: str}


def harmless(leaf: GraphQLLeafType, values: Sequence[Any], *, is_nullable: bool) -> Sequence[Any] | None:
    """Return a column ready for the response, or None when its values must be serialised one by one."""
    types = set(map(type, values))
    if _NONE in types:
        if not is_nullable:
            return None
        types.discard(_NONE)
    if not types:
        return values
    if len(types) > 1:
        return None
    return _checked(leaf, types.pop(), values)


def _checked(leaf: GraphQLLeafType, kind: type, values: Sequence[Any]) -> Sequence[Any] | None:
    if _EXACT.get(leaf) is kind:
        return values
    if leaf is GraphQLID and kind is int:
        return [None if value is None else str(value) for value in values]
    present = [value for value in values if value is not None]
    in_range = False
    if leaf is GraphQLInt and kind is int:
        in_range = max(present) <= MAX_INT and min(present) >= MIN_INT
    elif leaf is GraphQLFloat and kind is float:
        in_range = all(map(isfinite, present))
    return values if in_range else None


def serialized(leaf: GraphQLLeafType, value: Any) -> Any:
    """Serialise one value by the type's own code.

    Raises:
        TypeError: it gave nothing. The type's own errors pass through.
    """
    method = output_method(leaf)
    output = getattr(leaf, method)(value)
    if output is None or output is Undefined:
        raise TypeError(
            f"Expected `{inspect(leaf)}.{method}({inspect(value)})`"
            f" to return non-nullable value, returned: {inspect(output)}"
        )
    return output
