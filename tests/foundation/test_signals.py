"""Announcements: heard, unheard, and by receivers that fail."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from django.dispatch import Signal

from dbopt import signals
from dbopt.signals import announce, is_heard, observe

NAMES = {
    "query_executed", "cypher_executed", "cache_read", "cache_invalidated", "batch_loaded", "pool_event",
    "connection_leaked", "n_plus_one_found", "loader_unbatched",
}  # fmt: skip


# Not one of the real ones: monitoring and metrics listen to those.
heard_signal = Signal()


@pytest.fixture
def listen():
    connected = []

    def connect(signal, receiver):
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_all_promised_signals_are_there():
    assert {name for name, item in vars(signals).items() if isinstance(item, Signal)} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES - {"pool_event", "connection_leaked"}))
def test_signals_that_are_sent_are_documented_with_their_arguments(name):
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
    module = Path(signals.__file__).read_text()
    told = re.search(rf'^{name} = Signal\(\)\n""".*?: (.*)\."""$', module, re.MULTILINE).group(1)

    (row,) = re.findall(rf"^\| `{name}` \| .* \| (.*) \|$", page, re.MULTILINE)

    assert row == re.sub(r" \(.*?\)", "", told)


def test_receivers_get_the_facts(listen):
    heard = []
    listen(heard_signal, lambda **facts: heard.append(facts))

    announce(heard_signal, sender="sender", name="films", outcome="hit")

    assert heard == [{"signal": heard_signal, "sender": "sender", "name": "films", "outcome": "hit"}]


def test_an_error_in_a_receiver_reaches_neither_caller_nor_other_receivers(listen, caplog):
    heard = []

    def broken(**facts):
        raise ZeroDivisionError("in a receiver")

    listen(heard_signal, broken)
    listen(heard_signal, lambda **facts: heard.append(facts["name"]))
    with caplog.at_level(logging.ERROR, logger="django.dispatch"):
        announce(heard_signal, sender=None, name="films")

    assert heard == ["films"]
    assert [(record.name, record.exc_info[0]) for record in caplog.records] == [("django.dispatch", ZeroDivisionError)]


def test_an_unheard_signal_is_not_sent(monkeypatch):
    unheard = Signal()
    monkeypatch.setattr(unheard, "send_robust", lambda **facts: pytest.fail("sent"))

    announce(unheard, sender=None, name="films")


def test_signal_is_heard_by_receivers_and_by_observers(listen):
    unheard, received, observed = Signal(), Signal(), Signal()
    listen(received, print)
    observe(observed, print)

    assert [is_heard(signal) for signal in (unheard, received, observed)] == [False, True, True]


def test_observers_are_called_before_receivers_once_each(listen):
    signal, heard = Signal(), []

    def watch(**facts):
        heard.append(facts)

    observe(signal, watch)
    observe(signal, watch)
    listen(signal, lambda **facts: heard.append("receiver"))
    announce(signal, sender="sender", name="films")

    assert heard == [{"name": "films"}, "receiver"]


def test_an_error_in_an_observer_reaches_neither_caller_nor_other_observers(caplog):
    signal, heard = Signal(), []

    def broken(**facts):
        raise ZeroDivisionError("in an observer")

    observe(signal, broken)
    observe(signal, lambda **facts: heard.append(facts["name"]))
    with caplog.at_level(logging.ERROR, logger="dbopt.signals"):
        announce(signal, sender=None, name="films")

    assert heard == ["films"]
    assert "ZeroDivisionError" in caplog.text
