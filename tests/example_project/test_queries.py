"""The documents of the console and of the demo are ones of the domain's schema."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from graphql import parse, validate

from dbopt.intelgraph.schema import schema
from example_project.demo.graphql_view import CREATE, DELETE
from example_project.queries import EXAMPLES, HOSTILE, NEIGHBOURS
from tests.intelgraph.graphql_world import make_world

# What is offered to show how it is refused.
REFUSED = (HOSTILE, EXAMPLES[-1].query)


@pytest.mark.parametrize("text", [*(example.query for example in EXAMPLES), NEIGHBOURS, CREATE, DELETE])
def test_document_is_valid(text):
    assert validate(schema.graphql_schema, parse(text)) == []


@pytest.mark.django_db
@pytest.mark.usefixtures("neo4j_server")
def test_no_document_of_the_console_repeats_a_statement(tmp_path, capsys):
    world = make_world("traced", entities=30)
    paths = []
    for number, example in enumerate(EXAMPLES):
        if example.query not in REFUSED:
            paths.append(tmp_path / f"{number}.graphql")
            paths[-1].write_text(example.query)
    traces = [option for path in paths for option in ("--trace", str(path))]

    call_command(
        "dbopt_check", *traces, schema="dbopt.intelgraph.schema.schema", user="traced", tenant=str(world.tenant.pk)
    )

    assert len(paths) == len(EXAMPLES) - len(REFUSED)
    assert capsys.readouterr().out == "Nothing found.\n"
