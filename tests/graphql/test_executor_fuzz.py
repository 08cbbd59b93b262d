"""The executor gives graphql-core's data for random schemas, documents and answers, promises or not."""

from __future__ import annotations

import json
import os
import random

import pytest
from graphql import execute, parse

from dbopt.graphql.executor import DboptExecutionContext
from tests.graphql.fuzzing import Answers, StockTableLoader, build_schema, document, shapes

SEED = os.environ.get("DBOPT_TEST_FUZZ_SEED", "17")


def run_one(seed):
    randomness = random.Random(f"schema {seed}")
    face, fields = shapes(randomness)
    text = document(randomness, face, fields)
    variables = {"n": 3, "no": randomness.random() < 0.5}
    expected = execute(
        build_schema(face, fields, Answers(seed, promises=False)), parse(text), variable_values=variables
    )
    for promises in (False, True):
        answers = Answers(seed, promises=promises)
        actual = execute(
            build_schema(face, fields, answers),
            parse(text),
            variable_values=variables,
            context_value={"table": answers.table, "stock": StockTableLoader(answers.table)},
            execution_context_class=DboptExecutionContext,
        )
        told = f"seed {seed}, promises {promises}\n{text}\nexpected errors: {expected.errors}\nactual errors: {actual.errors}"
        # As text: the order of the keys counts too.
        assert json.dumps(actual.data) == json.dumps(expected.data), told
        assert bool(actual.errors) == bool(expected.errors), told
        assert nulled(actual) == nulled(expected), told
    return expected


def nulled(result):
    """Positions that errors made null. Which error of several inside one such position is told is left to chance."""
    positions = set()
    for error in result.errors or ():
        place, position = result.data, []
        for key in error.path:
            if place is None:
                break
            place = place[key]
            position.append(key)
        assert place is None, f"{error.path} is not null"
        positions.add(tuple(position))
    return positions


def run_many(count):
    print(f"fuzz seed {SEED}, {count} documents")  # noqa: T201  # shown when it fails
    results = [run_one(f"{SEED}/{number}") for number in range(count)]
    with_errors = sum(1 for result in results if result.errors)
    with_data = sum(1 for result in results if result.data)
    # The documents are worth something: neither all empty nor all clean.
    assert with_errors > count / 5
    assert with_data > count / 3


def test_random_documents_give_the_data_of_graphql_core():
    run_many(300)


@pytest.mark.long
def test_many_random_documents_give_the_data_of_graphql_core():
    run_many(5000)
