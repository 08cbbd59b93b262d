"""A second database beside the one under test, under an alias of its own."""

from __future__ import annotations

from contextlib import contextmanager

from django.db import connections

from tests.testapp.models import Author


@contextmanager
def second_database(outside, alias, **test):
    """Make a database with an empty table of authors, and an alias for it with these options under TEST."""
    known = connections["default"].settings_dict
    name = f"{known['NAME']}_{alias}"
    outside.execute(f'DROP DATABASE IF EXISTS "{name}"')
    outside.execute(f'CREATE DATABASE "{name}"')
    connections.settings[alias] = {**known, "NAME": name, "TEST": {**known["TEST"], **test}}
    try:
        with connections[alias].schema_editor() as editor:
            editor.create_model(Author)
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]
        outside.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
