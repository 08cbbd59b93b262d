"""Declared graph indexes and constraints against the server: plan, check, apply."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from dbopt.management.examples import ExamplesCommand
from dbopt.management.exit_codes import FINDINGS, WRONG_USE
from dbopt.management.graph_commands import command_errors, one_at_a_time
from dbopt.management.progress import ProgressLine
from dbopt.neo4j.connections import Graph, graphs
from dbopt.neo4j.schema.apply import Applied, apply_rules
from dbopt.neo4j.schema.discover import declared_rules
from dbopt.neo4j.schema.plan import CHANGE, CREATE, OK, Plan, PlanItem, make_plan
from dbopt.neo4j.schema.read import read_live

if TYPE_CHECKING:
    from dbopt.neo4j.schema.rules import Rule


class Command(ExamplesCommand):
    """Compare and create graph indexes."""

    help = "Create the Neo4j indexes and constraints that apps declare in graph_schema.py; never drops by itself."
    examples = """\
examples:
  manage.py neo4j_indexes                     create what is missing, wait until it is online, verify
  manage.py neo4j_indexes plan                show what apply would do, with its Cypher
  manage.py neo4j_indexes check --json        for CI: exit 1 where the server differs
  manage.py neo4j_indexes apply --allow-drop  also where an index must be dropped first

exit codes: 0 in sync, 1 the server differs, 2 contradicting declarations or wrong use, 3 server out of reach
"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to do, and where."""
        parser.add_argument("action", nargs="?", default="apply", choices=["apply", "plan", "check"])
        parser.add_argument("--alias", default="default", help='alias of DBOPT["NEO4J"] (default: %(default)s)')
        parser.add_argument(
            "--timeout", type=_seconds, default=600.0, help="seconds for a statement, and for waiting (%(default)g)"
        )
        parser.add_argument("--allow-drop", action="store_true", help="drop what stands in the way of a declaration")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--database", default="default", help="Django database that holds the lock of apply")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it; the exit code tells how it went."""
        with command_errors():
            graph = graphs[options["alias"]].for_maintenance()
            rules = declared_rules(graph.alias)
            if options["action"] == "apply":
                self._apply(graph, rules, options)
            else:
                self._compare(graph, rules, options)

    def _compare(self, graph: Graph, rules: list[Rule], options: dict[str, Any]) -> None:
        plan = make_plan(rules, read_live(graph))
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(graph, plan), indent=2))
        else:
            self._show(graph, plan, with_cypher=options["action"] == "plan")
        if plan.errors:
            raise CommandError("The declarations contradict each other.", returncode=WRONG_USE)
        if options["action"] == "check" and not plan.is_in_sync:
            raise CommandError(
                f"{graph.alias!r} is not in sync with the declarations. Run: manage.py neo4j_indexes",
                returncode=FINDINGS,
            )

    def _apply(self, graph: Graph, rules: list[Rule], options: dict[str, Any]) -> None:
        began = time.monotonic()
        progress = ProgressLine(self.stderr, quiet=options["verbosity"] == 0)
        # The server is asked first: without it there is no reason to wait for a lock.
        graph.read("RETURN 1", name="dbopt.reach")
        try:
            with one_at_a_time(
                f"neo4j_indexes:{graph.alias}",
                database=options["database"],
                timeout=options["timeout"],
                report=progress.update,
            ):
                applied = apply_rules(
                    graph,
                    rules,
                    timeout=options["timeout"],
                    allow_drop=options["allow_drop"],
                    report=progress.update,
                )
        finally:
            progress.done()
        seconds = time.monotonic() - began
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(graph, applied.after, applied=applied, seconds=seconds), indent=2))
        else:
            self._show_applied(graph, applied, seconds)
        if not applied.is_verified:
            raise CommandError(
                f"{graph.alias!r} is not in sync with the declarations: {_left(applied)}.", returncode=FINDINGS
            )

    def _show(self, graph: Graph, plan: Plan, *, with_cypher: bool) -> None:
        self.stdout.write(f"Neo4j {plan.version} {plan.edition}, {graph.alias!r}, database {graph.settings.database!r}")
        for item in plan.items:
            self.stdout.write(_line(item))
            for statement in item.cypher if with_cypher else ():
                self.stdout.write(f"            {statement};")
        self._show_conflicts(plan)
        self.stdout.write(_counted(plan))

    def _show_conflicts(self, plan: Plan) -> None:
        for conflict in plan.conflicts:
            self.stdout.write(f"dbopt.{conflict.code}: {conflict.text} {conflict.hint}")

    def _show_applied(self, graph: Graph, applied: Applied, seconds: float) -> None:
        plan = applied.after
        self.stdout.write(f"Neo4j {plan.version} {plan.edition}, {graph.alias!r}, database {graph.settings.database!r}")
        for item in plan.items:
            made = item.action == OK and item.name in applied.created
            if made or item.action != "OK":
                self.stdout.write(_line(item, word="CREATED" if made else item.action))
        for refused in applied.refused:
            self.stdout.write(f"NOT DONE    {refused.item.name}: {refused.reason}")
        changed = f"{len(applied.created)} created, {len(applied.dropped)} dropped"
        self.stdout.write(
            f"{changed if applied.created or applied.dropped else 'Nothing to do'} in {seconds:.1f} s; {_counted(plan)}"
        )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _line(item: PlanItem, *, word: str = "") -> str:
    reason = f" ({item.reason})" if item.reason else ""
    return f"{word or item.action:<11} {item.kind:<8} {item.name}  {item.target}{reason}"


def _counted(plan: Plan) -> str:
    return ", ".join(f"{count} {action}" for action, count in plan.summary().items()) or "no app declares anything"


def _left(applied: Applied) -> str:
    left = [item.name for item in applied.after.items if item.action in (CREATE, CHANGE)]
    pending = [item.name for item in applied.after.items if item.pending]
    parts = [f"not done: {', '.join(left)}"] if left else []
    parts += [f"still being filled: {', '.join(pending)}"] if pending else []
    return "; ".join(parts) or "something changed meanwhile"


def _as_json(
    graph: Graph, plan: Plan, *, applied: Applied | None = None, seconds: float | None = None
) -> dict[str, Any]:
    result: dict[str, Any] = {
        "alias": graph.alias,
        "database": graph.settings.database,
        "edition": plan.edition,
        "version": plan.version,
        "in_sync": plan.is_in_sync,
        "items": [
            {
                "action": item.action,
                "kind": item.kind,
                "name": item.name,
                "live_name": item.live_name,
                "target": item.target,
                "reason": item.reason,
                "cypher": item.cypher,
            }
            for item in plan.items
        ],
        "conflicts": [{"code": f"dbopt.{item.code}", "text": item.text} for item in plan.conflicts],
        "summary": plan.summary(),
    }
    if applied is not None:
        result |= {
            "created": list(applied.created),
            "dropped": list(applied.dropped),
            "refused": [{"name": item.item.name, "reason": item.reason} for item in applied.refused],
            "seconds": round(seconds or 0.0, 3),
        }
    return result
