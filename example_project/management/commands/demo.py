"""The demo: the whole road of dbopt on real servers, measured in this run."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

# Set for the inner process, which finds the servers' addresses in its environment: what was started, as JSON.
SERVERS = "DBOPT_DEMO_SERVERS"
# Seconds given to the inner process to end, before it is asked less politely.
PATIENCE = 5


class Command(BaseCommand):
    """Start servers, load data, measure with and without dbopt, report, serve the console."""

    help = "Show dbopt at work on real PostgreSQL, Valkey and Neo4j."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the line breaks of the examples."""
        examples = (
            "examples:\n"
            "  manage.py demo                          load synthetic data, measure, serve http://127.0.0.1:8000/\n"
            "  manage.py demo --once                   end after the report\n"
            "  manage.py demo --once --data DIR        load a folder in the import format instead\n"
            "  manage.py demo --once --report out.json write the figures as JSON too\n"
            "  manage.py demo --use-environment        use DATABASE_URL, REDIS_URL and NEO4J_URI; it writes to them\n"
        )
        return super().create_parser(
            prog_name, subcommand, epilog=examples, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="end after the report")
        parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures to FILE as JSON")
        parser.add_argument("--data", type=Path, metavar="DIR", help="load this folder in the import format")
        parser.add_argument("--entities", type=int, default=20_000, metavar="N", help="synthetic entities (20000)")
        parser.add_argument("--port", type=int, default=8000, help="first port to try (8000)")
        parser.add_argument("--use-environment", action="store_true", help="use the servers named in the environment")

    def handle(self, **options: Any) -> None:
        """Run the demo inside servers of its own, or on those of the environment."""
        if options["entities"] < 1000:  # noqa: PLR2004
            raise CommandError(
                f"--entities is {options['entities']}: at least 1000 are needed to measure anything.", returncode=2
            )
        if options["data"] is not None and not (options["data"] / "entities.csv").is_file():
            raise CommandError(f"--data: there is no entities.csv in {options['data']}.", returncode=2)
        if options["use_environment"] or SERVERS in os.environ:
            self._run(options)
        else:
            self._run_in_own_servers()

    def _run(self, options: dict[str, Any]) -> None:
        from example_project.demo import road

        servers = json.loads(os.environ.get(SERVERS, "{}"))
        road.travel(self, options=road.Options.of(options), servers=servers)

    def _run_in_own_servers(self) -> None:
        """Start the servers, then this command again in a process whose settings know their addresses."""
        from dbopt.testing import services

        def leave(signum: int, _: FrameType | None) -> None:
            raise SystemExit(128 + signum)

        signal.signal(signal.SIGTERM, leave)
        with services.start(
            ("postgres", "redis", "neo4j"), neo4j_password=secrets.token_urlsafe(12), report=self.stdout.write
        ) as running:
            started = {
                name: {"version": server.version, "start_seconds": round(server.start_seconds, 2)}
                for name, server in running.servers.items()
            }
            environment = {**os.environ, **running.environment, SERVERS: json.dumps(started)}
            manage = Path(__file__).parents[3] / "manage.py"
            inner = subprocess.Popen([sys.executable, str(manage), *sys.argv[1:]], env=environment)  # noqa: S603
            try:
                code = inner.wait()
            except KeyboardInterrupt:
                # Ctrl-C reached the inner process as well; serving until then is what it is for.
                code = _end(inner)
            except BaseException:
                _end(inner)
                raise
        if code:
            raise SystemExit(code if code > 0 else 128 - code)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Let the inner process finish what Ctrl-C already told it, end it when it does not; returns its exit status."""
    for ask in (process.terminate, process.kill):
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            ask()
    return process.wait()
