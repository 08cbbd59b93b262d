"""Whether an annotation can be NULL: only what is surely not NULL may be a key."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, Value
from django.db.models.expressions import Col, CombinedExpression
from django.db.models.functions import Abs, Cast, Ceil, Coalesce, Extract, Floor, Length, Lower, Trim, Upper
from django.db.models.functions.datetime import TruncBase
from django.db.models.sql.constants import LOUTER

_NULL_ONLY_FROM_NULL = (CombinedExpression, Abs, Cast, Ceil, Extract, Floor, Length, Lower, Trim, TruncBase, Upper)


def is_never_null(expression: Any, query: Any) -> bool:
    """Return True when the resolved expression has a value in every row of the query."""
    if isinstance(expression, (Count, Exists)):
        return True
    if isinstance(expression, Value):
        return expression.value is not None
    if isinstance(expression, Col):
        join = query.alias_map.get(expression.alias)
        return not expression.target.null and getattr(join, "join_type", None) != LOUTER
    sources = [source for source in getattr(expression, "get_source_expressions", list)() if source is not None]
    if isinstance(expression, Coalesce):
        return any(is_never_null(source, query) for source in sources)
    if isinstance(expression, _NULL_ONLY_FROM_NULL):
        return bool(sources) and all(is_never_null(source, query) for source in sources)
    return False
