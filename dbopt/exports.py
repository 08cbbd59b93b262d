"""Names that a package exports without importing what is behind them.

A package root calls :func:`lazy_exports`, so that ``import dbopt.cache`` costs nothing and works without the client.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NoReturn

from dbopt.exceptions import MissingExtraError


class MissingExport:
    """Stands for a name whose optional client is not installed: raises when it is used, not when it is looked at."""

    def __init__(self, name: str, error: MissingExtraError) -> None:
        self._name = name
        self._error = error

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Raise MissingExtraError, which names the extra to install."""
        raise MissingExtraError(self._error.module, self._error.extra) from self._error

    def __mro_entries__(self, bases: tuple[object, ...]) -> NoReturn:
        self()

    def __getattr__(self, name: str) -> MissingExport:
        if name.startswith("__"):
            raise AttributeError(name)
        return MissingExport(f"{self._name}.{name}", self._error)

    def __repr__(self) -> str:
        return f"<{self._name}: needs dbopt[{self._error.extra}]>"


def lazy_exports(package: str, exports: Mapping[str, str], *, extra: str | None = None) -> Callable[[str], Any]:
    """Return a module-level ``__getattr__`` for a package root.

    Args:
        package: the package's ``__name__``.
        exports: public name -> submodule that defines it (without the package's name).
        extra: the extra of dbopt that brings the client; without the client a name is a
            :class:`MissingExport`, so that ``hasattr`` works and use names the extra.
    """

    def load(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f"{package}.{exports[name]}"), name)
        except ModuleNotFoundError as error:
            if extra is None or error.name is None or error.name.startswith("dbopt"):
                raise
            return MissingExport(name, MissingExtraError(error.name, extra))
        setattr(sys.modules[package], name, value)
        return value

    return load
