"""An empty process aggregate for each test, and aliases beside the default one."""

from __future__ import annotations

import copy

import pytest
from django.conf import settings
from django.db import connections
from django.test import override_settings

from dbopt.monitoring.aggregate import statistics_of_process


@pytest.fixture
def statistics():
    """The aggregate of the process, empty; nothing is slow by accident, however busy the machine."""
    found = statistics_of_process()
    found.reset()
    with override_settings(DBOPT={**settings.DBOPT, "MONITORING": {"SLOW_QUERY_MS": 60_000}}):
        yield found
    found.reset()


@pytest.fixture
def new_alias(django_db_setup, django_db_blocker):
    """Adds an alias to the server of the default one: ``new_alias("pooled", pool={"max_size": 2})``.

    Without the `db` fixture: Django's test case forbids aliases that came after it.
    """
    made = []

    def add(alias, *, engine=None, **options):
        database = copy.deepcopy(connections.settings["default"])
        database["OPTIONS"] = {**database["OPTIONS"], **options}
        database["ENGINE"] = engine or database["ENGINE"]
        connections.settings[alias] = database
        made.append(alias)
        return connections[alias]

    with django_db_blocker.unblock():
        yield add
        for alias in made:
            connection = connections[alias]
            connection.close()
            pool = getattr(connection, "_connection_pools", {}).pop(alias, None)
            if pool is not None:
                pool.close()
            del connections[alias]
            del connections.settings[alias]
