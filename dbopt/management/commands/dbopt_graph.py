"""Project models to the graph."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from dbopt.management.examples import ExamplesCommand
from dbopt.management.exit_codes import FINDINGS, INTERRUPTED, WRONG_USE
from dbopt.management.graph_commands import command_errors, one_at_a_time
from dbopt.management.progress import ProgressLine
from dbopt.neo4j.connections import Graph, graphs
from dbopt.neo4j.projections.rows import tenant_exists
from dbopt.neo4j.projections.sync import Synced, projections_of, require_constraints, sync_projection
from dbopt.neo4j.schema.discover import graph_schemas

if TYPE_CHECKING:
    from dbopt.neo4j.projections.declare import Projection

_LOCK_WAIT = 600.0
_MAX_BATCH = 50_000


class Command(ExamplesCommand):
    """Bring the graph to what the database has."""

    help = "Project models to Neo4j as apps declare it in graph_schema.py."
    examples = """\
examples:
  manage.py dbopt_graph sync                  project every row of every declared model
  manage.py dbopt_graph sync --tenant acme    the rows of one tenant
  manage.py dbopt_graph sync --json           counts as one JSON object

A second run changes nothing. What was deleted in the database stays in the graph.

exit codes: 0 done, 1 some relationships have no ends in the graph, 2 wrong use (no such tenant, no uniqueness
constraint), 3 server out of reach
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to do, and for whom."""
        parser.add_argument("action", choices=["sync"])
        parser.add_argument("--tenant", help="the rows of one tenant (its name, where the app declares one)")
        parser.add_argument("--batch", type=_batch, default=2000, help="rows in a transaction (%(default)d)")
        parser.add_argument("--alias", default="default", help='alias of DBOPT["NEO4J"] (default: %(default)s)')
        parser.add_argument("--database", default="default", help="Django database to read (default: %(default)s)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it; the exit code tells how it went."""
        began = time.monotonic()
        progress = ProgressLine(self.stderr, quiet=options["verbosity"] == 0)
        done: list[Synced] = []
        try:
            with command_errors():
                self._sync(graphs[options["alias"]].for_maintenance(), options, progress, done)
        except KeyboardInterrupt as error:
            raise CommandError(
                "Interrupted. Whole batches are in the graph; run it again for the rest.", returncode=INTERRUPTED
            ) from error
        finally:
            progress.done()
        self._show(done, options, time.monotonic() - began)
        unconnected = sum(item.unconnected for item in done)
        if unconnected:
            raise CommandError(
                f"{unconnected:,} relationships were not written: an end is not in the graph, or of another tenant.",
                returncode=FINDINGS,
            )

    def _sync(self, graph: Graph, options: dict[str, Any], progress: ProgressLine, done: list[Synced]) -> None:
        tenant, database = options["tenant"], options["database"]
        projections = projections_of(graph_schemas(graph.alias))
        _require_tenant(projections, tenant, database)
        require_constraints(graph, projections)
        with one_at_a_time(f"dbopt_graph:{graph.alias}", database=database, timeout=_LOCK_WAIT, report=progress.update):
            for projection in projections:
                done.append(  # noqa: PERF401 (what is done is shown even when the next one fails)
                    sync_projection(
                        graph,
                        projection,
                        tenant=tenant,
                        database=database,
                        batch=options["batch"],
                        report=progress.update,
                    )
                )

    def _show(self, done: list[Synced], options: dict[str, Any], seconds: float) -> None:
        changed = any(item.is_changed for item in done)
        if options["json"]:
            result = {
                "alias": options["alias"],
                "tenant": options["tenant"],
                "changed": changed,
                "seconds": round(seconds, 3),
                "projections": [asdict(item) for item in done],
            }
            self.stdout.write(json.dumps(result, indent=2))
            return
        for item in done:
            self.stdout.write(
                f"{item.model} to {item.target}: {item.rows:,} rows, {item.created:,} created, {item.changed:,} changed, "
                f"{item.moved:,} moved, {item.unchanged:,} unchanged, {item.unconnected:,} without ends"
            )
        if not done:
            self.stdout.write(f"No app declares a projection for {options['alias']!r}.")
        elif changed:
            self.stdout.write(f"Done in {seconds:.1f} s.")
        else:
            self.stdout.write(f"Nothing to change; compared in {seconds:.1f} s.")


def _require_tenant(projections: list[Projection], tenant: str | None, database: str) -> None:
    if tenant is None:
        return
    for projection in projections:
        if not tenant_exists(projection, tenant, database=database):
            raise CommandError(f"There is no tenant {tenant!r}.", returncode=WRONG_USE)


def _batch(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MAX_BATCH:
        raise ArgumentTypeError(f"must be 1 to {_MAX_BATCH}")
    return value
