"""Versions stand in one place: containers, embedded servers and packages agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dbopt.testing import services
from dbopt.testing.services import versions
from dbopt.testing.services.neo4j_jars import RESOLVERS, listed

ROOT = Path(__file__).resolve().parents[2]


def test_compose_file_brings_the_same_servers_on_loopback():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert {name: service["image"] for name, service in compose.items()} == {
        name: versions.image(name) for name in services.NAMES
    }
    assert all(port.startswith("127.0.0.1:") for service in compose.values() for port in service["ports"])


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_embedded_servers_are_of_the_same_version(own_root, name):
    wanted = {"postgres": versions.POSTGRES, "redis": versions.VALKEY}[name]

    with services.start([name]) as running:
        assert running.servers[name].version.split(".")[0] == wanted


def test_every_supported_neo4j_has_its_lists():
    for version in versions.NEO4J_SUPPORTED:
        for resolver in RESOLVERS:
            assert listed(version, resolver)


def test_loading_the_package_needs_no_django_and_no_client():
    script = (
        "import sys, dbopt.testing\n"
        "print([name for name in ('django', 'psycopg', 'redis', 'neo4j', 'testcontainers') if name in sys.modules])\n"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_unknown_attribute_is_an_attribute_error():
    import dbopt.testing

    with pytest.raises(AttributeError, match=r"module 'dbopt\.testing' has no attribute 'nothing'"):
        dbopt.testing.nothing  # noqa: B018
