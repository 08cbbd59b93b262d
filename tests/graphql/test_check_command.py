"""`manage.py dbopt_check`: what it shows, and the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from types import ModuleType

import graphene
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test import override_settings
from django.urls import include, path
from django_redis import get_redis_connection
from graphene_django import DjangoListField, DjangoObjectType
from graphene_django.registry import Registry

from dbopt.graphql import DataLoader, GraphQLView, KeysetConnectionField, RelatedLoader, batch, optimize
from dbopt.tenancy import current_tenant, require_tenant
from tests.testapp.models import Author, Book, Publisher

REGISTRY = Registry()


class AuthorBooks(RelatedLoader):
    relation = Author.books


class Counts(DataLoader):
    def batch_load(self, keys):
        return [Book.objects.filter(author=key).count() for key in keys]


class BookNode(DjangoObjectType):
    class Meta:
        model = Book
        fields = ("id", "title", "author")
        registry = REGISTRY


class AuthorNode(DjangoObjectType):
    slow = graphene.Int()
    quick = graphene.Int()
    counted = graphene.Int()
    loaded = graphene.List(BookNode, limit=graphene.Int(default_value=5))

    class Meta:
        model = Author
        fields = ("id", "name")
        registry = REGISTRY

    def resolve_slow(self, info):
        return Book.objects.filter(author=self, title__gt="secret").count()

    @batch
    def resolve_quick(parents, info):  # noqa: N805
        return [len(found) for found in [list(Book.objects.filter(author__in=parents))] for _ in parents]

    def resolve_counted(self, info):
        return Counts(info.context).load(self.pk)

    def resolve_loaded(self, info, limit):
        return AuthorBooks(info.context).load(self.pk)


class Query(graphene.ObjectType):
    authors = KeysetConnectionField(AuthorNode, order_by="id")
    whoami = graphene.String()
    secret = graphene.String()

    def resolve_whoami(self, info):
        assert info.context.user.is_authenticated
        return f"{info.context.user} of {current_tenant()}"

    def resolve_secret(self, info):
        return str(require_tenant())


class Rename(graphene.Mutation):
    ok = graphene.Boolean()

    def mutate(self, info):
        for author in Author.objects.order_by("pk"):
            author.name = "renamed"
            author.save()
        transaction.on_commit(lambda: pytest.fail("a hook ran"))
        return Rename(ok=True)


class Mutation(graphene.ObjectType):
    rename = Rename.Field()


class Open(graphene.ObjectType):
    books = DjangoListField(BookNode)


class PublisherNode(DjangoObjectType):
    class Meta:
        model = Publisher
        fields = ("id", "name")
        registry = REGISTRY


class Tidy(graphene.ObjectType):
    publishers = KeysetConnectionField(PublisherNode, order_by="id")


SCHEMA = optimize(graphene.Schema(query=Query, mutation=Mutation))
TIDY = graphene.Schema(query=Tidy)
HERE = __name__


def served(*schemas):
    """Serve them, the second one below a prefix."""
    addresses = ModuleType("addresses")
    addresses.urlpatterns = [path("graphql", GraphQLView.as_view(schema=schema)) for schema in schemas[:1]]
    inner = [path("graphql", GraphQLView.as_view(schema=schema)) for schema in schemas[1:]]
    addresses.urlpatterns.append(path("inner/", include(inner)))
    return override_settings(ROOT_URLCONF=addresses)


def check(*arguments):
    """Return (exit code, output, message)."""
    output = StringIO()
    try:
        call_command("dbopt_check", *arguments, stdout=output)
    except CommandError as error:
        return error.returncode, output.getvalue(), str(error)
    return 0, output.getvalue(), ""


def findings(*arguments):
    code, output, _ = check(*arguments, "--json")
    found = json.loads(output)["findings"]
    assert code == (1 if found else 0)
    return [(row["id"], row["subject"]) for row in found]


@pytest.fixture
def document(tmp_path):
    def write(text):
        file = tmp_path / "home.graphql"
        file.write_text(text)
        return str(file)

    return write


@pytest.fixture
def authors(db):
    authors = Author.objects.bulk_create([Author(name=f"A{n}", email=f"{n}@example.com") for n in range(8)])
    Book.objects.bulk_create([Book(title="B", author=author) for author in authors])
    return authors


def test_findings_are_shown_with_what_to_do():
    code, output, message = check("--section", "graphql", "--schema", f"{HERE}.SCHEMA")

    slow, rename = output.splitlines()[0], output.splitlines()[2]
    assert slow.startswith(
        "dbopt.W504  AuthorNode.slow asks for each AuthorNode of a list: Book.objects (tests/graphql/"
    )
    assert output.splitlines()[1].startswith("            Use a loader, or @batch for all parents at once.")
    assert rename.startswith("dbopt.W505  Mutation.rename asks in a loop:") or "W501" in output
    assert (code, message) == (1, f"{output.count('dbopt.W')} findings.")


def test_tidy_schema_has_none():
    assert check("--section", "graphql", "--schema", f"{HERE}.TIDY") == (0, "Nothing found.\n", "")


def test_json_has_one_object_a_finding():
    _, output, _ = check("--section", "graphql", "--schema", f"{HERE}.SCHEMA", "--json")

    row = next(row for row in json.loads(output)["findings"] if row["id"] == "dbopt.W504")
    assert sorted(row) == ["hint", "id", "level", "message", "subject"]
    assert (row["level"], row["subject"]) == (30, "AuthorNode.slow")


def test_served_schemas_are_found_once_each():
    with served(graphene.Schema(query=Open), SCHEMA):
        found = findings("--section", "graphql")
    with served(TIDY), override_settings(GRAPHENE={"SCHEMA": f"{HERE}.TIDY"}):
        assert findings("--section", "graphql") == []

    assert ("dbopt.W501", "Open.books") in found
    assert ("dbopt.W504", "AuthorNode.slow") in found


def test_view_without_a_schema_of_its_own_serves_the_default():
    addresses = ModuleType("addresses")
    addresses.urlpatterns = [path("graphql", GraphQLView.as_view())]

    with override_settings(ROOT_URLCONF=addresses, GRAPHENE={"SCHEMA": f"{HERE}.SCHEMA"}):
        assert ("dbopt.W504", "AuthorNode.slow") in findings("--section", "graphql")
    with override_settings(ROOT_URLCONF=addresses, GRAPHENE={"SCHEMA": "nope.schema"}):
        assert check("--section", "graphql")[0] == 2
    with override_settings(ROOT_URLCONF=addresses):
        assert findings("--section", "graphql") == []


def test_settings_are_checked_too():
    with override_settings(DBOPT={"CACHE": {"SOCKET_TIMEOUT": 9.0}}):
        assert ("dbopt.W203", None) in findings("--section", "system")
    with override_settings(DBOPT={"CACHE": {"SOCKET_TIMEOUT": 9.0}}, SILENCED_SYSTEM_CHECKS=["dbopt.W203"]):
        assert ("dbopt.W203", None) not in findings("--section", "system")


def test_servers_are_asked_only_with_a_database(db):
    about_the_server = {"dbopt.W205", "dbopt.W206", "dbopt.W207", "dbopt.W208"}

    assert about_the_server.isdisjoint(name for name, _ in findings("--section", "system"))
    is_unlimited = not get_redis_connection().info("memory")["maxmemory"]
    found = findings("--section", "system", "--database", "default")
    assert (("dbopt.W206", None) in found) == is_unlimited


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schema", "nope.schema"], "The schema 'nope.schema' cannot be imported: No module named 'nope'."),
        (["--schema", f"{HERE}.HERE"], f"'{HERE}.HERE' is no graphene.Schema but str."),
        (["--database", "nope"], "There is no database 'nope'. Known: default."),
    ],
)
def test_wrong_use(arguments, message):
    assert check(*arguments) == (2, "", message)


def test_unknown_setting_is_wrong_use():
    with override_settings(DBOPT={"GRAPHQL": {"MAX_LIST_SIZES": 3}}):
        code, _, message = check("--section", "graphql", "--schema", f"{HERE}.TIDY")

    assert (code, "no key 'MAX_LIST_SIZES'" in message) == (2, True)


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        call_command("dbopt_check", "--help")

    shown = capsys.readouterr().out
    assert "manage.py dbopt_check --section graphql --json " in shown
    assert "exit codes: 0 nothing found, 1 findings, 2 wrong use" in shown


def test_server_out_of_reach_in_a_process_of_its_own():
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    environment |= {"DBOPT_TEST_DATABASE_URL": "postgresql://nobody:hidden@127.0.0.1:1/nothing"}

    done = subprocess.run(
        [sys.executable, "-m", "django", "dbopt_check", "--database", "default"],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (done.returncode, "out of reach" in done.stderr, "hidden" in done.stderr) == (3, True, False)


SMALL_PROJECT = """
import sys, types, django, graphene
from django.conf import settings
from django.core.management import call_command

