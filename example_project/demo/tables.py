"""The demo's figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report line by line."""
    counts = report["counts"]
    yield "  ".join(f"{counts[name]:,} {name}" for name in ("entities", "relationships", "investigations"))
    yield from index_lines(report["indexes"])
    yield from _section("GraphQL: entities with their relationships and the other ends")
    rows: list[Sequence[str]] = [("", "statements", "ms")]
    for name, title in (("without", "without loaders"), ("with", "with loaders"), ("async", "the asynchronous view")):
        figures = report["graphql"][name]
        rows.append((title, f"{figures['statements']:,}", f"{figures['ms']:.1f}"))
    yield from _table(rows)
    yield from _view_lines(report["graphql"])
    pages = report["pagination"]
    yield from _section(f"A page of {pages['page_size']}, ms")
    yield from _table(
        [
            ("", "first page", f"row {pages['deep_row']:,} of {pages['rows']:,}"),
            *(
                (f"by {way}", f"{pages[f'{way}_ms']['first']:.2f}", f"{pages[f'{way}_ms']['deep']:.2f}")
                for way in ("cursor", "offset")
            ),
        ]
    )
    cache = report["cache"]
    yield from _section("Cache: entities per type")
    yield from _table(
        [
            ("read", "ms"),
            ("without cache", f"{cache['uncached_ms']:.2f}"),
            ("cold", f"{cache['cold_ms']:.2f}"),
            (f"warm ({cache['warm_statements']} statements)", f"{cache['warm_ms']:.2f}"),
            ("right after a write", f"{cache['after_write_ms']:.2f}"),
        ]
    )
    yield f"  new value seen after the write: {'yes' if cache['new_value_seen'] else 'NO'}"
    neo4j = report["neo4j"]
    yield from _section(f"Neo4j: {neo4j['keys']} entities")
    yield from _table(
        [("", "ms"), ("one by one", f"{neo4j['single_ms']:.1f}"), ("in one batch", f"{neo4j['batch_ms']:.1f}")]
    )
    yield from _section(f"Health: {report['health']['status']}")
    for name, check in report["health"].get("checks", {}).items():
        yield f"  {name}: {check['status']} ({check.get('ms', 0):.0f} ms)"


def _view_lines(graphql: dict[str, Any]) -> Iterator[str]:
    neighbours, refused, kept = graphql["neighbours"], graphql["refused"], graphql["kept"]
    yield from _section("GraphQL: what else the view does")
    costs = {
        f"25 of {neighbours['total']:,} neighbours in Neo4j": neighbours["first"],
        "the next 25, by cursor": neighbours["second"],
        "entities per type": kept["cold"],
        "the same, kept": kept["warm"],
        "the same, after a mutation": kept["after_mutation"],
        f"refused: {refused['code']}, {refused['actual']:,} of {refused['limit']:,}": refused,
    }
    rows = [(name, str(cost["statements"]), str(cost["cypher"]), f"{cost['ms']:.2f}") for name, cost in costs.items()]
    yield from _table([("", "SQL", "Cypher", "ms"), *rows])
    yield f"  new value seen after the mutation: {'yes' if kept['new_value_seen'] else 'NO'}"
    persisted = graphql["persisted"]
    yield f"  the query above by its hash: {persisted['hash_bytes']} bytes instead of {persisted['text_bytes']}"


def index_lines(compared: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the plans of `indexes.compare`, and a word on indexes that the planner left alone."""
    yield from _section("Indexes: the same query without its index, and with it")
    rows: list[Sequence[str]] = [("query", "without ms", "pages", "with ms", "pages", "plan with the index")]
    for row in compared:
        before, after = row["before"], row["after"]
        plan = ", ".join(dict.fromkeys(after["scans"])) + (" + sort" if after["sorts"] else "")
        rows.append(
            (row["query"], f"{before['ms']:.2f}", str(before["pages"]), f"{after['ms']:.2f}", str(after["pages"]), plan)
        )
    yield from _table(rows)
    if not all(row["used"] for row in compared):
        yield "  A table of a few pages is read whole, whatever indexes it has: load more rows to see them used."


def _section(title: str) -> Iterator[str]:
    yield ""
    yield title


def _table(rows: list[Sequence[str]]) -> Iterator[str]:
    """Lines of a table with a head; columns of figures line up on the right, those of text on the left."""
    columns = []
    for column in zip(*rows, strict=True):
        width = max(map(len, column))
        are_figures = all(cell[:1].isdigit() for cell in column[1:])
        columns.append([cell.rjust(width) if are_figures else cell.ljust(width) for cell in column])
    for row in zip(*columns, strict=True):
        yield "  " + "  ".join(row).rstrip()
