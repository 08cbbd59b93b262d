"""A real Prometheus scrapes a live server, and is asked the guide's three expressions."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest
from django.contrib.auth.models import User
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path

from dbopt.cache import cached_query
from dbopt.conf import dbopt_settings
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)

EXPRESSIONS = {
    "hit rate": "rate(redis_cache_hits_total[5m]) / (rate(redis_cache_hits_total[5m]) + rate(redis_cache_misses_total[5m]))",
    "slow query rate": "rate(postgres_slow_query_total[5m]) / rate(postgres_query_total[5m])",
    "connections in use": 'postgres_pool_size{pool_type="write"} - postgres_pool_idle{pool_type="write"}',
}
CONFIGURATION = """
global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}
scrape_configs:
  - job_name: django
    static_configs: [{{targets: ["{target}"]}}]
"""


@cached_query(timeout=60, name="prometheus:authors", shared=True)
def author_names(first):
    return list(Author.objects.filter(pk__gte=first).values_list("name", flat=True))


def work(request):
    author_names(int(request.GET["round"]))
    author_names(int(request.GET["round"]))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.25)")
    return HttpResponse(str(User.objects.count()))


urlpatterns = [path("work", work)]


def free_port():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def serving():
    """This process as a web server with a thread a request; gives its address."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.set_app(WSGIHandler())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(WSGIRequestHandler):
    """Does not write a line a request."""

    def log_message(self, format, *args):  # noqa: A002 - its name in the standard library
        pass


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def prometheus(target, folder):
    """A Prometheus of its own on a free port of this machine, ended with the block."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip(
            "no `prometheus` on the PATH: the three expressions were not tried (Debian: apt install prometheus)"
        )
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(target=target))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: fetch(f"http://{address}/-/ready"))
        yield lambda expression: ask(address, expression)
    finally:
        process.terminate()
        process.wait(10)


def ask(address, expression):
    answer = json.loads(fetch(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
    return {
        tuple(sorted((name, value) for name, value in row["metric"].items() if name not in ("instance", "job"))): float(
            row["value"][1]
        )
        for row in answer["data"]["result"]
    }


def until(attempt, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            found = attempt()
            if found:
                return found
        if time.monotonic() > deadline:
            pytest.fail(f"nothing after {seconds} s")
        time.sleep(0.2)


def test_three_expressions_of_the_guide_have_data(tmp_path):
    dbopt = {
        "MONITORING": {"SLOW_QUERY_MS": 200},
        "METRICS": {"NETWORKS": ["127.0.0.0/8"]},
        "HEALTH": {"NETWORKS": ["127.0.0.0/8"]},
    }
    middleware = ["dbopt.health.middleware.HealthMiddleware", "dbopt.monitoring.middleware.MonitoringMiddleware"]
    start = os.getpid() * 1000
    # Held by the test: those of the requests are closed at their ends.
    connection.ensure_connection()
    with (
        override_settings(DBOPT=dbopt, MIDDLEWARE=middleware, ROOT_URLCONF=__name__),
        serving() as target,
        prometheus(target, tmp_path) as query,
    ):
        until(lambda: query("up == 1"))
        for number in range(6):
            fetch(f"http://{target}/work?round={start + number}")
            time.sleep(0.5)

        def answers():
            found = {name: query(expression) for name, expression in EXPRESSIONS.items()}
            rate = found["hit rate"].get((("cache", "default"), ("prefix", "prometheus")))
            return found if rate is not None and not math.isnan(rate) else None  # NaN: no second scrape yet

        found = until(answers)

    assert 0.3 < found["hit rate"][("cache", "default"), ("prefix", "prometheus")] < 0.7
    assert 0 < found["slow query rate"][("alias", "default"), ("operation", "select")] < 1
    assert found["connections in use"][("alias", "default"), ("pool_type", "write")] >= 1
    assert dbopt_settings.monitoring.slow_query_ms == 100
