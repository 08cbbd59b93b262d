"""Which connections are watched, and from when on."""

from __future__ import annotations

import pytest
from django.test import override_settings

from dbopt.monitoring import reports, tracker

pytestmark = pytest.mark.usefixtures("statistics")


def test_wrapper_given_around_the_connecting_statement_goes_and_the_tracker_stays(new_alias):
    late = new_alias("late")
    seen = []

    def spy(execute, *arguments):
        seen.append(arguments[0])
        return execute(*arguments)

    with late.execute_wrapper(spy), late.cursor() as cursor:
        cursor.execute("SELECT 1")

    assert seen[-1] == "SELECT 1"
    assert late.execute_wrappers[0] is tracker.track
    assert spy not in late.execute_wrappers
    assert [row.calls for row in reports.statements() if row.sql == "SELECT ?"] == [1]


@override_settings(DBOPT={"MONITORING": {"TRACK_ALIASES": ["default"]}})
def test_alias_that_is_not_to_be_tracked_is_left_alone(new_alias):
    other = new_alias("other")

    with other.cursor() as cursor:
        cursor.execute("SELECT 1")

    assert tracker.track not in other.execute_wrappers
    assert reports.statements() == []


def test_statement_counts_once_in_each_family_beside_django_prometheus(new_alias):
    from django_prometheus.db import execute_total

    both = new_alias("both", engine="django_prometheus.db.backends.postgresql")
    both.ensure_connection()
    theirs = execute_total.labels("both", "postgresql")
    before = theirs._value.get()

    with both.cursor() as cursor:
        for number in range(3):
            cursor.execute("SELECT %s", [number])

    assert theirs._value.get() - before == 3
    assert [(row.alias, row.calls) for row in reports.statements() if row.sql == "SELECT ?"] == [("both", 3)]
