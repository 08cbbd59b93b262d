"""The executor gives graphql-core's data for random schemas, documents and answers, promises or not."""

from __future__ import annotations

import json
import os
import random

import pytest
from graphql import execute, parse

from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.execution.executor import DboptExecutionContext
from tests.graphql.fuzzing import Answers, StockTableLoader, build_schema, document, shapes

SEED = os.environ.get("DBOPT_TEST_FUZZ_SEED", "17")


PER_SCHEMA = 5


def run_schema(seed):
    """Run some documents over one random schema; return graphql-core's results."""
    randomness = random.Random(f"schema {seed}")
    face, fields = shapes(randomness)
    plain = build_schema(face, fields, Answers(seed, promises=False))
    answers = Answers(seed, promises=True)
    deferred = build_schema(face, fields, answers)
    results = []
    for number in range(PER_SCHEMA):
        text = document(randomness, face, fields)
        parsed = parse(text)
        variables = {"n": number, "no": randomness.random() < 0.5}
        expected = execute(plain, parsed, variable_values=variables)
        for schema in (plain, deferred):
            told = f"seed {seed}, document {number}, promises {schema is deferred}\n{text}"
            actual = execute(
                schema,
                parsed,
                variable_values=variables,
                context_value={"table": answers.table, "stock": StockTableLoader(answers.table)},
                **executed_by(DboptExecutionContext),
            )
            compare(actual, expected, told)
        results.append(expected)
    return results


def compare(actual, expected, told):
    told = f"{told}\nexpected errors: {expected.errors}\nactual errors: {actual.errors}"
    # As text: the order of the keys counts too.
    assert json.dumps(actual.data) == json.dumps(expected.data), told
    assert bool(actual.errors) == bool(expected.errors), told
    assert nulled(actual) == nulled(expected), told


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
    with_errors = with_data = 0
    for number in range(count // PER_SCHEMA):
        for result in run_schema(f"{SEED}/{number}"):
            with_errors += bool(result.errors)
            with_data += bool(result.data)
    # The documents are worth something: neither all empty nor all clean.
    assert with_errors > count / 5
    assert with_data > count / 3


def test_random_documents_give_the_data_of_graphql_core():
    run_many(300)


@pytest.mark.long
def test_many_random_documents_give_the_data_of_graphql_core():
    run_many(5000)
