"""Fill the domain with synthetic data."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections

from dbopt.intelgraph.seeding import DifferentSeedError, seed
from dbopt.management.examples import ExamplesFormatter
from dbopt.management.progress import ProgressLine

WRONG_USE, OUT_OF_REACH, INTERRUPTED = 2, 3, 130


class Command(BaseCommand):
    """Deterministic data, skewed like real data, in one transaction."""

    help = "Fill the domain with synthetic data: the same arguments give the same rows; a second run changes nothing."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Add examples to the help."""
        kwargs["formatter_class"] = ExamplesFormatter
        kwargs["epilog"] = (
            "examples:\n"
            "  manage.py intelgraph_seed --entities 100000\n"
            "  manage.py intelgraph_seed --entities 5000 --tenants 3 --seed 7 --replace\n"
            "exit codes: 0 ok, 2 wrong use, 3 server out of reach\n"
        )
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--entities", type=int, required=True, metavar="N", help="entities over all tenants")
        parser.add_argument("--tenants", type=int, default=5, metavar="N", help="tenants; the first gets most (5)")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="other numbers give other data (1)")
        parser.add_argument("--replace", action="store_true", help="delete data of this seed first")
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="alias of the database")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, **options: Any) -> None:
        """Seed, and say what was done."""
        for name, minimum in (("entities", 1), ("tenants", 1)):
            if options[name] < minimum:
                raise CommandError(f"--{name} is {options[name]}; it must be at least {minimum}.", returncode=WRONG_USE)
        if options["tenants"] > options["entities"]:
            raise CommandError(
                f"--tenants is {options['tenants']}, more than --entities ({options['entities']}).",
                returncode=WRONG_USE,
            )
        if options["database"] not in connections:
            raise CommandError(f"There is no database {options['database']!r} in DATABASES.", returncode=WRONG_USE)
        line = ProgressLine(self.stderr, quiet=options["verbosity"] == 0)
        begun = time.perf_counter()
        try:
            seeded = seed(
                connections[options["database"]],
                entities=options["entities"],
                tenants=options["tenants"],
                seed_number=options["seed"],
                replace=options["replace"],
                progress=line.update,
            )
        except DifferentSeedError as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted: nothing was written.", returncode=INTERRUPTED) from error
        except OperationalError as error:
            raise CommandError(
                f"The database {options['database']!r} is out of reach, or ended the work; nothing was written.",
                returncode=OUT_OF_REACH,
            ) from error
        finally:
            line.done()
        seconds = time.perf_counter() - begun
        if options["json"]:
            result = {"changed": seeded.changed, "tenants": seeded.tenants, "counts": seeded.counts}
            self.stdout.write(json.dumps({**result, "seconds": round(seconds, 2)}))
            return
        what = ", ".join(f"{count:,} {name}" for name, count in seeded.counts.items())
        if seeded.changed:
            self.stdout.write(f"Seeded {what} in {len(seeded.tenants)} tenants ({seconds:.1f} s).")
        else:
            self.stdout.write(f"Nothing changed: {what} are there already.")
