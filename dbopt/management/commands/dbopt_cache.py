"""The cache from the shell."""

from __future__ import annotations

import json
import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, OperationalError, connections

from dbopt.cache.invalidation import invalidate, invalidate_all, invalidate_tenant
from dbopt.cache.names.tables import installed_model
from dbopt.cache.names.tokens import function_tag
from dbopt.cache.server.patterns import count_pattern, delete_pattern
from dbopt.cache.server.servers import server
from dbopt.cache.totals import statistics
from dbopt.cache.triggers.definitions import install, remove, status, watched_models
from dbopt.cache.triggers.listening import backlog, require_notes, take_notes
from dbopt.cache.warmers import warm
from dbopt.exceptions import CacheUnreachableError, ConfigurationError, MissingExtraError
from dbopt.management.examples import ExamplesCommand
from dbopt.management.exit_codes import FINDINGS, INTERRUPTED, OUT_OF_REACH, WRONG_USE
from dbopt.management.progress import ProgressLine

_LONGEST_PAUSE = 5.0


class Command(ExamplesCommand):
    """Look at the cache, and act on it."""

    help = "Statistics, invalidation, warming, and triggers for writes that no client sees."
    examples = """\
examples:
  manage.py dbopt_cache stats --json                       what cached functions did, over all workers
  manage.py dbopt_cache invalidate intelgraph.Entity       every result that read the table
  manage.py dbopt_cache invalidate intelgraph.Entity --pk 5
  manage.py dbopt_cache invalidate --tag prices
  manage.py dbopt_cache invalidate --tenant 7
  manage.py dbopt_cache invalidate --function entity:recent
  manage.py dbopt_cache invalidate --all
  manage.py dbopt_cache delete-pattern 'entity:*'          stored results by name; asks before, --yes does not
  manage.py dbopt_cache warm --tenant 7 --rate 20          make the calls that apps declare in warmers.py
  manage.py dbopt_cache triggers install                   notes writes of functions, COPY, psql, other programs
  manage.py dbopt_cache listen                             renews what the notes name; runs until it is stopped

exit codes: 0 done, 1 something was left (see the message), 2 wrong use, 3 server out of reach
"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Take an action and its options."""
        common = _common_options()
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def action(name: str, text: str) -> Any:
            return actions.add_parser(name, parents=[common], help=text, description=text)

        action("stats", "What cached functions did.")
        parts = action("invalidate", "Make results wrong at once, in one round trip.")
        parts.add_argument("model", nargs="?", help="app_label.Model")
        parts.add_argument("--pk", help="one row of the model")
        parts.add_argument("--tag", help="a tag of your own")
        parts.add_argument("--tenant", help="everything of a tenant, by its primary key")
        parts.add_argument("--function", help="everything of one cached function, by its name")
        parts.add_argument("--all", action="store_true", help="everything")
        parts = action("delete-pattern", "Remove stored results by the pattern of their names.")
        parts.add_argument("pattern", help="such as 'entity:*'")
        parts.add_argument("--yes", action="store_true", help="do not ask")
        parts = action("warm", "Make the calls that apps declare in warmers.py.")
        parts.add_argument("names", nargs="*", help="of cached functions (all that have a warmer)")
        parts.add_argument("--tenant", action="append", dest="tenants", help="may be repeated (all)")
        parts.add_argument("--rate", type=_positive, default=50.0, help="calls in a second (%(default)g)")
        parts.add_argument("--refresh", action="store_true", help="compute also what is there and valid")
        parts = action("triggers", "Install, remove or show the triggers of tables.")
        parts.add_argument("what", choices=["install", "remove", "status"])
        parts.add_argument("models", nargs="*", help="app_label.Model (all whose tables Django made)")
        parts.add_argument("--lock-timeout", type=_positive, default=2.0, help="seconds for a table (%(default)g)")
        parts = action("listen", "Renew what the notes of the triggers name, until stopped.")
        parts.add_argument("--once", action="store_true", help="take what is there, then end")
        parts.add_argument("--interval", type=_positive, default=0.1, help="seconds between two looks (%(default)g)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Do it; the exit code tells how it went."""
        act: Callable[[dict[str, Any]], dict[str, Any]] = getattr(self, f"_{options['action'].replace('-', '_')}")
        self._progress = ProgressLine(self.stderr, quiet=options["verbosity"] == 0)
        with _errors():
            try:
                answer = act(options)
            except KeyboardInterrupt as error:
                raise CommandError("Interrupted; run it again for the rest.", returncode=INTERRUPTED) from error
            finally:
                self._progress.done()
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=2))
        else:
            self.stdout.write(_text(answer))
        complaint = answer.get("complaint")
        if complaint:
            raise CommandError(complaint, returncode=answer["returncode"])

    def _stats(self, options: dict[str, Any]) -> dict[str, Any]:
        # What this process itself did is nothing.
        return statistics(scope="all")

    def _invalidate(self, options: dict[str, Any]) -> dict[str, Any]:
        delivered = _invalidate_what(options)
        if not delivered:
            # The debt dies with this process, so it cannot be left to it.
            return _unreachable({"invalidated": False})
        return {"invalidated": True}

    def _delete_pattern(self, options: dict[str, Any]) -> dict[str, Any]:
        pattern = options["pattern"]
        if not options["yes"]:
            found = count_pattern(pattern, report=lambda number: self._progress.update(f"{number:,} found"))
            self._progress.done()
            if found and not self._agreed(f"Remove {found:,} stored results that fit {pattern!r}? [y/N] "):
                return {"deleted": 0, "complaint": "Nothing was removed.", "returncode": FINDINGS}
        deleted = delete_pattern(pattern, report=lambda number: self._progress.update(f"{number:,} removed"))
        return {"deleted": deleted}

    def _agreed(self, question: str) -> bool:
        try:
            return input(question).strip().lower() in ("y", "yes")
        except EOFError:
            raise CommandError("Nobody is there to agree; use --yes.", returncode=WRONG_USE) from None

    def _warm(self, options: dict[str, Any]) -> dict[str, Any]:
        with _stopping() as stop:
            warmed = warm(
                *options["names"],
                tenants=[_key(tenant) for tenant in options["tenants"]] if options["tenants"] else None,
                rate=options["rate"],
                refresh=options["refresh"],
                report=lambda name, calls: self._progress.update(f"{calls:,} calls, {name}"),
                stop=stop,
            )
        answer = asdict(warmed)
        if server().breaker.is_open:
            return _unreachable(answer)
        if warmed.failed or not warmed.is_whole:
            left = "was stopped" if not warmed.is_whole else f"{warmed.failed:,} calls failed, see the log"
            answer |= {"complaint": f"Warming is not complete: {left}.", "returncode": FINDINGS}
        return answer

    def _triggers(self, options: dict[str, Any]) -> dict[str, Any]:
        connection = connections[options["database"]]
        found = watched_models(options["models"], using=options["database"])
        if options["what"] == "status":
            states = status(connection, found)
            waiting, age = backlog(connection)
            answer: dict[str, Any] = {"tables": [asdict(state) for state in states], "waiting": waiting, "oldest": age}
            lacking = [state.table for state in states if state.state != "installed"]
            complaint = f"{len(lacking)} of {len(states)} tables have no trigger that fires." if lacking else ""
        else:
            act = install if options["what"] == "install" else remove
            lacking = act(connection, found, lock_timeout=options["lock_timeout"], report=self._progress.update)
            answer = {"tables": len(found) - len(lacking), "busy": lacking}
            complaint = f"Busy or not there, run it again: {', '.join(lacking)}." if lacking else ""
        return answer | ({"complaint": complaint, "returncode": FINDINGS} if complaint else {})

    def _listen(self, options: dict[str, Any]) -> dict[str, Any]:
        connection, taken, pause = connections[options["database"]], 0, 0.0
        require_notes(connection)
        with _stopping() as stop:
            while not stop.wait(pause):
                try:
                    number = take_notes(connection)
                except (CacheUnreachableError, DatabaseError) as error:
                    if options["once"]:
                        raise
                    # The notes stay where they are until both servers are back.
                    pause = min(_LONGEST_PAUSE, 2 * pause or options["interval"])
                    self._progress.update(f"waiting for a server ({type(error).__name__})")
                    connection.close()
                    continue
                taken += number
                self._progress.update(f"{taken:,} notes")
                if options["once"] and not number:
                    break
                pause = 0.0 if number else options["interval"]
        return {"taken": taken}


