"""Resolvers of fields with arguments along a to-many relation: all parents of a column at once."""

# ruff: noqa: SLF001  an instance's state says which database it is from

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbopt.graphql.batches import LazyInfo

if TYPE_CHECKING:
    from dbopt.graphql.loaders import Column, DataLoader
    from dbopt.graphql.paths import RelationPath


class PathResolver:
    """Resolves by loader under dbopt's executor, and parents that no loader can serve one by one.

    Attributes:
        requires: what is read of a parent; None where nobody knows.
    """

    requires: tuple[str, ...] | None = None

    def path(self, kind: type) -> RelationPath | None:
        """Return the way to the rows from parents of a class, None where they have no such relation."""
        raise NotImplementedError

    def can_load(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a loader should answer a field with these arguments."""
        return True

    def alone(self, root: Any, info: Any, arguments: dict[str, Any]) -> Any:
        """Resolve for one parent without a loader."""
        raise NotImplementedError

    def loader(self, path: RelationPath, parent: Any, info: Any, arguments: dict[str, Any]) -> DataLoader[Any, Any]:
        """Return the loader for these arguments."""
        raise NotImplementedError

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
