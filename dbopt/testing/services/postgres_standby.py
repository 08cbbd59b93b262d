"""A PostgreSQL primary with a standby that streams from it, on free ports, in about a second.

::

    with postgres_standby.start() as pair:
        psycopg.connect(pair.standby_url)

Both begin with copies of the same data, as a backup would have it. To stage lag, tell the standby
``SELECT pg_wal_replay_pause()``.
"""

from __future__ import annotations

from dbopt.testing.services import postgres
from dbopt.testing.services.folders import new_folder
from dbopt.testing.services.groups import Group, started
from dbopt.testing.services.processes import Lifetime, Port, Process

# A COMMIT is on its way to the standby when it returns; fsync stays off.
PRIMARY = ("synchronous_commit=local",)


class Pair(Group):
    """A running primary and its standby."""

    def __init__(self, ports: tuple[Port, Port], processes: tuple[Process, Process], lifetime: Lifetime) -> None:
        super().__init__(lifetime)
        self.primary_port, self.standby_port = (port.number for port in ports)
        self.primary_pid, self.standby_pid = (process.pid for process in processes)
        self.primary_url = postgres.url(self.primary_port)
        self.standby_url = postgres.url(self.standby_port)


def start() -> Pair:
    """Start both and wait until they answer; the standby then is in step with the primary, or nearly.

    Raises:
        ServerStartError: they cannot be had; whatever had started is stopped again.
    """
    return started(_start)


def _start(lifetime: Lifetime) -> Pair:
    ports = Port(), Port()
    try:
        primary = _run(ports[0], lifetime, options=PRIMARY, is_standby=False)
        source = f"primary_conninfo=host=127.0.0.1 port={ports[0].number} user={postgres.USER}"
        standby = _run(ports[1], lifetime, options=(source,), is_standby=True)
    finally:
        for port in ports:
            port.release()
    return Pair(ports, (primary, standby), lifetime)


def _run(port: Port, lifetime: Lifetime, *, options: tuple[str, ...], is_standby: bool) -> Process:
    folder = new_folder("postgres-standby" if is_standby else "postgres-primary")
    try:
        process, _ = postgres.start(folder, port, lifetime=lifetime, options=options, is_standby=is_standby)
    except BaseException:
        lifetime.discard(folder)
        raise
    return process
