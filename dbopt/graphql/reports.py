"""What an operation asked of databases and loaders, for the ``extensions`` of its response."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dbopt.monitoring import tracker
from dbopt.monitoring.n_plus_one import OFTEN
from dbopt.signals import batch_loaded, cypher_executed, loader_unbatched

if TYPE_CHECKING:
    from dbopt.monitoring.aggregate import Observation

_MOST_REPEATED = 10

_current: ContextVar[OperationReport | None] = ContextVar("dbopt_graphql_report", default=None)


@dataclass(slots=True)
class _Statement:
    text: str
    count: int = 0
    seconds: float = 0.0
    origin: str | None = None


class OperationReport:
    """Counts of one operation. Belongs to one thread."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._statements: dict[str, _Statement] = {}
        self._graph_statements = 0
        self._loaders: dict[str, dict[str, Any]] = {}
        self._unbatched: list[dict[str, Any]] = []

    def count_statement(self, seen: Observation) -> None:
        """Count a statement of SQL."""
        row = self._statements.get(seen.fingerprint)
        if row is None:
            row = self._statements[seen.fingerprint] = _Statement(seen.text)
        row.count += 1
        row.seconds += seen.seconds
        row.origin = row.origin or seen.origin

    def count_cypher(self, **_: Any) -> None:
        """Count a statement of Cypher: a receiver of `cypher_executed`, which hears those of other threads too."""
        self._graph_statements += _current.get() is self

    def count_batch(self, *, loader: str, size: int, hits: int, seconds: float, **_: Any) -> None:
        """Count a batch of a loader: a receiver of `batch_loaded`, which hears those of other threads too."""
        if _current.get() is not self:
            return
        row = self._loaders.setdefault(loader, {"loader": loader, "batches": 0, "keys": 0, "hits": 0, "seconds": 0.0})
        row["batches"] += 1 if size else 0
        row["keys"] += size
        row["hits"] += hits
        row["seconds"] = round(row["seconds"] + seconds, 6)

    def note_unbatched(self, *, loader: str, resolver: str | None, origin: str | None, **_: Any) -> None:
        """Note a loader that does not batch: a receiver of `loader_unbatched`, which hears those of other threads too."""
        if _current.get() is self:
            self._unbatched.append({"loader": loader, "resolver": resolver, "origin": origin})

    def summary(self) -> dict[str, Any]:
        """Return the counts until now, in seconds; statements without parameters and literals."""
        statements = self._statements.values()
        repeated = sorted((row for row in statements if row.count >= OFTEN), key=lambda row: -row.count)
        return {
            "seconds": round(perf_counter() - self._started, 6),
            "statements": sum(row.count for row in statements),
            "statementSeconds": round(sum(row.seconds for row in statements), 6),
            "graphStatements": self._graph_statements,
            "repeated": [
                {"statement": row.text, "count": row.count, "seconds": round(row.seconds, 6), "origin": row.origin}
                for row in repeated[:_MOST_REPEATED]
            ],
            "loaders": list(self._loaders.values()),
            "unbatched": self._unbatched,
        }


@contextmanager
def reported() -> Iterator[OperationReport]:
    """Count what is asked inside."""
    if _count_statement not in tracker.observers:
        # For good: taking an observer away while another thread walks the list would hide a statement from the next.
        tracker.observers.append(_count_statement)
    report = OperationReport()
    token = _current.set(report)
    batch_loaded.connect(report.count_batch, weak=False)
    cypher_executed.connect(report.count_cypher, weak=False)
    loader_unbatched.connect(report.note_unbatched, weak=False)
    try:
        yield report
    finally:
        batch_loaded.disconnect(report.count_batch)
        cypher_executed.disconnect(report.count_cypher)
        loader_unbatched.disconnect(report.note_unbatched)
        _current.reset(token)


def _count_statement(seen: Observation) -> None:
    report = _current.get()
    if report is not None:
        report.count_statement(seen)
