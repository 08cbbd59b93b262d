"""README.md is true: every command that it shows is run here, with its code, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENV = Path(sys.prefix)
INSTALL = "pip install '.[all]'"
ADD_EXTRA = "pip install 'dbopt[redis]'"
SET_UP = ["python manage.py migrate", "python manage.py neo4j_indexes"]
TEST = "python -m dbopt.testing.services run -- pytest"
# Commands that end in a figure, with the figures that they may end in.
FIGURES = {
    "curl -s localhost:8000/health/cache-stats | jq '.overall.hitRate'": r"null|0\.\d+|[01]",
    "curl -s localhost:8000/health/slow-queries | jq '. | length'": r"\d+",
    "curl -s localhost:8000/health/database | jq '.postgres.pool.utilization'": r"0\.\d+|[01]",
}
# Commands of make, with the recipe that each one runs.
RECIPES = {
    "make demo": f"{VENV}/bin/python manage.py demo",
    "make demo ARGS=--once": f"{VENV}/bin/python manage.py demo --once",
}
ADDRESSES = {
    '"postgresql://user@localhost/shop"': 'os.environ["DATABASE_URL"]',
    '"redis://localhost:6379/0"': 'os.environ["REDIS_URL"]',
    '"bolt://localhost:7687"': 'os.environ["NEO4J_URI"]',
    '"PASSWORD": "..."': '"PASSWORD": os.environ["NEO4J_PASSWORD"]',
}
# What a reader has at hand when the examples begin, and what they must have given at their end.
BEFORE = """
import django
django.setup()
from collections import defaultdict
from types import SimpleNamespace
import graphene
from dbopt.intelgraph.models import Entity, Relationship, Tenant
from dbopt.intelgraph.schema import Query
from dbopt.tenancy import tenant_context

tenant = Tenant.objects.create(slug="shop", name="Shop")
assert tenant.pk == 1
entity = Entity.objects.create(tenant=tenant, type="person", name="Ada")
related = Relationship.objects.create(tenant=tenant, source=entity, target=entity, type="KNOWS")
cursor, info = None, SimpleNamespace(context=SimpleNamespace())
with tenant_context(1):
"""
AFTER = """
assert recent_entities(1, "person") == [entity]
assert (page.rows, page.has_next) == ([entity], False)
assert RelationshipsOfEntity(info.context).load(entity.pk).get() == [related]
assert schema.execute("{ __typename }", context_value=info.context).errors is None
assert list(rows) == []
"""


def blocks(language=""):
    """Contents of the fenced blocks of a language."""
    readme = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def commands(page):
    """Commands of a page: the lines of blocks without a language, and those inside sentences."""
    fenced, text = [], []
    for number, part in enumerate(re.split(r"^```", (ROOT / page).read_text(), flags=re.MULTILINE)):
        language, _, lines = part.partition("\n")
        if number % 2 == 0:
            text.append(part)
        elif language in ("", "console", "sh", "shell", "bash"):
            fenced += lines.splitlines()
    return {*fenced, *re.findall(r"`((?:curl|make|pip|python) [^`]+)`", "".join(text))}


def environment(**variables):
    """The environment of a user who has set nothing, with the programs of this environment."""
    strange = ("DBOPT_", "PYTEST_", "COV", "DJANGO_", "DATABASE_URL", "REDIS_URL", "NEO4J_", "MAKE", "MFLAGS", "ARGS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    return {**kept, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **variables}


def run(command, folder, *, timeout=300, **variables):
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(command):
    """A command of make that uses this environment as it is: a copy of the tree must not install itself there."""
    return f"{command} --old-file={VENV}/.ready VENV={VENV}"


def test_every_command_is_run_below():
    assert commands("README.md") == {INSTALL, *SET_UP, TEST, *FIGURES, *RECIPES}
    assert commands("docs/index.md") == {INSTALL, ADD_EXTRA, *RECIPES}


@pytest.mark.parametrize("command", RECIPES)
def test_target_of_make_runs_its_recipe(command):
    assert run(f"{make(command)} --dry-run", ROOT).strip() == RECIPES[command]


def write_project(folder):
    """A new project with README's settings and addresses, and a script of README's examples."""
    run("django-admin startproject myproject .", folder)
    settings, urls, *examples = blocks("python")
    for address, variable in ADDRESSES.items():
        assert settings.count(address) == 1
        settings = settings.replace(address, variable)
    for name, block in (("settings", f"import os\n{settings}"), ("urls", urls)):
        with (folder / f"myproject/{name}.py").open("a") as file:
            file.write(block)
    shutil.copy(ROOT / "example_project/tenancy.py", folder / "myproject/tenancy.py")
    (folder / "examples.py").write_text(BEFORE + textwrap.indent("".join(examples) + AFTER, "    "))


def requests_to_a_server():
    """Shell lines that serve the project on a free port and ask it for README's figures."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"localhost:{free.getsockname()[1]}"
    return [
        f"python manage.py runserver --noreload {host} &",
        "trap 'kill $!' EXIT",
        f"curl --silent --fail --retry 30 --retry-connrefused --retry-delay 1 {host}/health/live",
        *(command.replace("localhost:8000", host) + " >>figures" for command in FIGURES),
    ]


@pytest.mark.long
def test_new_project_works_as_written(tmp_path):
    write_project(tmp_path)
    missing = [program for program in ("curl", "jq") if shutil.which(program) is None]
    examples = "DJANGO_SETTINGS_MODULE=myproject.settings python -W error examples.py"
    requests = [] if missing else requests_to_a_server()
    (tmp_path / "steps.sh").write_text("\n".join(["set -e", *SET_UP, examples, *requests]))
    (tmp_path / "test_steps.py").write_text(
        "import subprocess\n\n\ndef test_steps():\n    subprocess.run(['sh', 'steps.sh'], check=True)\n"
    )

    run(TEST, tmp_path)

    if missing:
        pytest.skip(f"README's requests to /health/ need {' and '.join(missing)}")
    printed = (tmp_path / "figures").read_text().splitlines()
    assert len(printed) == len(FIGURES)
    for figure, pattern in zip(printed, FIGURES.values(), strict=True):
        assert re.fullmatch(pattern, figure)


@pytest.fixture
def tree(tmp_path):
    """A copy of the tree as it is, with what is not committed yet."""
    for name in run("git ls-files --cached --others --exclude-standard -z", ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            copy = tmp_path / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)
    return tmp_path / "tree"


@pytest.mark.long
def test_package_installs_from_a_clone_and_an_extra_afterwards_leaves_it(tree, tmp_path):
    run("python -m venv new", tmp_path)
    new = {"PATH": f"{tmp_path}/new/bin:{os.environ['PATH']}", "PYTHONPATH": ""}

    run(INSTALL, tree, timeout=900, **new)
    printed = run(ADD_EXTRA, tmp_path, **new)

    assert "Successfully installed" not in printed
    clients = "django_redis, graphene, neo4j, prometheus_client, promise, psycopg_pool, pytest_django"
    run(f"pip check && python -c 'import dbopt.intelgraph, {clients}'", tmp_path, **new)


@pytest.mark.long
def test_demo_runs_in_a_copy_of_the_tree(tree):
    printed = run(make('make demo ARGS="--once --entities 1000"'), tree, PYTHONPATH="")

    assert "1,000 entities  3,000 relationships" in printed
    assert "new value seen after the write: yes" in printed
    assert "Health: pass" in printed
