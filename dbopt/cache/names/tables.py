"""Which tables exist, and which database a connection's tables belong to."""

# ruff: noqa: SLF001  Django's _meta and _state

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps

from dbopt.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.db import models
    from django.db.backends.base.base import BaseDatabaseWrapper


class _Registry:
    """Table names of all models, made anew when models come or go."""

    def __init__(self) -> None:
        self._models: object = None
        self._names: frozenset[str] = frozenset()
        self._unmanaged: dict[str, str] = {}
        self._keys: dict[str, models.Field[Any, Any] | None] = {}

    def names(self) -> frozenset[str]:
        self._refresh()
        return self._names

    def unmanaged(self) -> Mapping[str, str]:
        self._refresh()
        return self._unmanaged

    def keys(self) -> Mapping[str, models.Field[Any, Any] | None]:
        self._refresh()
        return self._keys

    def _refresh(self) -> None:
        # Django caches this list and replaces it when a model is registered, so identity tells whether it changed.
        registered = apps.get_models(include_auto_created=True, include_swapped=True)
        if registered is not self._models:
            self._names = frozenset(table_name(model) for model in registered)
            self._unmanaged = {
                table_name(model): model._meta.db_table for model in registered if not model._meta.managed
            }
            self._keys = {}
            for model in registered:
                key = _single_key(model)
                known = self._keys.setdefault(table_name(model), key)
                if known is not key and (known is None or key is None or known.column != key.column):
                    self._keys[table_name(model)] = None
            self._models = registered


_registry = _Registry()


def known_tables() -> frozenset[str]:
    """Return the tables of all installed models, with automatically created many-to-many tables."""
    return _registry.names()


def _single_key(model: type[models.Model]) -> models.Field[Any, Any] | None:
    key = model._meta.pk
    # Of several columns together: Django gives them no column of their own.
    return key if model._meta.managed and key is not None and key.column else None


def unmanaged_tables() -> Mapping[str, str]:
    """Return those known tables that Django did not make, which may be views: name -> db_table of the model."""
    return _registry.unmanaged()


def primary_key(table: str) -> models.Field[Any, Any] | None:
    """Return the field that names a known table's rows; None where several do, or Django did not make the table."""
    return _registry.keys().get(table)


def installed_model(label: str) -> type[models.Model]:
    """Return the model that somebody named.

    Raises:
        ConfigurationError: no installed app has it.
    """
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        raise ConfigurationError(f"There is no model {label!r}. Write it as app_label.Model.") from None


def table_name(model: type[models.Model]) -> str:
    """Return a model's table as it appears among a statement's identifiers: without schema and quotes."""
    return model._meta.db_table.replace('"', "").rsplit(".", 1)[-1]


def model_tables(model: type[models.Model]) -> frozenset[str]:
    """Return the tables that hold a model's rows: its own and those of its parents."""
    options = model._meta.concrete_model._meta  # type: ignore[union-attr]  # abstract models have no table to write
    return frozenset(table_name(each) for each in (options.model, *options.get_parent_list()))


def known_among(identifiers: Iterable[str]) -> frozenset[str]:
    """Return those identifiers that name a known table."""
    return known_tables().intersection(identifiers)


def database_of(connection: BaseDatabaseWrapper) -> str:
    """Return the alias whose writes a connection's rows come from: a replica names its primary in TEST["MIRROR"]."""
    mirror: str | None = connection.settings_dict.get("TEST", {}).get("MIRROR")
    return mirror or connection.alias


def is_replica(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a connection reads from a replica."""
    return database_of(connection) != connection.alias
