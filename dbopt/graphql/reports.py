"""What an operation asked of databases and loaders, for the ``extensions`` of its response."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from dbopt.monitoring.aggregate import statistics_of_process
from dbopt.monitoring.records import RequestRecord, current_record, track_request
from dbopt.signals import batch_loaded

# Relations and loaders ask once a level; what is asked more often than this is most likely asked in a loop.
_OFTEN = 5
_MOST_REPEATED = 10

# Texts of statements are looked up among those that this process saw in the last seconds.
_WINDOW = 60.0

_Groups = dict[str, tuple[int, float, str | None]]
_current: ContextVar[OperationReport | None] = ContextVar("dbopt_graphql_report", default=None)


class OperationReport:
    """Counts of one operation. Belongs to one thread."""

    def __init__(self, record: RequestRecord) -> None:
        self._record = record
        self._started = perf_counter()
        self._before = (record.statements, record.seconds, record.cypher)
        self._groups_before = _groups(record)
        self._loaders: dict[str, dict[str, Any]] = {}

    def count_batch(self, *, loader: str, size: int, hits: int, seconds: float, **_: Any) -> None:
        """Count a batch of a loader: a receiver of `batch_loaded`, which hears those of other threads too."""
        if _current.get() is not self:
            return
        row = self._loaders.setdefault(loader, {"loader": loader, "batches": 0, "keys": 0, "hits": 0, "seconds": 0.0})
        row["batches"] += 1 if size else 0
        row["keys"] += size
        row["hits"] += hits
        row["seconds"] = round(row["seconds"] + seconds, 6)

    def summary(self) -> dict[str, Any]:
        """Return the counts until now, in seconds; statements without parameters and literals."""
        record = self._record
        statements, seconds, cypher = self._before
        return {
            "seconds": round(perf_counter() - self._started, 6),
            "statements": record.statements - statements,
            "statementSeconds": round(record.seconds - seconds, 6),
            "graphStatements": record.cypher - cypher,
            "repeated": self._repeated(),
            "loaders": list(self._loaders.values()),
        }

    def _repeated(self) -> list[dict[str, Any]]:
        """Return the statements that look like N+1, the most frequent first."""
        found = []
        for fingerprint, (count, seconds, origin) in _groups(self._record).items():
            count_before, seconds_before, _ = self._groups_before.get(fingerprint, (0, 0.0, None))
            if count - count_before > _OFTEN:
                found.append((count - count_before, seconds - seconds_before, fingerprint, origin))
        found.sort(key=lambda row: row[:3], reverse=True)
        texts = {row.fingerprint: row.text for row in statistics_of_process().rows(window=_WINDOW)} if found else {}
        return [
            {
                "statement": texts.get(fingerprint, fingerprint),
                "count": count,
                "seconds": round(seconds, 6),
                "origin": origin,
            }
            for count, seconds, fingerprint, origin in found[:_MOST_REPEATED]
        ]


def _groups(record: RequestRecord) -> _Groups:
    """Return count, seconds and a line of code for each fingerprint."""
    groups: _Groups = {}
    for (fingerprint, origin), (count, seconds) in list(record.groups.items()):
        known_count, known_seconds, known_origin = groups.get(fingerprint, (0, 0.0, None))
        groups[fingerprint] = (known_count + int(count), known_seconds + seconds, known_origin or origin)
    return groups


@contextmanager
def reported() -> Iterator[OperationReport]:
    """Count what is asked inside. The record of the request, if there is one, goes on counting it too."""
    with ExitStack() as stack:
        record = current_record() or stack.enter_context(track_request("graphql"))
        report = OperationReport(record)
        token = _current.set(report)
        batch_loaded.connect(report.count_batch, weak=False)
        try:
            yield report
        finally:
            batch_loaded.disconnect(report.count_batch)
            _current.reset(token)
