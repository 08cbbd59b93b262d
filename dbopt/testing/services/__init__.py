"""Real PostgreSQL, Valkey and Neo4j servers for tests and demos, from packages alone.

::

    with services.start(["postgres", "redis"]) as running:
        subprocess.run(command, env={**os.environ, **running.environment})
"""

from __future__ import annotations

from dbopt.testing.services.running import Running, launch, start
from dbopt.testing.services.server import NAMES, Server

__all__ = ["NAMES", "Running", "Server", "launch", "start"]
