"""Plans of queries, and what is suspicious in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dbopt.exceptions import GraphQueryError
from dbopt.neo4j.cypher import read_statement
from dbopt.neo4j.drivers import driver_version
from dbopt.neo4j.queries import Query, execute

if TYPE_CHECKING:
    import neo4j

    from dbopt.conf import Neo4jSettings

_SUSPICIOUS = {
    "AllNodesScan": "reads every node: name a label, and a property with an index",
    "NodeByLabelScan": "reads every node of a label: an index on the filtered properties would find them",
    "DirectedRelationshipTypeScan": "reads every relationship of a type: begin at an indexed node or property",
    "UndirectedRelationshipTypeScan": "reads every relationship of a type: begin at an indexed node or property",
    "DirectedAllRelationshipsScan": "reads every relationship: name a type, and begin at an indexed node",
    "UndirectedAllRelationshipsScan": "reads every relationship: name a type, and begin at an indexed node",
    "CartesianProduct": "combines every row with every row: connect the two patterns",
    "Eager": "keeps all rows in memory before it goes on: write and read in separate queries where it is large",
}


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One operator of a plan.

    Attributes:
        operator: its name without the server's suffix.
        estimated_rows: the planner's guess.
        rows: real rows, of a profile only.
        db_hits: work in the store, of a profile only.
    """

    operator: str
    details: str
    estimated_rows: float
    rows: int | None
    db_hits: int | None
    children: tuple[PlanNode, ...] = ()

    def walk(self) -> Iterator[PlanNode]:
        """Yield this operator and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        kind: an operator's name, or the server's GQL status (with driver 5: its code).
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan and its findings.

    Attributes:
        query_type: "r", "w", "rw" or "s" (schema).
    """

    plan: PlanNode
    findings: tuple[Finding, ...]
    query_type: str

    def operators(self) -> list[str]:
        """Return the names of all operators, the last to run first."""
        return [node.operator for node in self.plan.walk()]


def explain_query(alias: str, settings: Neo4jSettings, query: Query) -> Explanation:
    """Ask for the plan without running the query."""
    return _planned(alias, settings, query, "EXPLAIN")


def profile_query(alias: str, settings: Neo4jSettings, query: Query) -> Explanation:
    """Run a query that only reads, and return its plan with real numbers."""
    explained = explain_query(alias, settings, query)
    if explained.query_type != "r":
        raise GraphQueryError(
            f"profile runs the query, and this one writes (type {explained.query_type!r}). Use explain.", alias=alias
        )
    return _planned(alias, settings, query, "PROFILE")


def findings_of(plan: PlanNode) -> tuple[Finding, ...]:
    """Return what is suspicious in a plan; pure."""
    seen: dict[tuple[str, str], Finding] = {}
    for node in plan.walk():
        if node.operator in _SUSPICIOUS:
            text = f"{node.operator} {node.details}".strip() + f" {_SUSPICIOUS[node.operator]}"
            seen.setdefault((node.operator, node.details), Finding(node.operator, text))
    return tuple(seen.values())


def _planned(alias: str, settings: Neo4jSettings, query: Query, how: str) -> Explanation:
    if read_statement(query.cypher).verb in ("EXPLAIN", "PROFILE"):
        raise GraphQueryError("The query itself begins with EXPLAIN or PROFILE: leave that word out.", alias=alias)
    # A session that hears every notification: those about performance are of the lowest severity.
    asked = replace(query, cypher=f"{how} {query.cypher}", notifications="INFORMATION", measured=False)
    summary = execute(alias, settings, asked).summary
    raw: Any = summary.profile if how == "PROFILE" else summary.plan
    plan = _node(raw)
    return Explanation(
        plan=plan, findings=(*findings_of(plan), *_notifications(summary)), query_type=summary.query_type or ""
    )


def _node(raw: Mapping[str, Any]) -> PlanNode:
    args = raw.get("args", {})
    rows, hits = raw.get("rows"), raw.get("dbHits")
    return PlanNode(
        operator=re.sub(r"@\w+$", "", raw["operatorType"]),
        details=str(args.get("Details", "")),
        estimated_rows=float(args.get("EstimatedRows", 0)),
        rows=None if rows is None else int(rows),
        db_hits=None if hits is None else int(hits),
        children=tuple(_node(child) for child in raw.get("children", ())),
    )


def _notifications(summary: neo4j.ResultSummary) -> Iterator[Finding]:
    if driver_version() < (6, 0):
        # Driver 5 has GQL status as a preview that warns, and notifications instead.
        for notification in summary.notifications or ():
            yield Finding(str(notification["code"]), str(notification["description"]))
        return
    for status in summary.gql_status_objects:
        if status.is_notification:
            yield Finding(status.gql_status, status.status_description)
