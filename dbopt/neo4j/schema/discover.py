"""Find the graph declarations of installed apps: ``<app>/graph_schema.py``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from dbopt.neo4j.schema.declare import GraphSchema

if TYPE_CHECKING:
    from dbopt.neo4j.schema.rules import Rule

MODULE = "graph_schema"


@dataclass(frozen=True, slots=True)
class FoundSchema:
    """A declaration and the app that it belongs to."""

    schema: type[GraphSchema]
    app_label: str
    alias: str


def graph_schemas(alias: str | None = None) -> list[FoundSchema]:
    """Return the declarations of all installed apps, in their order; of one alias if given.

    Raises:
        GraphSchemaError: a declaration is wrong.
    """
    found = []
    for app in apps.get_app_configs():
        if app.module is None or not module_has_submodule(app.module, MODULE):
            continue
        module = import_module(f"{app.name}.{MODULE}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, GraphSchema) and value.__module__ == module.__name__:
                its_alias, _ = value.meta(app_label=app.label)
                found.append(FoundSchema(value, app.label, its_alias))
    return [item for item in found if alias in (None, item.alias)]


def declared_rules(alias: str) -> list[Rule]:
    """Return every index and constraint that installed apps declare for an alias."""
    return [rule for item in graph_schemas(alias) for rule in item.schema.rules(app_label=item.app_label)]
