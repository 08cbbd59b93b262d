"""Files of installed wheels, found without importing them: their imports warn, create users' folders, or are slow."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from dbopt.exceptions import MissingExtraError
from dbopt.testing.services.folders import give_to, made_once, unprivileged_account

LEFT_OUT = shutil.ignore_patterns("include", "__pycache__")


def package_folder(module: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(module, "testing")
    return Path(next(iter(spec.submodule_search_locations)))


def runnable_folder(module: str, part: str, *, distribution: str) -> Path:
    """Return a part of a package where the user that runs servers can read it.

    For root that is a copy, made once: an unprivileged user can enter neither a home folder nor a private checkout.
    """
    folder = package_folder(module)
    account = unprivileged_account()
    if account is None:
        return folder / part
    # Shared libraries that the wheel was repaired with lie beside the package and are found by relative paths.
    libraries = folder.with_name(f"{module}.libs")

    def copy(draft: Path) -> None:
        shutil.copytree(folder / part, draft / module / part, symlinks=True, ignore=LEFT_OUT)
        if libraries.is_dir():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        give_to(draft, account)

    return made_once(f"{distribution}-{version(distribution)}", copy) / module / part
