"""The pytest plugin: real servers for a project that asks for them with the ini option `dbopt_services`.

Without that option it starts nothing and imports neither Django nor anything else of dbopt.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dbopt.testing.services import Server
    from dbopt.testing.session import Session

INI = "dbopt_services"
REQUIRE = "DBOPT_TEST_REQUIRE"
FIXTURES = {"postgres_server": "postgres", "redis_server": "redis", "neo4j_server": "neo4j"}
DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_setup", "django_db_reset_sequences"})
# Options that end pytest before any test runs.
QUESTIONS = ("help", "version", "collectonly", "markers", "showfixtures", "show_fixtures_per_test")

_session: pytest.StashKey[Session] = pytest.StashKey()
_announced: pytest.StashKey[set[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(INI, "servers to start for the tests: postgres, redis, neo4j", type="args", default=[])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Fix the addresses before Django's settings are read; a fixture would be too late."""
    names = early_config.getini(INI)
    if names and not _is_question(early_config):
        _open(early_config, names)
    return (yield)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the servers that answer by now, and those on their way."""
    if _session not in config.stash or _is_worker():
        return []
    session = config.stash[_session]
    return [f"dbopt: {_state(config, session, name)}" for name in session.names]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests of the graph run one after another, whichever workers got them: Neo4j Community has one database."""
    if _session not in item.config.stash or "neo4j" not in _needs(item):
        return (yield)
    with item.config.stash[_session].alone("neo4j"):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Wait for the servers that a test needs, before its fixtures do."""
    if _session not in item.config.stash:
        return
    session = item.config.stash[_session]
    needed = _needs(item)
    for name in session.names:
        if name in needed:
            _server(item.config, name)
        elif name != "neo4j":
            # Quick ones are waited for in any case: not every test says that it uses a cache.
            _wait(session, name)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the servers that were on their way when the header was printed."""
    if _session not in config.stash or _is_worker():
        return
    session = config.stash[_session]
    for name in session.names:
        if name not in config.stash[_announced] and session.is_done(name):
            terminalreporter.write_line(f"dbopt: {_state(config, session, name)}")


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Server:
    """Return the PostgreSQL server of the run; the test is skipped with the reason where there is none."""
    return _server(pytestconfig, "postgres")


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Server:
    """Return the Valkey or Redis server of the run; the test is skipped with the reason where there is none."""
    return _server(pytestconfig, "redis")


@pytest.fixture(scope="session")
def neo4j_server(pytestconfig: pytest.Config) -> Server:
    """Return the Neo4j server of the run; the test is skipped with the reason where there is none."""
    return _server(pytestconfig, "neo4j")


def _open(config: pytest.Config, names: list[str]) -> None:
    from dbopt.exceptions import ConfigurationError, ServerStartError
    from dbopt.testing import session

    try:
        opened: Session | None = session.join(names) if _is_worker() else None
        if opened is None:
            opened = session.StartedHere(names, progress=_progress())
    except (ValueError, ConfigurationError, ServerStartError) as error:
        raise pytest.UsageError(f"{INI}: {error}") from error
    config.stash[_session] = opened
    config.stash[_announced] = set()
    config.add_cleanup(opened.close)


def _progress() -> Any:
    """Return a writer to the terminal, taken before pytest captures it: downloads last too long for silence."""
    terminal = os.dup(2)

    def write(line: str) -> None:
        os.write(terminal, f"{line}\n".encode())

    return write


def _is_question(config: pytest.Config) -> bool:
    given = config.known_args_namespace
    return any(getattr(given, name, False) for name in QUESTIONS)


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ


def _state(config: pytest.Config, session: Session, name: str) -> str:
    from dbopt.exceptions import ServerStartError

    if not session.is_done(name):
        return f"{name} is starting"
    config.stash[_announced].add(name)
    try:
        return str(session.server(name))
    except ServerStartError as error:
        return str(error)


def _needs(item: pytest.Item) -> set[str]:
    fixtures = getattr(item, "fixturenames", ())
    needed = {FIXTURES[fixture] for fixture in fixtures if fixture in FIXTURES}
    if item.get_closest_marker("django_db") or not DATABASE_FIXTURES.isdisjoint(fixtures):
        needed.add("postgres")
    return needed


def _server(config: pytest.Config, name: str) -> Server:
    """Return a server that answers; skip the test where there is none, or fail where it is required."""
    from dbopt.exceptions import ServerStartError

    if _session not in config.stash or name not in config.stash[_session].names:
        pytest.fail(f"The test needs {name}: add it to the ini option {INI}.", pytrace=False)
    try:
        return config.stash[_session].server(name)
    except ServerStartError as error:
        required = {part.strip() for part in os.environ.get(REQUIRE, "").split(",")}
        if name in required:
            pytest.fail(f"{error}\n({REQUIRE} wants {name}.)", pytrace=False)
        pytest.skip(str(error))


def _wait(session: Session, name: str) -> None:
    from contextlib import suppress

    from dbopt.exceptions import ServerStartError

    with suppress(ServerStartError):
        session.server(name)