def _common_options() -> Any:
    common = ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument("--database", default="default", help="Django database (default: %(default)s)")
    return common


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, MissingExtraError) as error:
        raise CommandError(str(error), returncode=WRONG_USE) from error
    except CacheUnreachableError as error:
        raise CommandError(str(error), returncode=OUT_OF_REACH) from error
    except OperationalError as error:
        raise CommandError("The database does not answer.", returncode=OUT_OF_REACH) from error


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that what is at work is finished first."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _invalidate_what(options: dict[str, Any]) -> bool:
    given = [name for name in ("model", "tag", "tenant", "function") if options[name] is not None]
    if len(given) + options["all"] != 1:
        raise ConfigurationError("Say what: one of app_label.Model, --tag, --tenant, --function, --all.")
    if options["pk"] is not None and options["model"] is None:
        raise ConfigurationError("--pk is of a model: name it.")
    if options["all"]:
        return invalidate_all()
    if options["tenant"] is not None:
        return invalidate_tenant(_key(options["tenant"]))
    if options["function"] is not None:
        return server().renew({function_tag(options["function"])})
    if options["tag"] is not None:
        return invalidate(options["tag"])
    return invalidate(installed_model(options["model"]), pk=options["pk"])


def _key(text: str) -> object:
    """Return a tenant's primary key as the resolver gives it: a number, a UUID, or text."""
    if text.isdecimal():
        return int(text)
    try:
        return UUID(text)
    except ValueError:
        return text


def _unreachable(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {
        "complaint": "The cache server does not answer; nothing was left to be done later. Run it again.",
        "returncode": OUT_OF_REACH,
    }


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("must be a number above 0")
    return value


def _text(answer: dict[str, Any], indent: str = "") -> str:
    """Return the answer for a person: one line a figure."""
    lines = []
    for key, value in answer.items():
        if key in ("complaint", "returncode"):
            continue
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:")
            lines.append(_text(value, indent + "  "))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [indent + "  ".join(str(part) for part in item.values()) for item in value]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{key}: {'-' if shown in (None, '') else shown}")
    return "\n".join(line for line in lines if line)
