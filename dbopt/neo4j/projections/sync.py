"""Bring projected rows into the graph: compared first, so that what is there already is not written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbopt.exceptions import GraphIntegrityError, GraphSchemaError
from dbopt.neo4j.projections.cypher_of import syncing
from dbopt.neo4j.projections.declare import NodeProjection, Projection, RelationshipProjection
from dbopt.neo4j.projections.rows import Row, chunks, rows_of
from dbopt.neo4j.schema.read import read_live
from dbopt.neo4j.schema.rules import INDEXED_KINDS, NODE, RELATIONSHIP

if TYPE_CHECKING:
    from dbopt.neo4j.connections import Graph
    from dbopt.neo4j.schema.discover import FoundSchema

Report = Callable[[str], None]

# For one batch; the largest ones take longer than a query of an application may.
_BATCH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of a projection's rows.

    Attributes:
        moved: relationships whose ends changed; each was replaced under its id.
        unconnected: relationships without an end in the graph, or with an end of another tenant; not written.
    """

    model: str
    target: str
    rows: int
    created: int
    changed: int
    moved: int
    unchanged: int
    unconnected: int

    @property
    def is_changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.created or self.changed or self.moved)


def projections_of(found: list[FoundSchema]) -> list[Projection]:
    """Return all projections, nodes first: relationships need their ends."""
    nodes: list[Projection] = []
    relationships: list[Projection] = []
    for item in found:
        nodes.extend(item.schema.declared(NodeProjection).values())
        relationships.extend(item.schema.declared(RelationshipProjection).values())
    return nodes + relationships


def require_constraints(graph: Graph, projections: list[Projection]) -> None:
    """Refuse to merge on keys that are not unique: two runs at once would make two nodes.

    Raises:
        GraphSchemaError: a uniqueness constraint is missing.
    """
    unique = {
        (rule.entity, rule.labels, rule.properties) for rule in read_live(graph).rules if rule.kind in INDEXED_KINDS
    }
    for projection in projections:
        entity = NODE if isinstance(projection, NodeProjection) else RELATIONSHIP
        if (entity, (projection.target,), (projection.key,)) not in unique:
            raise GraphSchemaError(
                f"{projection!r} needs a uniqueness constraint on {projection.key!r} of {projection.target!r}: declare "
                f'Unique("{projection.key}") in graph_schema.py and run manage.py neo4j_indexes.',
                alias=graph.alias,
            )


def sync_projection(  # noqa: PLR0913 (by keyword)
    graph: Graph, projection: Projection, *, tenant: str | None, database: str, batch: int, report: Report
) -> Synced:
    """Project all rows of a model, or those of one tenant.

    Each batch is a transaction of its own: when interrupted, whole batches are done, and the next run does the rest.
    Nodes and relationships whose rows are gone stay in the graph.
    """
    queryset = rows_of(projection, tenant=tenant, database=database)
    total = queryset.count()
    counts: Counter[str] = Counter()
    for states in _written(graph, projection, chunks(projection, queryset, size=batch)):
        counts.update(states)
        report(f"{projection.model} to {projection.target}: {counts.total():,} of {total:,}")
    return Synced(
        model=projection.model,
        target=projection.target,
        rows=counts.total(),
        created=counts["new"],
        changed=counts["changed"],
        moved=counts["moved"],
        unchanged=counts["same"],
        unconnected=counts["unconnected"],
    )


def _written(graph: Graph, projection: Projection, batches: Iterable[list[Row]]) -> Iterator[Counter[str]]:
    """Write one batch after the other in a thread, so that the next one is read while the server works."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="dbopt-sync") as writer:
        pending: Future[Counter[str]] | None = None
        for rows in batches:
            if pending is not None:
                yield pending.result()
            pending = writer.submit(_sync_batch, graph, projection, rows)
        if pending is not None:
            yield pending.result()


def _sync_batch(graph: Graph, projection: Projection, rows: list[Row]) -> Counter[str]:
    cypher, name = syncing(projection), f"dbopt.sync.{projection.target}"
    try:
        summary = graph.write(cypher, {"rows": rows}, timeout=_BATCH_SECONDS, name=name)
    except GraphIntegrityError:
        # Another run wrote the same key between our look and our write: look again.
        summary = graph.write(cypher, {"rows": rows}, timeout=_BATCH_SECONDS, name=name)
    return Counter({record["state"]: record["row_count"] for record in summary.records})
