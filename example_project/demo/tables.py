"""The demo's figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report line by line."""
    counts = report["counts"]
    yield "  ".join(f"{counts[name]:,} {name}" for name in ("entities", "relationships", "investigations"))
    yield from _section("Indexes: the same query without its index, and with it")
    rows: list[Sequence[str]] = [("query", "without ms", "pages", "with ms", "pages", "plan with the index")]
    for row in report["indexes"]:
        before, after = row["before"], row["after"]
        plan = ", ".join(dict.fromkeys(after["scans"])) + (" + sort" if after["sorts"] else "")
        rows.append(
            (row["query"], f"{before['ms']:.2f}", str(before["pages"]), f"{after['ms']:.2f}", str(after["pages"]), plan)
        )
    yield from _table(rows)
    yield from _section("GraphQL: entities with their relationships and the other ends")
    rows = [("", "statements", "ms")]
    for name in ("without", "with"):
        figures = report["graphql"][name]
        rows.append((f"{name} loaders", f"{figures['statements']:,}", f"{figures['ms']:.1f}"))
    yield from _table(rows)
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


def _section(title: str) -> Iterator[str]:
    yield ""
    yield title


def _table(rows: list[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = row
        cells = [first.ljust(widths[0])]
        # Figures line up on the right; a last column of text reads better on the left.
        for width, cell in zip(widths[1:], rest, strict=True):
            cells.append(cell.rjust(width) if cell[:1].isdigit() or len(cell) < width else cell.ljust(width))
        yield "  " + "  ".join(cells).rstrip()
