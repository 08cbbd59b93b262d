"""Reports as lines of text, for people with curl and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def as_lines(content: Any) -> str:
    """Return one line a fact: ``checks.database.status: pass``; a list has one line an item."""
    if isinstance(content, list):
        return "".join(f"{_row(item)}\n" for item in content)
    return "".join(f"{path}: {_value(value)}\n" for path, value in _facts(content, ""))


def _facts(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _facts(value, f"{path}.")
        elif isinstance(value, list):
            for number, item in enumerate(value, start=1):
                yield f"{path}.{number}", _row(item)
        else:
            yield path, value


def _row(item: Any) -> str:
    if not isinstance(item, Mapping):
        return _value(item)
    return " ".join(f"{name}={_value(value)}" for name, value in item.items())


def _value(value: Any) -> str:
    return "-" if value is None else " ".join(str(value).split())
