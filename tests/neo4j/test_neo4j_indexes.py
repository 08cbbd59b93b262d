from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from dbopt.management.commands import neo4j_indexes
from dbopt.neo4j import GraphSchema, Node, Range, Unique
from dbopt.neo4j.schema.read import read_live

pytestmark = pytest.mark.django_db

CREATED = [
    "shop_unique_author_id",
    "shop_unique_book_key",
    "shop_unique_wrote_id",
    "shop_range_book_title",
]


@pytest.fixture
def bookshop(graph, settings, neo4j_options):
    """The alias that tests.testapp declares a schema for."""
    settings.DBOPT = {"NEO4J": {"default": neo4j_options, "bookshop": neo4j_options}}
    return graph


def run(*args, **options):
    out, err = io.StringIO(), io.StringIO()
    code, message = 0, ""
    try:
        call_command("neo4j_indexes", *args, "--alias", options.pop("alias", "bookshop"), stdout=out, stderr=err)
    except CommandError as error:
        code, message = error.returncode, str(error)
    return code, out.getvalue(), message


def test_bare_call_creates_and_a_second_one_changes_nothing(bookshop):
    code, out, _ = run("--json")
    first = json.loads(out)
    assert (code, first["created"], first["dropped"], first["in_sync"]) == (0, CREATED, [], True)

    before = sorted(rule.name for rule in read_live(bookshop).rules)
    code, out, _ = run("--json")
    second = json.loads(out)

    assert (code, second["created"], second["dropped"], second["refused"]) == (0, [], [], [])
    assert second["summary"] == {"OK": 4}
    assert sorted(rule.name for rule in read_live(bookshop).rules) == before


def test_text_output_says_what_was_done(bookshop):
    code, out, _ = run()
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("Neo4j ")
    assert lines[0].endswith(" community, 'bookshop', database 'neo4j'")
    assert lines[1] == "CREATED     unique   shop_unique_author_id  (:Author {id})"
    assert lines[-1].startswith("4 created, 0 dropped in ")
    assert lines[-1].endswith(" s; 4 OK")

    _, out, _ = run()
    assert out.splitlines()[-1].startswith("Nothing to do in ")


def test_plan_shows_the_cypher_and_changes_nothing(bookshop):
    code, out, _ = run("plan")

    assert code == 0
    assert "CREATE CONSTRAINT `shop_unique_author_id` FOR (n:`Author`) REQUIRE (n.`id`) IS UNIQUE;" in out
    assert out.splitlines()[-1] == "4 CREATE"
    assert not [rule for rule in read_live(bookshop).rules if rule.name.startswith("shop_")]


def test_check_tells_drift_by_its_exit_code(bookshop):
    code, _, message = run("check")
    assert (code, message) == (
        1,
        "'bookshop' is not in sync with the declarations. Run: manage.py neo4j_indexes",
    )

    run()
    assert run("check")[0] == 0

    bookshop.write("DROP INDEX shop_range_book_title")
    assert run("check")[0] == 1


def test_nothing_is_dropped_unless_it_is_allowed(bookshop):
    bookshop.write("CREATE INDEX mine FOR (n:Author) ON (n.id)")

    code, out, message = run()
    assert (code, message) == (
        1,
        "'bookshop' is not in sync with the declarations: not done: shop_unique_author_id.",
    )
    assert "NOT DONE    shop_unique_author_id: range 'mine' must be dropped first: allow it with --allow-drop" in out
    assert "mine" in [rule.name for rule in read_live(bookshop).rules]

    code, out, _ = run("--allow-drop", "--json")
    assert (code, json.loads(out)["dropped"]) == (0, ["mine"])


def test_contradicting_declarations_change_nothing(bookshop, monkeypatch):
    class Wrong(GraphSchema):
        node = Node("Author", constraints=[Unique("a", name="x")], indexes=[Range("b", name="x")])

    monkeypatch.setattr(neo4j_indexes, "declared_rules", lambda alias: Wrong.rules(app_label="zt"))

    code, _, message = run()

    assert code == 2
    assert message.startswith("The declarations contradict each other; nothing was changed.\n  dbopt.E301: ")
    assert run("check")[0] == 2
    assert "x" not in [rule.name for rule in read_live(bookshop).rules]


def test_alias_without_declarations(alias, neo4j_server):
    alias()
    code, out, _ = run(alias="other")

    assert code == 0
    assert out.splitlines()[-1].endswith("no app declares anything")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"URI": "bolt://127.0.0.1:1", "RETRY_TIME": 0}, 3, "is out of reach for query 'dbopt.reach'"),
        ({"DATABASE": "nowhere"}, 3, "there is no such database (Neo.ClientError.Database.DatabaseNotFound)."),
        ({"URI": "ftp://x"}, 2, "refuses the address or an option for x:7687"),
    ],
)
def test_server_that_cannot_be_used(alias, neo4j_server, options, code, message):
    alias(**options)

    found, out, shown = run(alias="other")

    assert (found, out) == (code, "")
    assert message in shown


def test_unknown_alias():
    assert run(alias="nope")[0] == 2


def test_second_run_waits_for_the_lock(bookshop, django_db_blocker):
    run()
    from dbopt.management.graph_commands import one_at_a_time

    held, release, outcome = threading.Event(), threading.Event(), []

    def hold():
        with (
            django_db_blocker.unblock(),
            one_at_a_time("neo4j_indexes:bookshop", database="default", timeout=5, report=print) as is_held,
        ):
            outcome.append(is_held)
            held.set()
            release.wait(30)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)

    code, _, message = run("--timeout", "0.5")
    release.set()
    thread.join(10)

    assert outcome == [True]
    assert (code, message) == (1, "Another run of neo4j_indexes:bookshop is at work for more than 0.5 s.")
    assert run()[0] == 0


def test_processes_started_at_once_all_succeed(graph, tmp_path, neo4j_options):
    script = tmp_path / "both.py"
    script.write_text(
        "import sys, django\n"
        "from django.conf import settings\n"
        f"options = {neo4j_options!r}\n"
        "settings.configure(INSTALLED_APPS=['tests.testapp', 'django.contrib.contenttypes'],"
        " DEFAULT_AUTO_FIELD='django.db.models.BigAutoField', DBOPT={'NEO4J': {'bookshop': options}})\n"
        "django.setup()\n"
        "from dbopt.management.commands.neo4j_indexes import Command\n"
        "Command().run_from_argv(['manage.py', 'neo4j_indexes', '--alias', 'bookshop', '--json', '--skip-checks'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)
    ]

    results = [(json.loads(process.communicate(timeout=60)[0]), process.returncode) for process in processes]

    assert [(result["in_sync"], code) for result, code in results] == [(True, 0)] * 2
    assert sorted(name for result, _ in results for name in result["created"]) == sorted(CREATED)


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        call_command("neo4j_indexes", "--help")

    out = capsys.readouterr().out
    assert "  manage.py neo4j_indexes apply --allow-drop  also where an index must be dropped first\n" in out
    assert "exit codes: 0 in sync, 1 the server differs" in out


@pytest.mark.parametrize("timeout", ["0", "-1", "inf", "nan", "soon"])
def test_wrong_timeout_is_refused(timeout):
    with pytest.raises(CommandError, match="argument --timeout"):
        call_command("neo4j_indexes", "--timeout", timeout)
