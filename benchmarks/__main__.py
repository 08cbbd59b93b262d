"""Run benchmarks by name: ``python -m benchmarks cache``; without a name, tell which there are."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
NAMES = ("cache", "graphql", "graphql_caching", "graphql_hostile", "pagination")


def main():
    names = [name for name in sys.argv[1:] if name in NAMES]
    arguments = [word for word in sys.argv[1:] if word not in NAMES and word != "--write"]
    if not names:
        raise SystemExit(f"Name one of: {', '.join(NAMES)}. With --write the result replaces its part of RESULTS.md.")
    for name in names:
        lines = importlib.import_module(f"benchmarks.{name}").main(arguments)
        if "--write" in sys.argv:
            write(name, lines)


def write(name, lines):
    """Replace one benchmark's part of RESULTS.md."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    body = "\n".join([begin, f"## {name}, {datetime.now(UTC):%Y-%m-%d}", *lines, end])
    before, _, rest = text.partition(begin)
    RESULTS.write_text(f"{before.rstrip()}\n\n{body}\n{rest.partition(end)[2]}")


if __name__ == "__main__":
    main()
