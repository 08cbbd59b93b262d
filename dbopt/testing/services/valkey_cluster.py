"""A Valkey cluster: three primaries, each with a replica, on free ports, in about three seconds.

::

    with valkey_cluster.start() as cluster:
        redis.RedisCluster.from_url(cluster.urls[0])

The nodes find their roles written down; that saves them from being introduced to each other.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbopt.exceptions import ServerStartError
from dbopt.testing.services import valkey
from dbopt.testing.services.folders import give_to, new_folder
from dbopt.testing.services.groups import Group, started
from dbopt.testing.services.processes import POLL_SECONDS, Lifetime, Port, Process

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIMARIES = 3
SLOTS = 16384
START_SECONDS = 20.0

# After so many milliseconds without a sign of life, a primary is replaced.
NODE_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class _Member:
    """One node before it runs; `bus` is the port on which the nodes talk to each other."""

    name: str
    port: Port
    bus: Port
    primary: str | None
    slots: str


class Cluster(Group):
    """A running cluster."""

    def __init__(self, members: Sequence[_Member], processes: Sequence[Process], lifetime: Lifetime) -> None:
        super().__init__(lifetime)
        self.ports: tuple[int, ...] = tuple(member.port.number for member in members)
        self.urls: tuple[str, ...] = tuple(f"redis://127.0.0.1:{port}" for port in self.ports)
        self._pids = {port: process.pid for port, process in zip(self.ports, processes, strict=True)}

    def pid(self, port: int) -> int:
        """Return the process that listens on a port, for tests that freeze or kill it."""
        return self._pids[port]


def start() -> Cluster:
    """Start a cluster and wait until it is whole and its replicas are in step.

    Raises:
        ServerStartError: it cannot be had; whatever had started is stopped again.
    """
    return started(_start)


def _start(lifetime: Lifetime) -> Cluster:
    members = _members()
    try:
        with ThreadPoolExecutor(len(members)) as pool:
            processes = list(pool.map(lambda member: _run(member, members, lifetime), members))
        _await_whole(members)
    finally:
        for member in members:
            member.port.release()
            member.bus.release()
    return Cluster(members, processes, lifetime)


def _members() -> list[_Member]:
    names = [secrets.token_hex(20) for _ in range(PRIMARIES)]
    edges = [SLOTS * number // PRIMARIES for number in range(PRIMARIES + 1)]
    primaries = [
        _Member(name, Port(), Port(), None, f"{edges[number]}-{edges[number + 1] - 1}")
        for number, name in enumerate(names)
    ]
    return primaries + [_Member(secrets.token_hex(20), Port(), Port(), name, "") for name in names]


def _run(member: _Member, members: Sequence[_Member], lifetime: Lifetime) -> Process:
    folder = new_folder("redis-cluster")
    try:
        (folder.data / "nodes.conf").write_text(_roles(member, members))
        give_to(folder.data, folder.account)
        process, _ = valkey.start(folder, member.port, lifetime=lifetime, options=_options(member))
    except BaseException:
        lifetime.discard(folder)
        raise
    return process


def _options(member: _Member) -> dict[str, object]:
    return {
        "--databases": 1,
        "--cluster-enabled": "yes",
        "--cluster-config-file": "nodes.conf",
        "--cluster-port": member.bus.about_to_listen(),
        "--cluster-node-timeout": NODE_TIMEOUT_MS,
        "--cluster-require-full-coverage": "no",
        # However long it was out of touch, a replica takes over.
        "--cluster-replica-validity-factor": 0,
        "--repl-diskless-sync-delay": 0,
    }


def _roles(own: _Member, members: Sequence[_Member]) -> str:
    """Return what a node of a running cluster keeps in its file: one line a node, then the epochs."""
    lines = []
    for number, member in enumerate(members):
        role = "master" if member.primary is None else "slave"
        flags = f"myself,{role}" if member is own else role
        address = f"127.0.0.1:{member.port.number}@{member.bus.number}"
        epoch = number % PRIMARIES + 1
        lines.append(f"{member.name} {address} {flags} {member.primary or '-'} 0 0 {epoch} connected {member.slots}")
    return "\n".join([*(line.rstrip() for line in lines), f"vars currentEpoch {PRIMARIES} lastVoteEpoch 0", ""])


def _await_whole(members: Sequence[_Member]) -> None:
    deadline = time.monotonic() + START_SECONDS
    for member in members:
        while not _knows_all(member, members):
            if time.monotonic() > deadline:
                state = valkey.ask(member.port.number, "CLUSTER INFO")
                raise ServerStartError(f"The Valkey cluster was not whole within {START_SECONDS:g} s:\n{state}")
            time.sleep(POLL_SECONDS)


def _knows_all(member: _Member, members: Sequence[_Member]) -> bool:
    """Tell whether a node serves, and names all others to clients: replicas only once they are in step."""
    if "cluster_state:ok" not in valkey.ask(member.port.number, "CLUSTER INFO"):
        return False
    slots = valkey.ask(member.port.number, "CLUSTER SLOTS")
    return all(f":{other.port.number}\r\n" in slots for other in members)
