"""Generic foreign keys: one statement for each model that the rows of a batch point at."""

# ruff: noqa: SLF001  Model._meta and the managers are documented API of Django

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ValidationError

from dbopt.graphql.loading.loaders import DataLoader
from dbopt.graphql.loading.rows import keyed

if TYPE_CHECKING:
    from django.db.models import Model
    from graphql import GraphQLResolveInfo


def is_generic_foreign_key(field: Any) -> bool:
    """Whether a field of a model is a GenericForeignKey; asks without importing contenttypes, which a project may lack."""
    return hasattr(field, "ct_field") and hasattr(field, "fk_field")


class GenericLoader(DataLoader[Any, Any]):
    """Load by (content type, key). Parameters: ((model, graphene type or None if it has no get_queryset), ...), alias, reading."""

    info: GraphQLResolveInfo | None = None

    def set_up(self) -> None:
        """Read the parameters."""
        node_types, self.using, self.reading = self.params
        self.node_types = dict(node_types)

    def batch_load(self, keys: list[Any]) -> dict[Any, Any]:
        """Load the rows of each model; where one model fails, the others are loaded."""
        by_type = defaultdict(list)
        for key in keys:
            by_type[key[0]].append(key)
        types: Any = apps.get_model("contenttypes", "ContentType")._default_manager.db_manager(self.using)
        found: dict[Any, Any] = {}
        for content_type, own in by_type.items():
            try:
                model = types.get_for_id(content_type).model_class()
                # None for a model that is gone from the code, whose rows Django does not find either.
                found.update({} if model is None else self._rows(model, own))
            except Exception as error:  # noqa: BLE001  # a get_queryset is user code: its error belongs to its model's keys
                found.update(dict.fromkeys(own, error))
        return found

    def _rows(self, model: type[Model], keys: list[Any]) -> dict[Any, Any]:
        primary_key: Any = model._meta.pk
        wanted = defaultdict(list)
        for key in keys:
            try:
                wanted[primary_key.to_python(key[1])].append(key)
            except ValidationError:
                # What cannot be a key of the model names no row of it.
                continue
        node_type = self.node_types.get(model)
        manager = model._base_manager if node_type is None else model._default_manager
        rows = manager.using(self.using)
        rows = rows if node_type is None else node_type.get_queryset(rows, self.info)
        return {key: row for row in self.reading.prepare(keyed(rows, primary_key, wanted)) for key in wanted[row.pk]}

    def close(self) -> None:
        """End the loader, as DataLoader does."""
        super().close()
        self.info = None
