"""Documents that are remembered, parsed and validated."""

from __future__ import annotations

import dataclasses
import gc
import threading
import weakref

import pytest
from django.test import override_settings
from graphql import ASTValidationRule, GraphQLError, build_schema, specified_rules

from dbopt.conf import GraphQLSettings
from dbopt.graphql.safety.documents import Documents, TextCache, documents_of, rules_of

OPTIONS = GraphQLSettings()
SCHEMA = build_schema("type Query { a: Int b(first: Int): [Query] name: String }")


def prepare(documents, text, options=OPTIONS, *, schema=SCHEMA, rules=()):
    return documents.prepare(schema, text, options, rules=rules, max_errors=None)


def test_document_is_prepared_once_for_its_text():
    documents = Documents()

    first = prepare(documents, "{ a }")

    assert prepare(documents, "{ a }") is first
    assert prepare(documents, "{ a } ") is not first
    assert first.errors == []


def test_small_refused_document_is_remembered_apart():
    documents = Documents()

    refused = prepare(documents, "{ zzz }")
    long = prepare(documents, "{ zzz }" + " " * 2000)

    assert prepare(documents, "{ zzz }") is refused
    assert prepare(documents, "{ zzz }" + " " * 2000) is not long
    assert [error.message for error in refused.errors] == ["Cannot query field 'zzz' on type 'Query'."]
    assert (len(documents.valid), len(documents.refused)) == (0, 1)


def test_refused_documents_push_out_no_good_one():
    documents = Documents()
    good = prepare(documents, "{ a }")

    for number in range(1000):
        prepare(documents, f"{{ zzz{number} }}")

    assert prepare(documents, "{ a }") is good
    assert len(documents.refused) < 500


def test_nothing_is_remembered_of_what_cannot_be_parsed_or_is_too_large():
    documents = Documents()

    for text in ("{ a", "{ " + "a " * 2000 + "}", "{ ...F } fragment F on Query { ...F }"):
        with pytest.raises(GraphQLError):
            prepare(documents, text)

    assert (len(documents.valid), len(documents.refused)) == (0, 0)


def test_limits_hold_for_remembered_documents_too():
    documents = Documents()
    prepare(documents, "{ b { b { a __typename } } }")

    with pytest.raises(GraphQLError, match="3 levels of fields"):
        prepare(documents, "{ b { b { a __typename } } }", dataclasses.replace(OPTIONS, max_depth=2))


def test_introspection_that_is_switched_off_later_is_refused_for_remembered_documents():
    documents = Documents()
    prepare(documents, "{ __schema { description } }")

    with pytest.raises(GraphQLError, match="Introspection is disabled"):
        prepare(documents, "{ __schema { description } }", dataclasses.replace(OPTIONS, introspection=False))


def test_cache_can_be_switched_off():
    documents = Documents()
    options = dataclasses.replace(OPTIONS, document_cache_characters=0)

    assert prepare(documents, "{ a }", options) is not prepare(documents, "{ a }", options)
    assert (len(documents.valid), len(documents.refused)) == (0, 0)


def test_errors_with_suggestions_are_remembered_apart():
    documents = Documents()

    with override_settings(DEBUG=True):
        shown = prepare(documents, "{ b { nameX } }")
        assert shown.errors[0].message == "Cannot query field 'nameX' on type 'Query'. Did you mean 'name'?"
        assert prepare(documents, "{ b { nameX } }") is shown
    assert prepare(documents, "{ b { nameX } }") is not shown


class NoA(ASTValidationRule):
    def enter_field(self, node, *_):
        if node.name.value == "a":
            self.report_error(GraphQLError("No a.", node))


class Fragile(ASTValidationRule):
    def __init__(self, context):
        super().__init__(context)
        for definition in context.document.definitions:
            for selection in definition.selection_set.selections:
                if selection.kind == "fragment_spread":
                    context.get_fragment(selection.name.value).name  # noqa: B018  # AttributeError where there is none


def test_rules_of_a_view_are_added_to_those_of_the_specification():
    documents = Documents()

    (error,) = prepare(documents, "{ a }", rules=rules_of([NoA])).errors
    (unknown,) = prepare(documents, "{ zzz }", rules=rules_of([NoA])).errors

    assert error.message == "No a."
    assert unknown.message == "Cannot query field 'zzz' on type 'Query'."
    assert prepare(documents, "{ a }").errors == []
    assert rules_of(specified_rules) == rules_of(None) == ()


def test_rules_of_a_view_see_valid_documents_only():
    (error,) = prepare(Documents(), "{ ...Nobody }", rules=(Fragile,)).errors

    assert error.message == "Unknown fragment 'Nobody'."


def test_cost_is_remembered_unless_variables_have_a_part_in_it():
    documents = Documents()
    constant = prepare(documents, "{ b(first: 3) { a } }")
    variable = prepare(documents, "query ($n: Int) { b(first: $n) { a } }")

    def cost(prepared, variables, options=OPTIONS):
        return prepared.cost(SCHEMA, prepared.document.definitions[0], variables, options)

    assert [cost(constant, {}), cost(constant, None)] == [4, 4]
    assert [cost(variable, {"n": 2}), cost(variable, {"n": 9}), cost(variable, [1])] == [3, 10, 101]
    assert cost(constant, {}, dataclasses.replace(OPTIONS, costs={"Query.a": 5})) == 16


def test_documents_of_a_schema_end_with_it():
    schema = build_schema("type Query { a: Int }")
    gone = weakref.ref(schema)
    assert documents_of(schema) is documents_of(schema)
    assert documents_of(schema) is not documents_of(SCHEMA)
    prepare(documents_of(schema), "{ a }", schema=schema)
    prepare(documents_of(schema), "{ zzz }", schema=schema)

    del schema
    gc.collect()

    assert gone() is None


def test_least_used_text_is_dropped_first():
    cache = TextCache()
    for key in "abc":
        cache.put(key, key, characters=100, limit=900)
    cache.get("a")

    cache.put("d", "d", characters=100, limit=900)

    assert [cache.get(key) for key in "abcd"] == ["a", None, "c", "d"]


def test_text_beyond_the_limit_is_not_kept_and_drops_nothing():
    cache = TextCache()
    cache.put("a", "a", characters=100, limit=900)

    cache.put("b", "b", characters=800, limit=900)

    assert (cache.get("a"), cache.get("b")) == ("a", None)


def test_replacing_a_text_does_not_count_it_twice():
    cache = TextCache()
    for _ in range(10):
        cache.put("a", "a", characters=100, limit=900)
    cache.put("b", "b", characters=100, limit=900)

    assert (cache.get("a"), cache.get("b"), len(cache)) == ("a", "b", 2)


def test_threads_that_fill_at_once_agree():
    documents = Documents()
    barrier = threading.Barrier(8)
    found = []

    def fill(number):
        barrier.wait()
        found.extend(prepare(documents, f"{{ x{step % 7}: a }}").measure.aliases for step in range(40))

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [1] * 320
    assert len(documents.valid) == 7
    assert documents.valid._weight == 7 * (len("{ x0: a }") + 200)