urls = types.ModuleType("urls")
urls.urlpatterns = []
settings.configure(
    INSTALLED_APPS=["graphene_django", "dbopt"], SECRET_KEY="x", ROOT_URLCONF=urls, USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

class Query(graphene.ObjectType):
    one = graphene.Int()

    def resolve_one(self, info):
        return len(info.context.method)

schema = graphene.Schema(query=Query)
sys.modules["small"] = types.SimpleNamespace(SCHEMA=schema)
call_command("dbopt_check", section=["graphql"], schema="small.SCHEMA")
call_command("dbopt_check", trace=[sys.argv[1]], schema="small.SCHEMA")
"""


def test_project_without_users_and_content_types(document):
    done = subprocess.run(
        [sys.executable, "-c", SMALL_PROJECT, document("{ one }")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing found.\nNothing found.\n", "")


def trace(file, *arguments):
    return check("--schema", f"{HERE}.SCHEMA", "--trace", file, *arguments)


def test_trace_names_the_field_that_repeats_a_statement(authors, document):
    code, output, message = trace(document("{ authors { nodes { name slow } } }"))

    assert (code, message) == (1, "1 finding.")
    line = output.splitlines()[0]
    assert line.startswith(
        f"dbopt.W506  {document('{ authors { nodes { name slow } } }')}: AuthorNode.slow asked 8 times ("
    )
    assert "tests/graphql/test_check_command.py:" in line
    assert 'FROM "testapp_book" WHERE' in line
    assert "secret" not in output


def test_trace_of_loaders_and_batches_finds_nothing(authors, document):
    assert trace(document("{ authors { nodes { name quick loaded { title author { name } } } } }")) == (
        0, "Nothing found.\n", "",
    )  # fmt: skip


def test_trace_names_the_loader_that_asks_in_a_loop(authors, document):
    code, output, _ = trace(document("{ authors { nodes { counted } } }"))

    assert (code, "loader Counts asked 8 times (tests/graphql/test_check_command.py:" in output) == (1, True)


def test_trace_takes_threshold_variables_and_operation(authors, document):
    file = document("query A($n: Int) { authors(first: $n) { nodes { slow } } } query B { __typename }")

    assert trace(file, "--operation", "A", "--variables", '{"n": 4}')[0] == 0
    assert trace(file, "--operation", "A", "--variables", '{"n": 4}', "--often", "4")[0] == 1
    assert trace(file, "--operation", "B", "--often", "1")[0] == 0


@override_settings(DBOPT={"GRAPHQL": {"CHECK_EXCEPTIONS": {"AuthorNode.slow": "shown to three people"}}})
def test_trace_keeps_to_the_exceptions(authors, document):
    assert trace(document("{ authors { nodes { slow } } }"))[0] == 0


def test_trace_runs_as_a_user_and_a_tenant(db, document):
    User.objects.create_user("ada")

    assert trace(document("{ whoami secret }"), "--user", "ada", "--tenant", "7")[0] == 0


def test_answer_with_errors_is_a_finding_that_shows_no_values(db, document):
    code, output, _ = trace(document("{ whoami secret }"))

    assert code == 1
    assert "2 errors in the answer, the first at whoami (AssertionError)." in output


def test_mutation_is_run_only_when_allowed_and_rolled_back(authors, document):
    file = document("mutation { rename { ok } }")

    code, _, message = trace(file)
    assert (code, "a mutation is only run with --allow-mutations" in message) == (2, True)

    code, output, _ = trace(file, "--allow-mutations")
    assert (code, "Mutation.rename asked 8 times" in output) == (1, True)
    assert not Author.objects.filter(name="renamed").exists()


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("{ authors", [], "no GraphQL document: Syntax Error"),
        ("{ nope }", [], "Cannot query field 'nope' on type 'Query'."),
        ("query A { whoami } query B { secret }", [], "name one of its operations with --operation."),
        ("{ whoami }", ["--user", "nobody"], "there is no user 'nobody'."),
        ("{ whoami }", ["--variables", "[]"], "--variables must be a JSON object."),
        ("{ whoami }", ["--variables", "{"], "Expecting property name"),
    ],
)
def test_what_cannot_be_traced(db, document, text, arguments, message):
    code, _, shown = trace(document(text), *arguments)

    assert (code, message in shown) == (2, True)


def test_missing_document(db):
    code, _, message = trace("/nowhere/home.graphql")

    assert (code, "No such file" in message) == (2, True)


def test_trace_leaves_no_wrapper_behind(authors, document):
    before = list(connection.execute_wrappers)
    trace(document("{ authors { nodes { slow } } }"))

    assert connection.execute_wrappers == before


@pytest.mark.django_db(transaction=True)
def test_trace_of_a_mutation_commits_nothing(document):
    Author.objects.create(name="kept", email="a@example.com")

    trace(document("mutation { rename { ok } }"), "--allow-mutations")

    assert [author.name for author in Author.objects.all()] == ["kept"]
