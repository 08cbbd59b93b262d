"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from dbopt import conf

ROOT = Path(__file__).parents[1]


def documented_settings():
    """Section -> {key: default as written} of the tables in docs/settings.md."""
    sections, current = {}, None
    for line in (ROOT / "docs/settings.md").read_text().splitlines():
        if heading := re.match(r"## `([A-Z0-9]+)`", line):
            current = sections.setdefault(heading.group(1), {})
        elif current is not None and (row := re.match(r"\| `([A-Z0-9_]+)` \| `(.*?)` \|", line)):
            current[row.group(1)] = row.group(2)
    return sections


def test_settings_page_lists_every_key_with_its_default():
    actual = {
        section: {key: repr(dict(value) if hasattr(value, "items") else value) for key, value in keys.items()}
        for section, keys in conf.defaults().items()
    }

    assert documented_settings() == actual


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()

    missing = [
        page.name for page in (ROOT / "docs").rglob("*.md") if str(page.relative_to(ROOT / "docs")) not in navigation
    ]

    assert missing == []
