"""A Valkey cluster of three primaries and three replicas: whole when `start` returns, gone afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest
import redis

from dbopt.exceptions import ServerStartError
from dbopt.testing.services import valkey_cluster
from tests.testing.conftest import listens, run_folders, wait_until

OWNER = """
import sys, time
from dbopt.testing.services import valkey_cluster
cluster = valkey_cluster.start()
print(*cluster.ports, flush=True)
time.sleep(600)
"""


def assert_gone(ports, folder):
    wait_until(lambda: not any(map(listens, ports)), what="the nodes to stop", seconds=15)
    wait_until(lambda: run_folders(folder) == [], what="the folders to be removed", seconds=15)


def test_cluster_is_whole_at_once_and_gone_afterwards(own_root, services_tmp):
    with valkey_cluster.start() as cluster:
        client = redis.RedisCluster.from_url(cluster.urls[0])
        slots = client.cluster_slots()
        for number in range(100):
            client.set(f"key-{number}", number)
        values = [int(client.get(f"key-{number}")) for number in range(100)]
        sizes = [redis.Redis(port=port).dbsize for port in cluster.ports]
        # Each key at a primary and its replica.
        wait_until(lambda: sum(size() for size in sizes) == 200, what="replicas in step")
        client.close()

    assert sum(last - first + 1 for first, last in slots) == valkey_cluster.SLOTS
    assert [len(slot["replicas"]) for slot in slots.values()] == [1, 1, 1]
    assert values == list(range(100))
    assert_gone(cluster.ports, services_tmp)
    cluster.stop()


@pytest.mark.long
def test_two_clusters_know_nothing_of_each_other(own_root, services_tmp):
    with valkey_cluster.start() as one, valkey_cluster.start() as other:
        known = {int(address.split(":")[1]) for address in redis.RedisCluster.from_url(one.urls[0]).cluster_nodes()}

    assert known == set(one.ports)
    assert not set(one.ports) & set(other.ports)
    assert_gone([*one.ports, *other.ports], services_tmp)


def test_cluster_ends_with_its_killed_owner(clean_environment):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        env=clean_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    ports = [int(port) for port in owner.stdout.readline().split()]
    assert all(map(listens, ports))
    owner.kill()
    owner.communicate()

    assert len(ports) == 6
    wait_until(lambda: not any(map(listens, ports)), what="the nodes to stop", seconds=15)


def test_cluster_that_cannot_become_whole_is_stopped_again(own_root, services_tmp, monkeypatch):
    monkeypatch.setattr(valkey_cluster, "START_SECONDS", 0.0)
    monkeypatch.setattr(valkey_cluster, "_knows_all", lambda *_: False)

    with pytest.raises(ServerStartError, match="not whole within 0 s"):
        valkey_cluster.start()

    assert run_folders(services_tmp) == []
