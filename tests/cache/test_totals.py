"""Totals over all processes: nothing is lost, nothing is counted twice, and a call costs no round trip for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dbopt.cache import cached_query, statistics, totals
from dbopt.cache.counters import counters_of
from dbopt.cache.server import servers
from dbopt.exceptions import CacheUnreachableError


@cached_query(timeout=300, name="totals:number", tags=["totals"])
def number(value: int):
    return value


@pytest.fixture(autouse=True)
def fresh(monkeypatch, empty_cache):
    monkeypatch.setattr(totals, "_totals", totals._Totals())


def of_all(name="totals:number"):
    return statistics(scope="all")["byName"][name]


def test_what_was_counted_is_added_once():
    number(1)
    number(1)

    assert statistics()["byName"]["totals:number"]["hits"] == 1
    assert (of_all()["hits"], of_all()["misses"], of_all()["sets"]) == (1, 1, 1)
    number(1)
    assert of_all()["hits"] == 2
    assert statistics(scope="all")["byPrefix"]["totals"]["hits"] == 2
    assert statistics(scope="all")["scope"] == "all"


def test_calls_make_no_round_trip_for_it_until_it_is_due(commands):
    number(1)
    with commands() as sent:
        number(1)
    assert len(sent) == 1

    totals._totals.due = 0.0
    with commands() as sent:
        number(1)
        number(1)
    assert [names[0] for names in sent] == ["MGET", "EVALSHA", "MGET"]


SCRIPT = """
import django
django.setup()
from django.conf import settings
settings.CACHES["default"]["KEY_PREFIX"] = {prefix!r}
from dbopt.cache import bypass
from tests.cache.test_totals import number
with bypass():
    number(1)
    number(2)
"""


def test_other_process_adds_what_it_counted_when_it_ends(settings):
    number(1)
    script = SCRIPT.format(prefix=settings.CACHES["default"]["KEY_PREFIX"])
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert of_all()["bypass"] == {"bypass": 2}
    assert of_all()["misses"] == 1


def test_forked_child_reports_nothing_of_its_parent():
    number(1)
    child = os.fork()
    if child == 0:
        totals.push()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0

    assert of_all()["misses"] == 1


def test_counts_wait_while_the_server_is_away(settings):
    number(1)
    with_server = settings.CACHES
    settings.CACHES = {"default": {**with_server["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    totals.push()
    with pytest.raises(CacheUnreachableError):
        statistics(scope="all")

    settings.CACHES = with_server
    servers.forget()
    assert of_all()["misses"] == 1


def test_latency_of_hits_is_told_by_its_upper_end():
    counters = counters_of("totals:latency")
    counters.reset()
    for seconds in [0.0001] * 90 + [0.01] * 10:
        counters.count("hit", reason=None, seconds=seconds)

    found = statistics()["byName"]["totals:latency"]

    assert found["hitMs"] == {"p50": 0.128, "p95": 16.384}
    assert statistics()["byName"].get("totals:number", {"hitMs": {"p50": None}})["hitMs"]["p50"] is None
    assert of_all("totals:latency")["hitMs"] == {"p50": 0.128, "p95": 16.384}
