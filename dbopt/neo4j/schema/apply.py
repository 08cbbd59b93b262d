"""Bring a server to what is declared: one statement at a time, waited for, and looked at again."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbopt.exceptions import GraphQueryError, GraphSchemaConflictError, GraphSchemaError
from dbopt.neo4j.schema.plan import CHANGE, COVERED, CREATE, OK, Plan, PlanItem, make_plan
from dbopt.neo4j.schema.read import read_indexes, read_live
from dbopt.neo4j.schema.render import create_statement, drop_statement, duplicates_statement, missing_statement
from dbopt.neo4j.schema.rules import INDEXED_KINDS, LiveRule, Rule

if TYPE_CHECKING:
    from dbopt.neo4j.connections import Graph

Report = Callable[[str], None]

_POLL = 0.2
# How long an index that looks like half of a constraint is taken for one that another run is making.
_SETTLE = 3.0


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not carried out, and why."""

    item: PlanItem
    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What apply did.

    Attributes:
        before: the plan that it began with.
        after: what the server looks like now, read again.
        created: names of rules that this run created.
        dropped: names that this run dropped.
    """

    before: Plan
    after: Plan
    created: tuple[str, ...]
    dropped: tuple[str, ...]
    refused: tuple[Refused, ...]

    @property
    def is_verified(self) -> bool:
        """Whether everything that can be there is there, and online."""
        return self.after.is_in_sync and not self.refused


def apply_rules(graph: Graph, declared: Sequence[Rule], *, timeout: float, allow_drop: bool, report: Report) -> Applied:
    """Create what is missing, wait until it is online, and verify.

    May run twice at once: who loses a race reads again, and is content with what the winner made.

    Args:
        graph: whose database is changed.
        declared: every rule of the alias.
        timeout: seconds for each statement, and for the waiting.
        allow_drop: carry out changes for which something must be dropped first; a search in between finds no index.
        report: is told what happens, one short line at a time.

    Raises:
        GraphSchemaConflictError: the declarations contradict each other; nothing was changed.
        GraphError: the server is out of reach.
    """
    before = _settled_plan(graph, declared, timeout=timeout)
    if before.errors:
        raise GraphSchemaConflictError(
            "\n".join(["The declarations contradict each other; nothing was changed.", *_texts(before)]),
            alias=graph.alias,
        )
    run = _Run(graph, declared, timeout, report)
    todo = before.having(CREATE, CHANGE)
    for number, item in enumerate(todo, start=1):
        report(f"{number}/{len(todo)} {item.kind} {item.target}")
        run.carry_out(item, allow_drop=allow_drop)
    _wait_online(graph, declared, timeout=timeout, report=report)
    after = _settled_plan(graph, declared, timeout=timeout)
    there = {item.rule.key for item in after.having(OK, COVERED) if item.rule is not None}
    refused = [item for item in run.refused if item.item.rule is None or item.item.rule.key not in there]
    return Applied(before, after, tuple(run.created), tuple(run.dropped), tuple(refused))


class _Run:
    def __init__(self, graph: Graph, declared: Sequence[Rule], timeout: float, report: Report) -> None:
        self.graph = graph
        self.declared = declared
        self.timeout = timeout
        self.report = report
        self.created: list[str] = []
        self.dropped: list[str] = []
        self.refused: list[Refused] = []

    def carry_out(self, item: PlanItem, *, allow_drop: bool) -> None:
        if item.rule is None:
            return
        if item.drops and not allow_drop:
            self.refused.append(Refused(item, f"{item.reason}: allow it with --allow-drop"))
            return
        # Looked at before anything is dropped: a constraint that cannot be created must not cost an index.
        reason = self._data_against(item.rule) or self._unknown_analyzer(item.rule)
        if reason:
            self.refused.append(Refused(item, reason))
            return
        for live in item.drops:
            self._drop(live)
        self._create(item, item.rule)

    def _drop(self, live: LiveRule) -> None:
        self.graph.write(drop_statement(live), timeout=self.timeout, name="dbopt.drop")
        self.dropped.append(live.name)

    def _create(self, item: PlanItem, rule: Rule) -> None:
        try:
            self.graph.write(create_statement(rule), timeout=self.timeout, name="dbopt.create")
        except GraphSchemaConflictError as error:
            if not self._is_there(rule):
                self.refused.append(Refused(item, str(error)))
        except (GraphSchemaError, GraphQueryError) as error:
            self.refused.append(Refused(item, self._data_against(rule) or str(error)))
        else:
            self.created.append(rule.name)

    def _is_there(self, rule: Rule) -> bool:
        # The key decides: two deploys may have named the same rule differently.
        plan = _settled_plan(self.graph, self.declared, timeout=self.timeout)
        return any(item.rule is not None and item.rule.key == rule.key for item in plan.having(OK, COVERED))

    def _data_against(self, rule: Rule) -> str:
        if rule.kind in INDEXED_KINDS:
            row = self.graph.read(duplicates_statement(rule), timeout=self.timeout, name="dbopt.duplicates")[0]
            if row["value_count"]:
                return (
                    f"the data is against it: {row['value_count']} values stand {row['held_count']} times in "
                    f"{rule.target}. Find them with: {duplicates_statement(rule, show=True)}"
                )
        if rule.kind in ("key", "exists"):
            row = self.graph.read(missing_statement(rule), timeout=self.timeout, name="dbopt.missing")[0]
            if row["missing_count"]:
                return f"the data is against it: {row['missing_count']} of {rule.target} lack a property"
        return ""

    def _unknown_analyzer(self, rule: Rule) -> str:
        wanted = dict(rule.options).get("fulltext.analyzer")
        if wanted is None:
            return ""
        rows = self.graph.read("CALL db.index.fulltext.listAvailableAnalyzers() YIELD analyzer", name="dbopt.analyzers")
        known = [str(row["analyzer"]) for row in rows]
        if wanted in known:
            return ""
        near = difflib.get_close_matches(str(wanted), known, n=1)
        return f"the server has no analyzer {wanted!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _settled_plan(graph: Graph, declared: Sequence[Rule], *, timeout: float) -> Plan:
    """Compare with the server once no other run is in the middle of creating a constraint.

    The server shows the index of a constraint before it shows the constraint, and then as an index of its own.
    """
    began = time.monotonic()
    while True:
        plan = make_plan(declared, read_live(graph))
        halves = [
            index for item in plan.items for index in item.drops if item.rule is not None and _is_half(index, item.rule)
        ]
        waited = time.monotonic() - began
        populating = any(index.state == "POPULATING" for index in halves)
        if not halves or waited > (timeout if populating else min(timeout, _SETTLE)):
            return plan
        time.sleep(_POLL)


def _is_half(index: LiveRule, rule: Rule) -> bool:
    return rule.kind in INDEXED_KINDS and (index.name, index.key) == (rule.name, rule.range_key)


def _wait_online(graph: Graph, declared: Sequence[Rule], *, timeout: float, report: Report) -> None:
    keys = {rule.key for rule in declared} | {rule.range_key for rule in declared if rule.kind in INDEXED_KINDS}
    deadline = time.monotonic() + timeout
    while True:
        waiting = [index for index in read_indexes(graph) if index.key in keys and index.state == "POPULATING"]
        if not waiting or time.monotonic() >= deadline:
            return
        slowest = min(waiting, key=lambda index: index.population)
        report(f"waiting for {len(waiting)} indexes; {slowest.name} {slowest.population:.0f} %")
        time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))


def _texts(plan: Plan) -> list[str]:
    return [f"  dbopt.{conflict.code}: {conflict.text}" for conflict in plan.errors]
