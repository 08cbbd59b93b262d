"""The demo, as a user starts it: real servers of its own, real data, a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a demo must not find: it starts servers of its own.
SERVERS = ("DATABASE_URL", "REDIS_URL", "NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD")


def environment():
    names = {*SERVERS, *(f"DBOPT_TEST_{name}" for name in SERVERS), "DJANGO_SETTINGS_MODULE"}
    return {key: value for key, value in os.environ.items() if key not in names}


def demo(*arguments, timeout=300):
    return subprocess.run(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entities", "10"], "CommandError: --entities is 10: at least 1000 are needed to measure anything.\n"),
        (["--data", "no/such/folder"], "CommandError: --data: there is no entities.csv in no/such/folder.\n"),
    ],
)
def test_wrong_use_ends_at_once_with_a_reason(arguments, message):
    done = demo("--once", *arguments, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.long
def test_real_data_goes_the_whole_road_and_nothing_is_lost(sample_data, tmp_path):
    report = tmp_path / "report.json"

    done = demo("--once", "--data", f"{sample_data}/fincen", "--report", str(report))

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())
    assert set(figures) == {
        "versions",
        "servers",
        "counts",
        "indexes",
        "graphql",
        "pagination",
        "cache",
        "neo4j",
        "health",
    }
    assert figures["counts"] == {"entities": 3944, "relationships": 10_005, "investigations": 1508}
    assert {name: server["version"].split(".")[0] for name, server in figures["servers"].items()} == {
        "postgres": "18",
        "redis": "9",
        "neo4j": "5",
    }
    assert len(figures["indexes"]) == 5
    assert all(row["index"] in " ".join(row["after"]["scans"]) for row in figures["indexes"])
    assert figures["graphql"]["with"]["statements"] < 5 < figures["graphql"]["without"]["statements"]
    graphql = figures["graphql"]
    # The first entities of these data are sources of nothing: no targets are asked for.
    assert graphql["async"]["statements"] == graphql["with"]["statements"] == 2
    assert graphql["as_promised"] is True
    assert [graphql["neighbours"][page]["cypher"] for page in ("first", "second")] == [2, 2]
    assert {name: cost["statements"] for name, cost in graphql["kept"].items() if name != "new_value_seen"} == {
        "cold": 1,
        "warm": 0,
        "after_mutation": 1,
    }
    assert (graphql["refused"]["code"], graphql["refused"]["statements"]) == ("COST_LIMIT", 0)
    assert graphql["persisted"]["hash_bytes"] < graphql["persisted"]["text_bytes"]
    assert figures["cache"]["warm_statements"] == 0
    assert figures["cache"]["new_value_seen"] is True
    assert figures["pagination"]["same_rows"] is True
    assert figures["neo4j"]["found"] == figures["neo4j"]["keys"] == 200
    assert figures["health"]["status"] == "pass"
    passwords = re.findall(r"://[^:/@]+:[^@]+@", done.stdout + done.stderr + report.read_text())
    assert passwords == []


@contextmanager
def running_demo(*arguments):
    """A demo that serves, in a process group of its own as in a terminal; yields (process, lines so far)."""
    process = subprocess.Popen(
        [sys.executable, "-u", "manage.py", "demo", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell lets what it starts in the background ignore Ctrl-C, and so do all its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it only resets a signal
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)


@pytest.mark.long
def test_console_shows_answer_and_cost_in_a_real_browser_and_a_taken_port_moves_on(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser, "Install the Debian package chromium to look at the console."
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with running_demo("--entities", "1000", "--port", str(port)) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if found := re.search(r"Console: (http://127\.0\.0\.1:(\d+)/)", line):
                    break
            assert found, "".join(lines)
            assert f"port {port} is taken, trying {port + 1}\n" in lines
            assert int(found.group(2)) > port
            with playwright.sync_playwright() as driver:
                page = driver.chromium.launch(
                    executable_path=browser, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
                ).new_page()
                complaints = []
                page.on("console", lambda message: complaints.append(message.text))
                page.goto(found.group(1))
                page.get_by_role("button", name="Run").click()
                page.screenshot(path=tmp_path / "console.png", full_page=True)

                assert complaints == []
                assert '"entities"' in page.locator("#answer").inner_text()
                assert "SQL statements" in page.locator("#figures").inner_text()
                assert "errors" not in page.locator("#answer").inner_text()

                page.get_by_role("button", name="A page that is too large").click()

                assert "PAGE_TOO_LARGE" in page.locator("#answer").inner_text()
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode in (0, 130)
