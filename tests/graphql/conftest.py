"""Fixtures for GraphQL: no test leaves anything in promise's queue of this thread."""

from __future__ import annotations

import pytest
from promise.promise import async_instance

from dbopt.signals import batch_loaded


@pytest.fixture(autouse=True)
def clean_thread():
    yield
    left = len(async_instance.normal_queue) + len(async_instance.late_queue), async_instance.is_tick_used
    async_instance.normal_queue.clear()
    async_instance.late_queue.clear()
    async_instance.is_tick_used = False
    assert left == (0, False)


@pytest.fixture
def batches():
    """(loader, size) of each batch, as the signal tells it."""
    seen = []

    def receive(sender, loader, size, hits, seconds, **_):
        seen.append((loader, size))

    batch_loaded.connect(receive)
    yield seen
    batch_loaded.disconnect(receive)
