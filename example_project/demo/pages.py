"""A page at the start and deep in a list, by cursor and by offset."""

from __future__ import annotations

from typing import Any

from dbopt.intelgraph.queries import entities
from dbopt.pagination import keyset_page
from example_project.demo.stopwatch import measure

SIZE = 100
DEEP = 0.9


def compare(tenant: int) -> dict[str, Any]:
    """Milliseconds of one page of 100 at depth 1 and at 90 % of the rows; both ways must give the same rows."""
    newest = entities.newest(tenant)
    total = newest.count()
    depth = int(total * DEEP)
    start = newest[depth - 1 : depth].get()
    cursor = keyset_page(newest, first=1).cursor(start)
    first_offset = measure(lambda: [row.pk for row in newest[:SIZE]])
    deep_offset = measure(lambda: [row.pk for row in newest[depth : depth + SIZE]])
    first_cursor = measure(lambda: [row.pk for row in keyset_page(newest, first=SIZE).rows])
    deep_cursor = measure(lambda: [row.pk for row in keyset_page(newest, first=SIZE, after=cursor).rows])
    return {
        "rows": total,
        "page_size": SIZE,
        "deep_row": depth,
        "same_rows": first_offset.result == first_cursor.result and deep_offset.result == deep_cursor.result,
        "cursor_ms": {"first": first_cursor.ms, "deep": deep_cursor.ms},
        "offset_ms": {"first": first_offset.ms, "deep": deep_offset.ms},
    }
