"""The documents of the console and of the demo are ones of the domain's schema."""

from __future__ import annotations

import pytest
from graphql import parse, validate

from dbopt.intelgraph.schema import schema
from example_project.demo.graphql_view import CREATE, DELETE
from example_project.queries import EXAMPLES, NEIGHBOURS


@pytest.mark.parametrize("text", [*(example.query for example in EXAMPLES), NEIGHBOURS, CREATE, DELETE])
def test_document_is_valid(text):
    assert validate(schema.graphql_schema, parse(text)) == []
