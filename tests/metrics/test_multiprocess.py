"""Several processes behind one page (PROMETHEUS_MULTIPROC_DIR)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.metrics.conftest import samples_of

ROOT = Path(__file__).parents[2]
WORKER = """
import sys
import django
django.setup()
from dbopt.signals import announce, cache_read
from dbopt.metrics.receivers import count_statement
from dbopt.metrics.samples import sample_now
from dbopt.monitoring.aggregate import Observation
count = int(sys.argv[1])
for number in range(count):
    count_statement(Observation("sql", "default", "f", "select", "SELECT ?", seconds=0.002, slow=number % 2 == 0,
                                failed=False, origin=None, route="-"))
    announce(cache_read, sender=None, name="n", prefix="n", outcome="hit" if number else "miss", reason=None, seconds=0)
sample_now()
print("ready", flush=True)
sys.stdin.readline()
"""
SCRAPER = """
import django
django.setup()
from dbopt.metrics.exposition import exposition
print(exposition("")[0].decode())
"""


def run(code, *arguments, folder):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_page_adds_up_all_processes_whichever_of_them_is_asked(tmp_path):
    workers = [run(WORKER, count, folder=tmp_path) for count in ("4", "6")]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"

    pages = []
    for _ in range(2):
        with run(SCRAPER, folder=tmp_path) as scraper:
            pages.append(samples_of(scraper.communicate(timeout=60)[0]))
    for worker in workers:
        worker.communicate("\n", timeout=60)

    select = (("alias", "default"), ("operation", "select"))
    for page in pages:
        assert page["postgres_query_total", select] == 10
        assert page["postgres_slow_query_total", select] == 5
        assert page["postgres_query_duration_seconds_count", select] == 10
        # A ratio of sums, not a sum of ratios.
        assert page["redis_cache_hit_rate", (("cache", "default"),)] == 0.8
        assert page["postgres_pool_size", (("alias", "default"), ("pool_type", "write"))] == 0
