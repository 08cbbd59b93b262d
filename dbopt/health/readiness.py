"""Whether this process should get traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbopt.conf import dbopt_settings
from dbopt.health.probes import Result, results
from dbopt.health.servers import checks, startup_check


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sum of several checks.

    Attributes:
        status: ``fail`` when a required check failed, ``warn`` when another did, else ``pass``.
    """

    status: str
    results: Mapping[str, Result]

    @property
    def http_status(self) -> int:
        """503 for ``fail``; a warning must not take the process out of service."""
        return 503 if self.status == "fail" else 200


def readiness() -> Verdict:
    """Ask every server, and judge by ``DBOPT["HEALTH"]["READY_REQUIRES"]``.

    A required name that is no check fails: unknown is not healthy.
    """
    required = dbopt_settings.health.ready_requires
    found = results(checks())
    for name in required:
        found.setdefault(name, Result("fail", 0.0, error="UnknownCheck"))
    return judge(found, required)


def startup() -> Verdict:
    """Say whether the process has what it needs to begin: settings that can be read, migrations applied."""
    check = startup_check()
    found = {} if check is None else {check.name: check.result()}
    return judge(found, tuple(found))


def judge(found: Mapping[str, Result], required: tuple[str, ...]) -> Verdict:
    """Return the verdict over results, of which some are required."""
    failed = [name for name, result in found.items() if not result.passed]
    if any(name in required for name in failed):
        return Verdict("fail", found)
    return Verdict("warn" if failed else "pass", found)
