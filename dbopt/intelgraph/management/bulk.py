"""What the commands that fill the domain share: all of their work is one transaction on one database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections

from dbopt.management.examples import ExamplesCommand
from dbopt.management.exit_codes import INTERRUPTED, OUT_OF_REACH, WRONG_USE
from dbopt.management.progress import ProgressLine

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class BulkCommand(ExamplesCommand):
    """Options, progress and outages of a command that writes everything or nothing."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare where to write, and how to answer."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    @contextmanager
    def work(self, options: dict[str, Any]) -> Iterator[tuple[BaseDatabaseWrapper, Callable[[str], None]]]:
        """Give the connection, and what shows progress; what ends the work becomes a message and an exit code."""
        alias = options["database"]
        if alias not in connections:
            raise CommandError(f"There is no database {alias!r} in DATABASES.", returncode=WRONG_USE)
        line = ProgressLine(self.stderr, quiet=options["verbosity"] == 0)
        try:
            yield connections[alias], line.update
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted: nothing was written.", returncode=INTERRUPTED) from error
        except OperationalError as error:
            message = f"The database {alias!r} is out of reach, or ended the work; nothing was written."
            raise CommandError(message, returncode=OUT_OF_REACH) from error
        finally:
            line.done()
