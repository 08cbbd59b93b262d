"""Persisted documents, in a real Valkey."""

from __future__ import annotations

import hashlib
import json
import threading
from types import SimpleNamespace

import graphene
import pytest
from django.core.cache import cache, caches
from django.test import override_settings

from dbopt.exceptions import ConfigurationError
from dbopt.graphql import GraphQLView
from dbopt.graphql.safety.persisted import PersistedDocuments, listed_documents, stored_documents
from tests.graphql.posting import ask, errors_of


class Query(graphene.ObjectType):
    hello = graphene.String(name=graphene.String())

    def resolve_hello(self, info, name="x"):
        return name


class Mutation(graphene.ObjectType):
    write = graphene.String()

    def resolve_write(self, info):
        return "written"


SCHEMA = graphene.Schema(query=Query, mutation=Mutation)
VIEW = GraphQLView.as_view(schema=SCHEMA)
BATCH = GraphQLView.as_view(schema=SCHEMA, batch=True)
TEXT = "query ($name: String) { hello(name: $name) }"
MEMBER, OTHER = (SimpleNamespace(pk=pk, is_authenticated=True) for pk in (1, 2))
STRANGER = SimpleNamespace(pk=None, is_authenticated=False)
NOT_FOUND = (200, [("PersistedQueryNotFound", {"code": "PERSISTED_QUERY_NOT_FOUND"})])


@pytest.fixture(autouse=True)
def empty_store():
    cache.clear()
    stored_documents.cache_clear()
    yield
    cache.clear()
    stored_documents.cache_clear()


def options(**values):
    return override_settings(DBOPT={"GRAPHQL": {name.upper(): value for name, value in values.items()}})


def automatic(**values):
    return options(persisted="automatic", **values)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def by_id(text_or_id, **body):
    named = text_or_id if len(text_or_id) == 64 and " " not in text_or_id else digest(text_or_id)
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": named}}, **body}


def register(text=TEXT, *, user=MEMBER):
    return ask(VIEW, by_id(text, query=text), user=user)


def refusal(answer):
    status, body = answer
    return status, errors_of(body)


def test_automatic_document_is_kept_and_served_by_its_hash():
    with automatic():
        assert refusal(ask(VIEW, by_id(TEXT))) == NOT_FOUND
        assert register() == (200, {"data": {"hello": "x"}})

        assert ask(VIEW, by_id(TEXT, variables={"name": "y"}), user=STRANGER) == (200, {"data": {"hello": "y"}})


def test_other_process_finds_it_in_the_cache():
    with automatic():
        register()
        stored_documents.cache_clear()

        assert ask(VIEW, by_id(TEXT)) == (200, {"data": {"hello": "x"}})
        cache.clear()
        # And needs no further round trip for it.
        assert ask(VIEW, by_id(TEXT)) == (200, {"data": {"hello": "x"}})


def test_get_works_with_the_parameters_of_apollo():
    with automatic():
        register()
        parameters = {"extensions": json.dumps(by_id(TEXT)["extensions"]), "variables": '{"name": "z"}'}

        assert ask(VIEW, parameters, method="get") == (200, {"data": {"hello": "z"}})


def test_get_of_a_persisted_mutation_is_refused():
    text = "mutation { write }"
    with automatic():
        register(text)

        status, _ = ask(VIEW, {"documentId": digest(text)}, method="get")

    assert status == 405


def test_batch_may_mix_ids_and_texts():
    with automatic():
        register()
        status, answers = ask(BATCH, [by_id(TEXT), {"query": "{ hello }"}, by_id("{ other }")])

    assert status == 200
    assert [answer.get("data") for answer in answers] == [{"hello": "x"}, {"hello": "x"}, None]


def test_hash_of_another_text_is_refused_and_nothing_kept():
    with automatic():
        answer = ask(VIEW, by_id("{ other }", query=TEXT), user=MEMBER)

        assert refusal(answer) == (
            400,
            [("The SHA-256 of the query is another.", {"code": "PERSISTED_QUERY_MISMATCH"})],
        )
        assert refusal(ask(VIEW, by_id("{ other }"))) == NOT_FOUND
        assert refusal(ask(VIEW, by_id(TEXT))) == NOT_FOUND


@pytest.mark.parametrize("text", ["{ nope }", "{ hello", "{ " + "hello " * 3000 + "}"])
def test_document_that_is_refused_is_not_kept(text):
    with automatic():
        assert register(text)[0] == 400

        assert refusal(ask(VIEW, by_id(text))) == NOT_FOUND
    assert cache.keys("*") == []


def test_strangers_add_nothing():
    with automatic():
        assert register(user=STRANGER) == (200, {"data": {"hello": "x"}})
        assert ask(VIEW, by_id(TEXT, query=TEXT)) == (200, {"data": {"hello": "x"}})

        assert refusal(ask(VIEW, by_id(TEXT))) == NOT_FOUND
    assert cache.keys("*") == []


def test_quota_is_of_each_client_and_counts_new_documents_only():
    texts = [f"{{ a{number}: hello }}" for number in range(4)]

    with automatic(persisted_quota=2):
        for text in [texts[0], texts[0], texts[1], texts[2]]:
            assert register(text)[0] == 200
        register(texts[3], user=OTHER)

        found = [ask(VIEW, by_id(text))[1].get("data") is not None for text in texts]

    assert found == [True, True, False, True]


