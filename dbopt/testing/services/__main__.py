"""The command `python -m dbopt.testing.services`."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from dbopt.exceptions import ConfigurationError, ServerStartError
from dbopt.testing.services.running import Running, start
from dbopt.testing.services.server import NAMES, known

WRONG_USE = 2
OUT_OF_REACH = 3
NOT_FOUND = 127
EXAMPLES = """\
examples:
  python -m dbopt.testing.services run -- pytest -x
  python -m dbopt.testing.services run --only postgres,redis -- python manage.py runserver
  DBOPT_NEO4J_VERSION=2026.08.1 python -m dbopt.testing.services run --only neo4j -- sh

The command finds DATABASE_URL, REDIS_URL, NEO4J_URI, NEO4J_USER, NEO4J_PASSWORD and their DBOPT_TEST_ twins in its
environment. Its exit status is passed on; 2 is wrong use, 3 a server that cannot be had, 127 a command not found.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start servers, run a command with their addresses in its environment, stop them; return its exit status."""
    options = _parser().parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        _say("There is no command to run: ... run -- COMMAND")
        return WRONG_USE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        names = known(name.strip() for name in options.only.split(","))
        with start(names, neo4j_password=secrets.token_urlsafe(12), report=_say) as running:
            code = _run(command, running)
            began = time.monotonic()
            running.stop()
            _say(f"Stopped in {time.monotonic() - began:.2f} s")
            return code
    except (ValueError, ConfigurationError) as error:
        _say(str(error))
        return WRONG_USE
    except ServerStartError as error:
        _say(str(error))
        return OUT_OF_REACH
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dbopt.testing.services",
        description="Start real servers on free ports of 127.0.0.1, run a command with them, stop them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(required=True, metavar="run")
    run = actions.add_parser(
        "run",
        help="run a command with servers",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("--only", default=",".join(NAMES), metavar="NAMES", help="of %(default)s")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run, with its arguments")
    return parser


def _run(command: Sequence[str], running: Running) -> int:
    try:
        process = subprocess.Popen(command, env={**os.environ, **running.environment})  # noqa: S603
    except OSError as error:
        _say(f"{command[0]} cannot be run: {error.strerror}")
        return NOT_FOUND
    try:
        code = _wait(process)
    except BaseException:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes]) -> int:
    # The terminal sends Ctrl-C to the command as well, which decides what to do with it. An exception here could come
    # between the end of the command and the look at its status, which then is lost.
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):
        return process.wait()
    signal.signal(signal.SIGINT, _leave_it_to_the_command)
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_it_to_the_command(number: int, _: FrameType | None) -> None:
    """Do nothing."""


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
