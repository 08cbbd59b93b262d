"""Fetch Neo4j's jars with jgo. A program of its own: `python jgo_fetch.py VERSION FOLDER`, in a fresh HOME.

A program, because jgo can be interrupted only as one; a fresh HOME, because jgo takes over whatever an interrupted
run left in its caches.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jgo
from jgo.maven import PythonResolver


@contextmanager
def announced(name: str, _: int) -> Iterator[Callable[[int], None]]:
    """Print a line a file; the reader counts them."""
    yield lambda _: None
    sys.stdout.write(f"Downloaded {name}\n")
    sys.stdout.flush()


def main(version: str, folder: Path) -> None:
    """Copy all jars of a version into the folder."""
    resolver = PythonResolver(progress_callback=announced)
    environment = jgo.build(f"org.neo4j:neo4j:{version}", cache_dir=Path.home() / "jgo", resolver=resolver)
    folder.mkdir(parents=True)
    for jar in environment.all_jars:
        shutil.copyfile(jar, folder / Path(jar).name)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
