"""A million calls with different arguments: memory stays bounded, in the server and in the process."""

from __future__ import annotations

import gc
import os
import resource
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from dbopt.cache import cached_query, invalidate
from tests.cache.stages import in_children
from tests.cache.valkeys import OwnValkey

SERVER_BYTES = 64 * 1024 * 1024
PROCESSES = 2
# What a process may have more after the last call than after the first thousand.
GROWTH_BYTES = 16 * 1024 * 1024
WARM_UP = 1_000
# Tokens, the identity of the server, totals and the marks of the last minute: one each ten seconds and process.
FEW_KEYS = 10 + 7 * PROCESSES


@cached_query(timeout=300, tags=["squares"])
def square(number):
    return {"number": number, "square": number * number}


@pytest.fixture(params=["allkeys-lru", "volatile-ttl"])
def small_valkey(request, tmp_path):
    server = OwnValkey(tmp_path, "--maxmemory", str(SERVER_BYTES), "--maxmemory-policy", request.param)
    server.start()
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url, "KEY_PREFIX": "memory"}}
    dbopt = {**settings.DBOPT, "CACHE": {"CONNECT_TIMEOUT": 5, "SOCKET_TIMEOUT": 5}}
    with override_settings(CACHES=caches, DBOPT=dbopt):
        yield server
    server.close()


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def call_all(numbers):
    """Call with each number; check each answer, and that the process does not grow."""
    before = None
    for count, number in enumerate(numbers):
        assert square(number) == {"number": number, "square": number * number}
        if count == WARM_UP:
            gc.collect()
            before = resident_bytes()
    assert before is not None
    gc.collect()
    grown = resident_bytes() - before
    assert grown < GROWTH_BYTES, f"{grown:,} bytes more after {len(numbers):,} calls"


@pytest.mark.parametrize("calls", [5_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_arguments_without_end_take_no_memory_without_end(small_valkey, calls):
    share = calls // PROCESSES
    children = []
    for begin in range(0, calls, share):
        children += in_children(1, partial(call_all, range(begin, begin + share)))
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]

    assert statuses == [0] * PROCESSES
    memory, counts = small_valkey.client.info("memory"), small_valkey.client.info("stats")
    assert memory["used_memory_dataset"] <= SERVER_BYTES
    others = [key for key in small_valkey.client.scan_iter(count=10_000) if b":dbopt:v:" not in key]
    assert len(others) <= FEW_KEYS, "only values are as many as the calls"
    if calls == 1_000_000:
        assert counts["evicted_keys"] > 0
    invalidate("squares")
    assert square.uncached(7) == square(7)