def test_quota_holds_for_concurrent_requests():
    documents = PersistedDocuments("default")
    texts = [f"{{ a{number}: hello }}" for number in range(16)]
    barrier, kept = threading.Barrier(8), []

    def add(own):
        barrier.wait()
        kept.extend(documents.add(digest(text), text, client=lambda: "user 1", options=section) for text in own)
        caches.close_all()

    with automatic(persisted_quota=5):
        from dbopt.conf import dbopt_settings

        section = dbopt_settings.graphql
        threads = [threading.Thread(target=add, args=(texts[number::8],)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(kept) == [False] * 11 + [True] * 5
    assert len(cache.keys("dbopt:graphql:document:*")) == 5


def test_view_may_name_its_clients_itself():
    class ByKey(GraphQLView):
        def persisting_client(self, request):
            return request.headers.get("X-Client")

    view = ByKey.as_view(schema=SCHEMA)
    with automatic():
        ask(view, by_id(TEXT, query=TEXT), headers={"X-Client": "app"})

        assert ask(view, by_id(TEXT)) == (200, {"data": {"hello": "x"}})


def test_text_that_somebody_else_put_into_the_cache_is_not_believed():
    with automatic():
        register()
        stored_documents.cache_clear()
        cache.set(f"dbopt:graphql:document:{digest(TEXT)}", "mutation { write }")

        assert refusal(ask(VIEW, by_id(TEXT))) == NOT_FOUND


@override_settings(
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 0.1},
        }
    }
)
def test_cache_that_is_out_of_reach_costs_texts_only(caplog):
    with automatic():
        assert refusal(ask(VIEW, by_id(TEXT))) == NOT_FOUND
        assert register() == (200, {"data": {"hello": "x"}})

    assert "Persisted documents are out of reach." in caplog.text
    assert "could not be stored" in caplog.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"extensions": {"persistedQuery": {"sha256Hash": 5}}},
            "The id of a document must be a string of 1 to 200 characters.",
        ),
        ({"documentId": ["a"]}, "The id of a document must be a string of 1 to 200 characters."),
        ({"documentId": "x" * 201}, "The id of a document must be a string of 1 to 200 characters."),
        ({"extensions": "{"}, "The extensions are not JSON."),
        ({"extensions": [1]}, "Must provide query string."),
        ({"extensions": {"persistedQuery": "x"}}, "Must provide query string."),
        ({"extensions": {"persistedQuery": {"version": 1}}}, "Must provide query string."),
    ],
)
def test_malformed_id_is_a_clean_400(body, message):
    with automatic():
        status, answer = ask(VIEW, body)

    assert (status, errors_of(answer)) == (400, [(message, None)])


@pytest.mark.parametrize("named", ["x", "../" * 20, "A" * 64, "\x00" * 64, "*" * 64])
def test_id_that_is_no_hash_reaches_no_cache(named):
    with automatic():
        assert refusal(ask(VIEW, {"documentId": named})) == NOT_FOUND


def test_switched_off_it_says_so_and_texts_work():
    assert refusal(ask(VIEW, by_id(TEXT))) == (
        200,
        [("PersistedQueryNotSupported", {"code": "PERSISTED_QUERY_NOT_SUPPORTED"})],
    )
    assert ask(VIEW, by_id("{ other }", query=TEXT), user=MEMBER) == (200, {"data": {"hello": "x"}})
    assert cache.keys("*") == []


# The list


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({"hello-1": TEXT, digest("{ hello }"): "{ hello }"}))
    with options(persisted="listed", persisted_file=str(path)):
        yield str(path)


def test_listed_documents_are_served_by_id_and_by_text(listed):
    assert ask(VIEW, {"documentId": "hello-1", "variables": {"name": "y"}}) == (200, {"data": {"hello": "y"}})
    assert ask(VIEW, by_id("{ hello }")) == (200, {"data": {"hello": "x"}})
    assert ask(VIEW, {"query": TEXT}) == (200, {"data": {"hello": "x"}})


def test_everything_else_is_refused(listed):
    required = (400, [("Only persisted documents may be asked for.", {"code": "PERSISTED_QUERY_REQUIRED"})])

    assert refusal(ask(VIEW, {"query": "{ hello hello }"}, user=MEMBER)) == required
    assert refusal(ask(VIEW, {"documentId": "hello-1", "query": "{ __typename }"}, user=MEMBER)) == required
    assert refusal(register("{ __typename }")) == required
    assert refusal(ask(VIEW, {"documentId": "hello-2"})) == NOT_FOUND
    assert ask(VIEW, {}) == (400, {"errors": [{"message": "Must provide query string."}]})


def test_list_serves_automatic_mode_too(listed):
    with automatic(persisted_file=listed):
        assert ask(VIEW, {"documentId": "hello-1"}) == (200, {"data": {"hello": "x"}})
        assert ask(VIEW, {"query": "{ hello hello }"})[0] == 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "which cannot be read"),
        ("{", "which cannot be read"),
        ("[]", "it must hold a JSON object of texts by their ids"),
        ('{"a": 1}', "it must hold a JSON object of texts by their ids"),
    ],
)
def test_list_that_cannot_be_read_is_an_error_of_the_settings(tmp_path, content, message):
    path = tmp_path / "documents.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigurationError, match=message):
        listed_documents(str(path))


def test_list_without_a_file_is_an_error_of_the_settings():
    from dbopt.conf import parse

    with pytest.raises(ConfigurationError, match="no PERSISTED_FILE lists documents"):
        parse({"GRAPHQL": {"PERSISTED": "listed"}})
