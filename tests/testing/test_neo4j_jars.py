"""The cache of Neo4j's jars: whatever happened to it, a server only ever gets the files of the list."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading

import pytest

from dbopt.exceptions import ServerStartError
from dbopt.testing.services import neo4j_jars
from dbopt.testing.services.neo4j_jars import Listed
from dbopt.testing.services.processes import Lifetime
from dbopt.testing.services.versions import NEO4J, NEO4J_SUPPORTED

FILES = {"a.jar": b"first", "b.jar": b"second", "c.jar": b"third"}
LIST = {name: Listed(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in FILES.items()}
# Stands for Maven: copies what it holds, as `dependency:copy-dependencies` does, and counts its calls.
MVN = """#!/bin/sh
echo "$@" >> {calls}
for argument in "$@"; do
  case "$argument" in
    -DoutputDirectory=*) target="${{argument#-DoutputDirectory=}}" ;;
    -Dmaven.repo.local=*) fresh=1 ;;
  esac
done
mkdir -p "$target"
{before}
cp {source}/* "$target"
{after}
"""


@pytest.fixture
def maven(own_root, tmp_path, monkeypatch):
    """A cache, and a Maven that delivers three small files."""
    source, programs = tmp_path / "source", tmp_path / "programs"
    source.mkdir()
    programs.mkdir()
    for name, data in FILES.items():
        (source / name).write_bytes(data)
    calls = tmp_path / "calls"

    class Maven:
        cache = tmp_path / "cache" / "dbopt"
        kept = cache / f"neo4j-{NEO4J}-mvn"
        lines: list[str] = []

        def write(self, before="", after=""):
            script = programs / "mvn"
            script.write_text(MVN.format(calls=calls, source=source, before=before, after=after))
            script.chmod(0o755)

        def calls(self):
            return calls.read_text().splitlines() if calls.exists() else []

        def jars(self):
            return neo4j_jars.jars(NEO4J, lifetime=Lifetime(), report=self.lines.append)

    maven = Maven()
    maven.lines = []
    maven.write()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(neo4j_jars, "listed", lambda version, resolver: LIST)
    monkeypatch.setattr(neo4j_jars, "find_spec", lambda name: None)
    return maven


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_jars_are_fetched_once_and_kept(maven):
    assert maven.jars() == maven.kept
    assert maven.jars() == maven.kept

    assert content(maven.kept) == FILES
    assert len(maven.calls()) == 1
    assert maven.lines == [f"Neo4j {NEO4J}: fetching 3 jars with mvn"]
    assert sorted(path.name for path in maven.cache.iterdir()) == [f"neo4j-{NEO4J}-mvn", f"neo4j-{NEO4J}.lock"]


SABOTAGE = {
    "missing": (lambda folder: (folder / "b.jar").unlink(), "b.jar is missing"),
    "truncated": (lambda folder: (folder / "b.jar").write_bytes(b"sec"), "b.jar has 3 bytes, not 6"),
    "changed": (lambda folder: (folder / "b.jar").write_bytes(b"SECOND"), "b.jar has another content"),
    "extra": (lambda folder: (folder / "evil.jar").write_bytes(b""), "evil.jar does not belong there"),
}


@pytest.mark.parametrize("kind", SABOTAGE)
def test_damaged_cache_is_fetched_again(maven, kind):
    damage, reason = SABOTAGE[kind]
    maven.jars()
    damage(maven.kept)

    assert maven.jars() == maven.kept

    assert content(maven.kept) == FILES
    assert maven.lines[1:] == [
        f"Neo4j {NEO4J}: the kept jars are damaged ({reason}) and are fetched again",
        f"Neo4j {NEO4J}: fetching 3 jars with mvn",
    ]


def test_interrupted_fetch_is_thrown_away(maven):
    draft = maven.cache / f"neo4j-{NEO4J}.draft" / "lib"
    draft.mkdir(parents=True)
    (draft / "evil.jar").write_bytes(b"half")

    assert content(maven.jars()) == FILES
    assert not draft.parent.exists()


def test_damaged_repository_of_the_user_is_gone_around(maven):
    maven.write(after='[ -n "$fresh" ] || printf sec > "$target/b.jar"')

    assert content(maven.jars()) == FILES
    assert ["-Dmaven.repo.local=" in call for call in maven.calls()] == [False, True]


def test_wrong_delivery_never_becomes_a_cache(maven):
    maven.write(after='printf sec > "$target/b.jar"; rm "$target/c.jar"')

    with pytest.raises(ServerStartError) as caught:
        maven.jars()

    assert str(caught.value) == (
        f"The jars of Neo4j {NEO4J} cannot be had from Maven Central. "
        "mvn: c.jar is missing (and 1 more); mvn: c.jar is missing (and 1 more)"
    )
    assert [path.name for path in maven.cache.iterdir()] == [f"neo4j-{NEO4J}.lock"]


def test_failing_resolver_is_quoted(maven):
    maven.write(before='echo "[INFO] Scanning"; echo "[ERROR] Unknown host repo.example"; exit 1')

    with pytest.raises(ServerStartError) as caught:
        maven.jars()

    assert "mvn: status 1: [ERROR] Unknown host repo.example" in str(caught.value)


def test_two_at_once_fetch_once(maven):
    maven.write(before="sleep 0.5")
    found = []
    threads = [threading.Thread(target=lambda: found.append(maven.jars())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [maven.kept, maven.kept]
    assert len(maven.calls()) == 1
    assert "Neo4j: waiting for another run that is at the jars" in maven.lines


def test_fetch_can_be_called_off(maven):
    maven.write(before="sleep 600")
    lifetime, errors = Lifetime(), []

    def fetch():
        try:
            neo4j_jars.jars(NEO4J, lifetime=lifetime, report=maven.lines.append)
        except ServerStartError as error:
            errors.append(str(error))

    thread = threading.Thread(target=fetch)
    thread.start()
    while not maven.calls():
        thread.join(0.01)
    lifetime.end()
    thread.join(10)

    assert not thread.is_alive()
    assert len(errors) == 1
    assert not maven.kept.exists()


def test_no_resolver_says_how_to_get_one(maven, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(ServerStartError, match="Install a resolver with: pip install jgo, or apt-get install maven"):
        maven.jars()


@pytest.mark.parametrize("version", NEO4J_SUPPORTED)
@pytest.mark.parametrize("resolver", neo4j_jars.RESOLVERS)
def test_lists_name_the_server_itself_and_no_file_twice(version, resolver):
    found = neo4j_jars.listed(version, resolver)

    assert f"neo4j-{version}.jar" in found
    assert (
        len(found)
        == {
            ("5.26.31", "mvn"): 213,
            ("5.26.31", "jgo"): 216,
            ("2026.08.1", "mvn"): 225,
            ("2026.08.1", "jgo"): 237,
        }[version, resolver]
    )
    assert all(len(entry.sha256) == 64 and entry.size > 0 for entry in found.values())


def test_unknown_version_is_refused(own_root):
    with pytest.raises(ServerStartError) as caught:
        neo4j_jars.jars("4.4.0", lifetime=Lifetime(), report=print)

    assert str(caught.value) == ("Neo4j 4.4.0 is not known here: DBOPT_NEO4J_VERSION may be 5.26.31 or 2026.08.1.")
