"""Which line of the project asked: the first frame outside installed packages and outside dbopt."""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

_DBOPT = str(Path(__file__).resolve().parent.parent)
# The bundled domain is a project's code: its services and resolvers are worth naming.
_DOMAIN = str(Path(_DBOPT) / "intelgraph")
_MAX_FRAMES = 200


@lru_cache(maxsize=1)
def _foreign_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple(sorted({paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}))


@lru_cache(maxsize=4096)
def project_path(filename: str) -> str | None:
    """Return the path of a source file below its import root, or None when it is not the project's own code."""
    if filename.startswith("<") or "site-packages" in filename or "dist-packages" in filename:
        return None
    if filename.startswith(_DBOPT) and not filename.startswith(_DOMAIN):
        return None
    if filename.startswith(_foreign_folders()):
        return None
    roots = [root for root in sys.path if root and filename.startswith(root.rstrip("/") + "/")]
    # Relative: where a project lies on a server is nobody's business in a report.
    return filename[len(max(roots, key=len).rstrip("/")) + 1 :] if roots else "/".join(Path(filename).parts[-3:])


def find_origin(depth: int = 1) -> str | None:
    """Return ``path:line`` of the nearest frame of the project's own code.

    Args:
        depth: how many of the innermost frames to leave out unseen.
    """
    found = find_caller(depth + 1)
    return None if found is None else found[0]


def find_caller(depth: int = 1) -> tuple[str, str] | None:
    """Return the same, and the name of the function that runs there."""
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001 - traceback.extract_stack is fifteen times dearer
    for _ in range(_MAX_FRAMES):
        if frame is None:
            return None
        path = project_path(frame.f_code.co_filename)
        if path is not None:
            return f"{path}:{frame.f_lineno}", frame.f_code.co_qualname
        frame = frame.f_back
    return None
