"""Checks built anew for each test."""

from __future__ import annotations

import contextlib
import copy
import socket

import pytest
from django.db import connections
from django.test import Client, override_settings

from dbopt.health.servers import forget_checks
from dbopt.monitoring.aggregate import statistics_of_process

TOKEN = "a-token-of-the-tests"
MIDDLEWARE = [
    "dbopt.health.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def dbopt_with(**sections):
    """The suite's DBOPT with sections added."""
    from django.conf import settings

    return {**settings.DBOPT, **sections}


@pytest.fixture(autouse=True)
def fresh_checks():
    forget_checks()
    statistics_of_process().reset()
    # Nothing is slow by accident, however busy the machine.
    sections = {"HEALTH": {"TOKENS": [TOKEN]}, "MONITORING": {"SLOW_QUERY_MS": 60_000}}
    with override_settings(MIDDLEWARE=MIDDLEWARE, DBOPT=dbopt_with(**sections)):
        yield
    forget_checks()


@pytest.fixture
def client():
    """A client that holds the token."""
    return Client(headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def black_hole():
    """The port of a server that accepts connections and never says a word."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=50)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def move_database(django_db_blocker):
    """Points an alias somewhere else: ``move_database(PORT="1")``, ``move_database("replica", PORT="1")``."""
    before = {}

    def move(alias="default", **changes):
        before.setdefault(alias, connections.settings.get(alias))
        connections.settings[alias] = {**copy.deepcopy(connections.settings["default"]), **changes}
        forget_checks()

    yield move
    for alias, options in before.items():
        if options is None:
            del connections.settings[alias]
        else:
            connections.settings[alias] = options
