"""Help texts that keep the lines of their examples."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter


class _Formatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's order of options, and the epilog as it was written."""


class ExamplesCommand(BaseCommand):
    """A command whose help ends with its examples, as they were written."""

    examples: ClassVar[str]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Put the examples below the options."""
        return super().create_parser(prog_name, subcommand, formatter_class=_Formatter, epilog=self.examples, **kwargs)
