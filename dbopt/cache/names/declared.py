"""What the settings declare about tables: which are strict, and which of them functions of the database write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections

from dbopt.cache.names.tables import known_tables, model_tables
from dbopt.cache.names.tokens import table_of
from dbopt.conf import CacheSettings, dbopt_settings
from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ALL = "*"


@dataclass(frozen=True, slots=True)
class _Declared:
    section: CacheSettings
    strict: frozenset[str] | None
    functions: Mapping[str, frozenset[str]]


_last: list[_Declared] = []


def has_strict_tables() -> bool:
    """Tell whether functions of level "strict" may store anything."""
    section = dbopt_settings.cache
    return bool(section.strict) or section.level == "strict"


def needs_server_clock() -> bool:
    """Tell whether tokens must be made by the server: they carry marks, or the end of a hold-off for replicas."""
    return has_strict_tables() or any(
        (options.get("TEST") or {}).get("MIRROR") for options in connections.settings.values()
    )


def lacks_strictness(tables: Iterable[str]) -> frozenset[str]:
    """Return those tables whose writers do not announce their commits."""
    if not has_strict_tables():
        return frozenset(tables)
    strict = _declared().strict
    return frozenset() if strict is None else frozenset(tables) - strict


def strict_among(tags: Iterable[str]) -> list[str]:
    """Return, sorted, those tags that are about strict tables; what is about no single table is, too."""
    if not has_strict_tables():
        return []
    tables = {tag: table_of(tag) for tag in tags}
    others = lacks_strictness(table for table in tables.values() if table is not None)
    return sorted(tag for tag, table in tables.items() if table not in others)


def written_by(functions: Iterable[str]) -> frozenset[str]:
    """Return the tables that functions of the database write, as FUNCTION_WRITES declares.

    Raises:
        ConfigurationError: it names a model that is not installed.
    """
    try:
        declared = dbopt_settings.cache.function_writes
    except ConfigurationError:
        # Settings that cannot be read are told by a system check, not by each statement.
        return frozenset()
    if not declared:
        return frozenset()
    written = _declared().functions
    return frozenset().union(*(written[name] for name in functions if name in written))


def _declared() -> _Declared:
    section = dbopt_settings.cache
    if not _last or _last[0].section is not section:
        everything = _ALL in section.strict or section.level == "strict"
        strict = None if everything else _tables("STRICT", section.strict)
        functions = {
            name.rpartition(".")[2].lower(): _tables("FUNCTION_WRITES", labels)
            for name, labels in section.function_writes.items()
        }
        _last[:] = [_Declared(section, strict, functions)]
    return _last[0]


def _tables(key: str, labels: Iterable[str]) -> frozenset[str]:
    if _ALL in labels:
        return known_tables()
    return frozenset().union(*(model_tables(_model(key, label)) for label in labels))


def _model(key: str, label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f'DBOPT["CACHE"]["{key}"] names {label!r}, which is no installed model. Write it as "app_label.Model".'
        ) from error
