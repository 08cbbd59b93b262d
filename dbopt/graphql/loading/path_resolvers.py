"""Resolvers of fields with arguments along a to-many relation: all parents of a column at once."""

# ruff: noqa: SLF001  _meta is graphene's way to a type's options; an instance's state says which database it is from

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import router

from dbopt.graphql.execution.batches import LazyInfo
from dbopt.graphql.loading.model_loaders import RowLoader
from dbopt.graphql.loading.projection import reading_of

if TYPE_CHECKING:
    from dbopt.graphql.loading.loaders import Column
    from dbopt.graphql.loading.paths import RelationPath


class PathLoader(RowLoader):
    """Loads for the parents of a path. Parameters: what a field is about, path, alias, reading, frozen arguments."""

    arguments: Mapping[str, Any]

    def set_up(self) -> None:
        """Read the parameters."""
        self.source, self.path, self.using, self.reading, _ = self.params


class PathResolver:
    """Resolves by loader under dbopt's executor, and parents that no loader can serve one by one.

    Attributes:
        requires: what is read of a parent; None where nobody knows.
        loader_class: loads for all parents.
        source: what the loader needs to know of the field.
    """

    requires: tuple[str, ...] | None = None
    loader_class: type[PathLoader]
    source: Any

    @property
    def node(self) -> Any:
        """The graphene type of the rows."""
        raise NotImplementedError

    def path(self, kind: type) -> RelationPath | None:
        """Return the way to the rows from parents of a class, None where they have no such relation."""
        raise NotImplementedError

    def can_load(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a loader should answer a field with these arguments."""
        return True

    def alone(self, root: Any, info: Any, arguments: dict[str, Any]) -> Any:
        """Resolve for one parent without a loader."""
        raise NotImplementedError

    def loader(self, path: RelationPath, parent: Any, info: Any, arguments: dict[str, Any]) -> PathLoader:
        """Return the loader for these arguments."""
        using = router.db_for_read(path.model, instance=parent)
        # What is read is part of the loader's identity: another operation on this context may need other columns.
        reading = reading_of(info, self.node._meta.name)
        loader = self.loader_class(info.context, self.source, path, using, reading, frozen(arguments))
        if loader.info is None:
            loader.info, loader.arguments = info, arguments
        return loader

    def __call__(self, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve for one parent: by promise under dbopt's executor, at once anywhere else."""
        path = self.path(type(root)) if isinstance(info, LazyInfo) and self.can_load(arguments) else None
        key = None if path is None else getattr(root, path.key_attribute)
        if path is None or key is None:
            # Not a relation; or a parent that was never saved, about which Django knows what to say.
            return self.alone(root, info, arguments)
        return self.loader(path, root, info, arguments).load(key)

    def batch_resolve(self, parents: Sequence[Any], info: Any, column: Column, **arguments: Any) -> list[Any] | None:
        """Resolve for a whole column of parents; None when the loader delivers later."""
        paths = {self.path(kind) for kind in set(map(type, parents))}
        path = paths.pop()
        is_uniform = path is not None and not paths and len({parent._state.db for parent in parents}) == 1
        if path is not None and is_uniform and self.can_load(arguments):
            keys = [getattr(parent, path.key_attribute) for parent in parents]
            if None not in keys:
                return self.loader(path, parents[0], info, arguments).load_column(keys, column)
        return [self._resolve_one(parent, info, arguments) for parent in parents]

    def _resolve_one(self, parent: Any, info: Any, arguments: dict[str, Any]) -> Any:
        try:
            return self(parent, info, **arguments)
        except Exception as error:  # noqa: BLE001  # the executor takes an error of one parent as a value
            return error


def frozen(value: Any) -> Any:
    """Return arguments as what a loader can be known by."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, frozen(item)) for name, item in value.items()))
    return tuple(map(frozen, value)) if isinstance(value, list) else value
