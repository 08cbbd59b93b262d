"""What a person should know before going live."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.checks import WARNING, CheckMessage
from django.core.management.base import CommandError
from django.db import OperationalError, connections

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, MissingExtraError, require_extra
from dbopt.management.examples import ExamplesCommand
from dbopt.management.exit_codes import FINDINGS, OUT_OF_REACH, WRONG_USE
from dbopt.management.sections import SECTIONS, Scope
from dbopt.monitoring.n_plus_one import OFTEN


class Command(ExamplesCommand):
    """List what is worth a look, and end with 1 if there is something."""

    help = "Look at settings, schemas and the source of resolvers for what will hurt in production."
    examples = """\
examples:
  manage.py dbopt_check                                 everything that needs no server
  manage.py dbopt_check --database default              also what the servers say of themselves
  manage.py dbopt_check --section graphql --json        one section, for a pipeline
  manage.py dbopt_check --schema shop.schema.schema     another schema than those that are served
  manage.py dbopt_check --trace queries/home.graphql --user ada --tenant 1
                                                        run a document as the view would, roll back what it wrote, and
                                                        list the statements that it repeats with the fields that ask

Source is read, not run: a loop or a write that is built at run time does not show. --trace counts what really happens.

to say that a finding is all right, with the reason:
  # dbopt: allow W504 the rows are always prefetched    a comment in the resolver, or in the line above it
  DBOPT["GRAPHQL"]["CHECK_EXCEPTIONS"]                  {"Author.rank": "at most ten authors"}
  SILENCED_SYSTEM_CHECKS                                ["dbopt.W204"]

exit codes: 0 nothing found, 1 findings, 2 wrong use (no such schema, document, user), 3 a database is out of reach
"""
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to look at, and what to run."""
        parser.add_argument(
            "--database", action="append", default=[], metavar="ALIAS", help="also ask this database (repeatable)"
        )
        parser.add_argument("--section", action="append", choices=list(SECTIONS), help="only this one (repeatable)")
        parser.add_argument("--schema", metavar="PATH", help="dotted path of a graphene.Schema (default: those served)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        tracing = parser.add_argument_group("running a document")
        tracing.add_argument("--trace", action="append", default=[], metavar="FILE", help="a GraphQL document to run")
        tracing.add_argument("--variables", default="{}", metavar="JSON", help="its variables")
        tracing.add_argument("--operation", metavar="NAME", help="which of its operations")
        tracing.add_argument("--user", metavar="NAME", help="who asks (default: nobody)")
        tracing.add_argument("--tenant", metavar="PK", help="the current tenant")
        tracing.add_argument(
            "--often", type=int, default=OFTEN, help="a statement is repeated from here on (%(default)d)"
        )
        tracing.add_argument(
            "--allow-mutations",
            action="store_true",
            help="run mutations too: rows are rolled back, mails, files and other stores are not",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Look, and show what was found."""
        with _errors():
            for alias in options["database"]:
                _connect(alias)
            messages = self._messages(options)
        findings = [found for found in messages if found.level >= WARNING and not found.is_silenced()]
        if options["json"]:
            self.stdout.write(json.dumps({"findings": list(map(_as_dict, findings))}, indent=2))
        else:
            self._show(findings)
        if findings:
            raise CommandError(f"{len(findings)} finding{'s'[: len(findings) > 1]}.", returncode=FINDINGS)

    def _messages(self, options: dict[str, Any]) -> list[CheckMessage]:
        scope = Scope(tuple(options["database"]), options["schema"])
        # Who runs a document wants to know about it: the rest on demand.
        wanted = options["section"] or ([] if options["trace"] else SECTIONS)
        messages = [found for name, look in SECTIONS.items() if name in wanted for found in look(scope)]
        for path in options["trace"]:
            messages += _traced(path, options)
        return messages

    def _show(self, findings: list[CheckMessage]) -> None:
        for found in findings:
            self.stdout.write(f"{found.id}  {found.msg}")
            if found.hint:
                self.stdout.write(f"            {found.hint}")
        if not findings:
            self.stdout.write("Nothing found.")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, MissingExtraError) as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error
    except OperationalError as error:
        raise CommandError(f"A database is out of reach ({type(error).__name__}).", returncode=OUT_OF_REACH) from error


def _connect(alias: str) -> None:
    if alias not in connections:
        known = ", ".join(connections)
        raise CommandError(f"There is no database {alias!r}. Known: {known}.", returncode=WRONG_USE)
    connections[alias].ensure_connection()


def _traced(path: str, options: dict[str, Any]) -> Iterable[CheckMessage]:
    require_extra("graphene_django", "graphql")
    from dbopt.graphql.audit.questions import Question, findings_of
    from dbopt.graphql.audit.served import schema_at, served_schemas

    schemas = served_schemas() if options["schema"] is None else [schema_at(options["schema"])]
    if len(schemas) != 1:
        raise CommandError(f"{len(schemas)} schemas are served. Name one with --schema.", returncode=WRONG_USE)
    try:
        question = Question(
            name=path,
            text=Path(path).read_text(encoding="utf-8"),
            variables=_variables(options["variables"]),
            operation=options["operation"],
            user=options["user"],
            tenant=options["tenant"],
            databases=tuple(options["database"]) or tuple(connections),
            may_write=options["allow_mutations"],
        )
        return findings_of(schemas[0], question, often=options["often"], settings=dbopt_settings.graphql)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}", returncode=WRONG_USE) from error


def _variables(text: str) -> dict[str, Any]:
    variables = json.loads(text)
    if not isinstance(variables, dict):
        raise ValueError("--variables must be a JSON object.")  # noqa: TRY004  # wrong text, not a wrong type of ours
    return variables


def _as_dict(found: CheckMessage) -> dict[str, Any]:
    subject = found.obj if isinstance(found.obj, str) else None
    return {"id": found.id, "level": found.level, "subject": subject, "message": found.msg, "hint": found.hint}
