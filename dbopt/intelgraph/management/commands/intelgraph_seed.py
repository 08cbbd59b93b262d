"""Fill the domain with synthetic data."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from dbopt.intelgraph.management.bulk import BulkCommand
from dbopt.intelgraph.seeding import DifferentSeedError, Seeded, seed
from dbopt.management.exit_codes import WRONG_USE

EXAMPLES = """\
examples:
  manage.py intelgraph_seed --entities 100000
  manage.py intelgraph_seed --entities 5000 --tenants 3 --seed 7 --replace

exit codes: 0 ok, 2 wrong use, 3 server out of reach
"""


class Command(BulkCommand):
    """Deterministic data, skewed like real data, in one transaction."""

    help = "Fill the domain with synthetic data: the same arguments give the same rows; a second run changes nothing."

    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--entities", type=int, required=True, metavar="N", help="entities over all tenants")
        parser.add_argument("--tenants", type=int, default=5, metavar="N", help="tenants; the first gets most (5)")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="other numbers give other data (1)")
        parser.add_argument("--replace", action="store_true", help="delete data of this seed first")
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Seed, and say what was done."""
        _check_use(options)
        begun = time.perf_counter()
        try:
            with self.work(options) as (connection, tell):
                seeded = seed(
                    connection,
                    entities=options["entities"],
                    tenants=options["tenants"],
                    seed_number=options["seed"],
                    replace=options["replace"],
                    progress=tell,
                )
        except DifferentSeedError as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        self._tell(seeded, time.perf_counter() - begun, as_json=options["json"])

    def _tell(self, seeded: Seeded, seconds: float, *, as_json: bool) -> None:
        if as_json:
            result = {"changed": seeded.changed, "tenants": seeded.tenants, "counts": seeded.counts}
            self.stdout.write(json.dumps({**result, "seconds": round(seconds, 2)}))
            return
        what = ", ".join(f"{count:,} {name}" for name, count in seeded.counts.items())
        if seeded.changed:
            self.stdout.write(f"Seeded {what} in {len(seeded.tenants)} tenants ({seconds:.1f} s).")
        else:
            self.stdout.write(f"Nothing changed: {what} are there already.")


def _check_use(options: dict[str, Any]) -> None:
    for name in ("entities", "tenants"):
        if options[name] < 1:
            raise CommandError(f"--{name} is {options[name]}; it must be at least 1.", returncode=WRONG_USE)
    if options["tenants"] > options["entities"]:
        message = f"--tenants is {options['tenants']}, more than --entities ({options['entities']})."
        raise CommandError(message, returncode=WRONG_USE)
