"""Values that several tables of the domain share."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import models

# An index entry of a b-tree holds 2,700 bytes, and UPPER(name) is in one: 500 characters of four bytes fit.
MAX_NAME = 500
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def new_external_id() -> str:
    """Return an id for a row that came without one."""
    return str(uuid.uuid4())


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL can keep a text, or all texts in a JSON value: neither NUL nor half of a surrogate pair."""
    if isinstance(value, str):
        return not _UNSTORABLE.search(value)
    if isinstance(value, Mapping):
        return all(is_storable(part) for pair in value.items() for part in pair)
    return all(map(is_storable, value)) if isinstance(value, (list, tuple)) else True


def between(field: str, low: float, high: float, *, name: str) -> models.CheckConstraint:
    """A constraint: the field lies in low..high, both included."""
    return models.CheckConstraint(
        condition=models.Q(**{f"{field}__gte": low, f"{field}__lte": high}),
        name=name,
        violation_error_message=f"{field} must lie between {low} and {high}.",
    )
