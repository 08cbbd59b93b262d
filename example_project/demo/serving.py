"""Serve the console on the first free port."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from django.core.management.base import CommandError
from django.core.servers import basehttp

if TYPE_CHECKING:
    from django.core.management.base import BaseCommand

HOST = "127.0.0.1"
PORTS_TO_TRY = 20


def serve(command: BaseCommand, *, first_port: int) -> None:
    """Serve until Ctrl-C; a taken port moves on to the next and says so."""
    from example_project.wsgi import application

    for port in range(first_port, first_port + PORTS_TO_TRY):

        def announce(port: int = port) -> None:
            command.stdout.write(f"\nConsole: http://{HOST}:{port}/   (Ctrl-C ends it)")
            command.stdout.flush()

        try:
            basehttp.run(HOST, port, application, threading=True, on_bind=lambda _: announce())
        except KeyboardInterrupt:
            command.stdout.write("")
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            command.stdout.write(f"port {port} is taken, trying {port + 1}")
    raise CommandError(
        f"ports {first_port} to {first_port + PORTS_TO_TRY - 1} are all taken; choose another with --port.",
        returncode=2,
    )
