"""Load a folder of CSV files into a tenant."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.core.validators import validate_slug

from dbopt.intelgraph.import_format import TABLES, raw_rows
from dbopt.intelgraph.loading import Report, load
from dbopt.intelgraph.management.bulk import BulkCommand
from dbopt.intelgraph.models import Tenant
from dbopt.management.exit_codes import FINDINGS, WRONG_USE

EXAMPLES = """\
examples:
  manage.py intelgraph_load ./data --tenant acme --create-tenant
  manage.py intelgraph_load ./data --tenant acme --skip-bad --rejected ./rejected.csv

exit codes: 0 ok, 1 bad rows or files (nothing written), 2 wrong use, 3 server out of reach
"""
MAX_SHOWN = 100
MAX_SLUG = 64


class Command(BulkCommand):
    """The import format of the domain: entities, relationships, investigations, sources."""

    help = "Load a folder of CSV files into a tenant, in one transaction; a second run changes nothing."

    examples = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("folder", type=Path, metavar="DIR", help="folder with entities.csv and its like")
        parser.add_argument("--tenant", required=True, metavar="SLUG", help="whose rows they are")
        parser.add_argument("--create-tenant", action="store_true", help="create the tenant if it is not there")
        parser.add_argument("--skip-bad", action="store_true", help="load the good rows, write the others to a file")
        parser.add_argument(
            "--rejected",
            type=Path,
            metavar="FILE",
            help="where --skip-bad writes (intelgraph_load-rejected.csv; it is overwritten)",
        )
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Load, and say what was done."""
        # call_command() passes its arguments on as they are.
        folder = Path(options["folder"])
        self._check_use(folder, options)
        report = self._load(folder, options)
        rejected = None
        if report.problems and report.is_loaded:
            rejected = Path(options["rejected"] or "intelgraph_load-rejected.csv")
            _write_rejected(rejected, folder, report)
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(report, rejected)))
        else:
            self._tell(report, rejected)
        if not report.is_loaded:
            raise CommandError(f"Nothing was written: {_counted(len(report.problems))}.", returncode=FINDINGS)

    def _check_use(self, folder: Path, options: dict[str, Any]) -> None:
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.", returncode=WRONG_USE)
        if options["rejected"] and not options["skip_bad"]:
            raise CommandError("--rejected goes with --skip-bad.", returncode=WRONG_USE)
        try:
            validate_slug(options["tenant"])
        except ValidationError as error:
            message = f"--tenant {options['tenant']!r} is not a slug: letters, digits, - and _ only."
            raise CommandError(message, returncode=WRONG_USE) from error
        if len(options["tenant"]) > MAX_SLUG:
            raise CommandError(f"--tenant is longer than {MAX_SLUG} characters.", returncode=WRONG_USE)

    def _load(self, folder: Path, options: dict[str, Any]) -> Report:
        try:
            with self.work(options) as (connection, tell):
                return load(
                    connection,
                    folder,
                    tenant=options["tenant"],
                    create_tenant=options["create_tenant"],
                    skip_bad=options["skip_bad"],
                    progress=tell,
                )
        except Tenant.DoesNotExist as error:
            message = f"There is no tenant {options['tenant']!r}; --create-tenant creates it."
            raise CommandError(message, returncode=WRONG_USE) from error
        except OSError as error:
            message = f"{error.filename}: {error.strerror}; nothing was written."
            raise CommandError(message, returncode=FINDINGS) from error

    def _tell(self, report: Report, rejected: Path | None) -> None:
        for problem in report.problems[:MAX_SHOWN]:
            self.stderr.write(str(problem))
        if len(report.problems) > MAX_SHOWN:
            self.stderr.write(f"and {len(report.problems) - MAX_SHOWN:,} more")
        if not report.is_loaded:
            return
        for name, loaded in report.files.items():
            links = f", {loaded.links:,} memberships" if name == "investigations.csv" else ""
            self.stdout.write(
                f"{name}: {loaded.rows:,} rows, {loaded.inserted:,} new, {loaded.updated:,} changed{links}"
            )
        if rejected is not None:
            self.stdout.write(f"{_counted(len(report.problems))} left out; see {rejected}")
        self.stdout.write(f"Loaded into tenant {report.tenant}." if report.is_changed else "Nothing changed.")


def _counted(problems: int) -> str:
    return "1 problem" if problems == 1 else f"{problems:,} problems"


def _as_json(report: Report, rejected: Path | None) -> dict[str, Any]:
    return {
        "tenant": report.tenant,
        "loaded": report.is_loaded,
        "changed": report.is_changed,
        "files": {name: dataclasses.asdict(loaded) for name, loaded in report.files.items()}
        if report.is_loaded
        else {},
        "problem_count": len(report.problems),
        "problems": [dataclasses.asdict(problem) for problem in report.problems[:MAX_SHOWN]],
        "rejected": None if rejected is None else str(rejected),
    }


def _write_rejected(path: Path, folder: Path, report: Report) -> None:
    """Where a row stood, what is wrong with it, and the row itself as a JSON array."""
    by_file: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for problem in report.problems:
        reason = problem.reason if problem.column is None else f"{problem.column} {problem.reason}"
        by_file[problem.file][problem.line or 0].append(reason)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "line", "reason", "row"])
        for table in TABLES:
            reasons = by_file.get(table.file)
            if not reasons:
                continue
            rows = dict(raw_rows(folder, table, reasons))
            for line, texts in sorted(reasons.items()):
                # JSON in ASCII: it can spell bytes that are not UTF-8, and NUL.
                writer.writerow([table.file, line, "; ".join(texts), json.dumps(rows.get(line))])
