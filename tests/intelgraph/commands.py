"""Running a command as a test sees it."""

from __future__ import annotations

from io import StringIO

from django.core.management import CommandError, call_command


def run(name, *arguments):
    """Run a command; returns exit code, standard output, standard error."""
    out, err = StringIO(), StringIO()
    try:
        call_command(name, *arguments, stdout=out, stderr=err, verbosity=0)
    except CommandError as error:
        return error.returncode, out.getvalue(), err.getvalue() + str(error)
    return 0, out.getvalue(), err.getvalue()
