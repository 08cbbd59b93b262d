"""Neo4j's jars in the user's cache: fetched once, every file compared with a list that is kept here.

The two resolvers choose different versions of a few libraries, so there is a list for each version and resolver:
lines of sha256, size in bytes, file name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dbopt.exceptions import ServerStartError
from dbopt.testing.services.folders import new_folder, services_root
from dbopt.testing.services.processes import Lifetime, Process, Program
from dbopt.testing.services.versions import NEO4J_SUPPORTED

Report = Callable[[str], object]

FETCH_SECONDS = 900.0
PROGRESS_SECONDS = 5.0
RESOLVERS = ("mvn", "jgo")
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.example</groupId><artifactId>neo4j-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{version}</version></dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True)
class Listed:
    """A file as it must be."""

    sha256: str
    size: int


def jars(version: str, *, lifetime: Lifetime, report: Report) -> Path:
    """Return the folder with all jars of a version, each compared with the list; fetch them where it is not there.

    Raises:
        ServerStartError: there is no list for the version, or the jars cannot be had.
    """
    if version not in NEO4J_SUPPORTED:
        raise ServerStartError(
            f"Neo4j {version} is not known here: DBOPT_NEO4J_VERSION may be {' or '.join(NEO4J_SUPPORTED)}."
        )
    cache = cache_folder()
    with _alone(cache / f"neo4j-{version}.lock", lifetime=lifetime, report=report):
        for resolver in RESOLVERS:
            kept = cache / f"neo4j-{version}-{resolver}"
            if not kept.is_dir():
                continue
            wrong = differences(kept, listed(version, resolver))
            if not wrong:
                return kept
            report(f"Neo4j {version}: the kept jars are damaged ({wrong[0]}) and are fetched again")
            shutil.rmtree(kept)
        return _fetch(version, cache=cache, lifetime=lifetime, report=report)


def cache_folder() -> Path:
    """Return the folder that keeps jars between runs: the user's cache, else one in the temporary folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    for folder in (Path(home) / "dbopt", services_root() / "cache"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ServerStartError(f"Neither {Path(home) / 'dbopt'} nor {services_root()} can be written to.")


def listed(version: str, resolver: str) -> Mapping[str, Listed]:
    """Return the files that a resolver must deliver."""
    lines = Path(__file__).with_name(f"neo4j-{version}-{resolver}.sha256").read_text().splitlines()
    rows = (line.split() for line in lines)
    return {name: Listed(sha256=digest, size=int(size)) for digest, size, name in rows}


def differences(folder: Path, wanted: Mapping[str, Listed]) -> list[str]:
    """Return what is wrong with a folder of jars, a line a file; empty when it is exactly as listed."""
    found = {path.name: path for path in folder.iterdir()}
    wrong = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    wrong += [f"{name} does not belong there" for name in sorted(found.keys() - wanted.keys())]
    common = sorted(wanted.keys() & found.keys())
    with ThreadPoolExecutor(max_workers=2) as pool:
        wrong += [line for line in pool.map(lambda name: _difference(found[name], wanted[name]), common) if line]
    return wrong


def _difference(path: Path, wanted: Listed) -> str | None:
    size = path.stat().st_size
    if size != wanted.size:
        return f"{path.name} has {size} bytes, not {wanted.size}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest == wanted.sha256 else f"{path.name} has another content"


@contextmanager
def _alone(path: Path, *, lifetime: Lifetime, report: Report) -> Iterator[None]:
    """Hold the lock of the cache; another run that fetches is waited for, and the wait can be called off."""
    with path.open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if lifetime.ended:
                    raise ServerStartError("The start was called off.") from None
                if not told:
                    report("Neo4j: waiting for another run that is at the jars")
                    told = True
                time.sleep(0.1)
        yield


def _fetch(version: str, *, cache: Path, lifetime: Lifetime, report: Report) -> Path:
    draft = cache / f"neo4j-{version}.draft"
    reasons = []
    for resolver, fresh in _attempts():
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            program = _program(version, resolver, draft=draft, fresh=fresh)
            total = len(listed(version, resolver))
            _run(
                program,
                label=f"Neo4j {version}: fetching {total} jars with {resolver}",
                lifetime=lifetime,
                report=report,
            )
            wrong = differences(draft / "lib", listed(version, resolver))
        except ServerStartError as error:
            if lifetime.ended:
                raise
            wrong = [str(error)]
        if not wrong:
            final = cache / f"neo4j-{version}-{resolver}"
            (draft / "lib").rename(final)
            shutil.rmtree(draft, ignore_errors=True)
            return final
        reasons.append(f"{resolver}: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""))
    shutil.rmtree(draft, ignore_errors=True)
    raise ServerStartError(
        f"The jars of Neo4j {version} cannot be had from Maven Central. "
        + ("; ".join(reasons) or "Install a resolver with: pip install jgo, or apt-get install maven")
    )


def _attempts() -> list[tuple[str, bool]]:
    """Return resolver and whether it gets an empty repository, in the order to try them.

    A truncated jar in the user's own Maven repository is copied as it is, hence the second try.
    """
    attempts = [("mvn", False), ("mvn", True)] if shutil.which("mvn") else []
    return attempts + ([("jgo", True)] if find_spec("jgo") else [])


def _program(version: str, resolver: str, *, draft: Path, fresh: bool) -> Program:
    target = draft / "lib"
    if resolver == "jgo":
        script = Path(__file__).with_name("jgo_fetch.py")
        home = draft / "home"
        home.mkdir()
        environment = {**os.environ, "HOME": str(home), "PYTHONSAFEPATH": "1"}
        return Program(argv=[sys.executable, script, version, target], environment=environment)
    (draft / "pom.xml").write_text(POM.format(version=version))
    argv = ["mvn", "-B", "-f", str(draft / "pom.xml"), "dependency:copy-dependencies"]
    argv += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    if fresh:
        argv.append(f"-Dmaven.repo.local={draft / 'repository'}")
    return Program(argv=argv, environment=dict(os.environ))


def _run(program: Program, *, label: str, lifetime: Lifetime, report: Report) -> None:
    folder = new_folder("fetch")
    try:
        process = lifetime.run(program, folder)
        code = _watch(process, label=label, report=report)
        if code:
            raise ServerStartError(f"status {code}: {_last_error(process.output())}")
    finally:
        lifetime.discard(folder)


def _watch(process: Process, *, label: str, report: Report) -> int:
    report(label)
    began = told = time.monotonic()
    while (code := process.returncode()) is None:
        now = time.monotonic()
        if now - began > FETCH_SECONDS:
            raise ServerStartError(f"gave up after {FETCH_SECONDS:g} s")
        if now - told > PROGRESS_SECONDS:
            told = now
            files = process.output().count("Downloaded ")
            report(f"{label}, {files} files downloaded in {now - began:.0f} s")
        time.sleep(0.05)
    return code


def _last_error(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("[ERROR]")] or lines[-1:]
    return errors[0][:400] if errors else "it printed nothing"
