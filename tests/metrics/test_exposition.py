"""What a scrape shows after what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.db.utils import ProgrammingError
from django.test import AsyncClient, Client, override_settings
from psycopg import sql

from dbopt.graphql import DataLoader
from dbopt.graphql.execution.promises import held_queue
from dbopt.metrics import receivers, samples, series
from dbopt.metrics.names import CappedNames
from dbopt.metrics.registry import OPERATIONS
from dbopt.monitoring import track_request, tracker
from dbopt.signals import announce, batch_loaded, cache_invalidated, cache_read, cypher_executed, n_plus_one_found
from tests.metrics.conftest import MIDDLEWARE, TOKEN, samples_of
from tests.testapp.models import Author

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).parents[2]


class Doubles(DataLoader):
    def batch_load(self, keys):
        return [2 * key for key in keys]


def test_statement_is_in_histogram_and_counters(scrape):
    labels = {"alias": "default", "operation": "select"}
    before = scrape()

    Author.objects.count()
    after = scrape()

    def grown(name, **more):
        return after(name, **labels, **more) - before(name, **labels, **more)

    assert grown("postgres_query_total") == 1
    assert grown("postgres_query_duration_seconds_count") == 1
    assert grown("postgres_query_duration_seconds_bucket", le="10.0") == 1
    assert grown("postgres_query_errors_total") == 0


def test_installing_twice_counts_once(scrape):
    labels = {"alias": "default", "operation": "select"}
    receivers.install()
    before = scrape()

    Author.objects.count()

    assert scrape()("postgres_query_total", **labels) == before("postgres_query_total", **labels) + 1


def test_slow_and_failed_statements_have_counters_with_the_same_labels(scrape):
    labels = {"alias": "default", "operation": "select"}
    before = scrape()

    with override_settings(DBOPT={"MONITORING": {"SLOW_QUERY_MS": 300}}), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.35)")
        with pytest.raises(ProgrammingError):
            cursor.execute("SELECT nope")
    after = scrape()

    for name, expected in (
        ("postgres_query_total", 2),
        ("postgres_slow_query_total", 1),
        ("postgres_query_errors_total", 1),
    ):
        assert after(name, **labels) - before(name, **labels) == expected, name


def test_every_known_series_is_there_before_its_first_event(scrape):
    value = scrape()

    for operation in OPERATIONS:
        for name in ("query_total", "slow_query_total", "query_errors_total", "query_duration_seconds_count"):
            assert value(f"postgres_{name}", alias="default", operation=operation) is not None
    assert value("postgres_pool_timeouts_total", alias="default", pool_type="write") == 0
    assert value("neo4j_query_total", database="neo4j", operation="read", status="error") is not None
    assert value("redis_cache_hits_total", cache="default", prefix="other") is not None
    assert value("dbopt_internal_errors_total") is not None


def test_hits_misses_and_rate(scrape):
    for outcome in ("hit", "hit", "hit", "miss", "bypass", "error"):
        announce(
            cache_read, sender=None, name="atlas:maps", prefix="atlas", outcome=outcome, reason=None, seconds=0.001
        )
    announce(cache_invalidated, sender=None, tags=4, delivered=True, seconds=0.001)

    value = scrape()

    assert value("redis_cache_hits_total", cache="default", prefix="atlas") == 3
    assert value("redis_cache_misses_total", cache="default", prefix="atlas") == 1
    assert value("redis_cache_sets_total", cache="default", prefix="atlas") == 0
    assert 0 < value("redis_cache_hit_rate", cache="default") < 1
    assert value("redis_cache_invalidations_total", cache="default", delivered="yes") >= 4
    assert value("redis_cache_size_bytes", cache="default") > 100_000


def test_stored_results_are_counted(scrape):
    from dbopt.cache.counters import counters_of

    before = scrape()("redis_cache_sets_total", cache="default", prefix="stored") or 0
    counters_of("stored:one").stored(10)
    counters_of("stored:two").stored(10)

    scrape()

    assert scrape()("redis_cache_sets_total", cache="default", prefix="stored") == before + 2


def test_loaders_show_batches_and_hits(scrape):
    announce(batch_loaded, sender=None, loader="AtlasById", size=30, hits=10, seconds=0.001)
    announce(batch_loaded, sender=None, loader="AtlasById", size=0, hits=20, seconds=0.0)

    value = scrape()

    assert value("dataloader_batch_size_count", loader="AtlasById") == 1
    assert value("dataloader_batch_size_bucket", loader="AtlasById", le="25.0") == 0
    assert value("dataloader_batch_size_bucket", loader="AtlasById", le="50.0") == 1
    assert value("dataloader_loads_total", loader="AtlasById", result="miss") == 30
    assert value("dataloader_loads_total", loader="AtlasById", result="hit") == 30
    assert value("dataloader_cache_hit_rate", loader="AtlasById") == 0.5


@pytest.mark.parametrize(("times", "found"), [(4, None), (5, 1), (50, 1)])
def test_request_that_repeats_a_statement_is_counted_once_by_its_route(scrape, times, found):
    route = f"atlas/{times}/<int:pk>"

    with track_request(route):
        for pk in range(times):
            Author.objects.filter(pk=pk).exists()

    assert scrape()("dbopt_n_plus_one_total", kind="statement", route=route) == found


@pytest.mark.parametrize(("times", "found"), [(4, None), (5, 1), (50, 1)])
def test_loader_that_does_not_batch_is_counted_once_by_its_route(scrape, times, found):
    route = f"graphql/{times}"

    with track_request(route), held_queue():
        assert [Doubles({}).load(key).get() for key in range(times)] == [2 * key for key in range(times)]

    assert scrape()("dbopt_n_plus_one_total", kind="loader", route=route) == found
    assert scrape()("dbopt_n_plus_one_total", kind="statement", route=route) is None


def test_loader_outside_a_request_has_no_route(scrape):
    before = scrape()("dbopt_n_plus_one_total", kind="loader", route="-") or 0

    with held_queue():
        for key in range(5):
            Doubles({}).load(key).get()

    assert scrape()("dbopt_n_plus_one_total", kind="loader", route="-") == before + 1


def test_routes_beyond_the_cap_are_one(scrape, monkeypatch):
    monkeypatch.setattr(series, "_routes", CappedNames(1))
    for route in ("capped/a", "capped/b", "capped/c"):
        announce(n_plus_one_found, sender=None, route=route, fingerprint="f", count=9, seconds=1.0, origin=None)

    value = scrape()

    assert value("dbopt_n_plus_one_total", kind="statement", route="capped/a") == 1
    assert value("dbopt_n_plus_one_total", kind="statement", route="capped/b") is None
    assert value("dbopt_n_plus_one_total", kind="statement", route="other") >= 2


def test_cypher_is_counted_by_database(scrape):
    for failed in (False, True):
        announce(
            cypher_executed, sender=None, alias="default", database="atlas", access="write", name=None,
            fingerprint="f", seconds=0.2, rows=0, slow=True, failed=failed,
        )  # fmt: skip

    value = scrape()

    labels = {"database": "atlas", "operation": "write"}
    assert value("neo4j_query_total", **labels, status="ok") == 1
    assert value("neo4j_query_total", **labels, status="error") == 1
    assert value("neo4j_slow_query_total", **labels) == 2
    assert value("neo4j_query_duration_seconds_count", **labels) == 2


def test_faults_of_the_tracker_are_counted(scrape, monkeypatch):
    before = scrape()("dbopt_internal_errors_total")
    monkeypatch.setattr(tracker, "read_statement", lambda *_: 1 / 0)

    Author.objects.count()

    monkeypatch.undo()
    assert scrape()("dbopt_internal_errors_total") == before + 1


def test_fault_while_sampling_ends_no_request(monkeypatch, scrape):
    before = scrape()("dbopt_internal_errors_total")
    monkeypatch.setattr(samples, "pool_states", lambda: 1 / 0)
    monkeypatch.setattr(samples._sampler, "_sampled", 0.0)

    samples.sample_now_and_then()

    monkeypatch.undo()
    assert scrape()("dbopt_internal_errors_total") == before + 1


def test_no_label_carries_text_of_a_statement():
    secret = "hunter2"
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}").format(sql.Literal(secret)))
    with override_settings(MIDDLEWARE=MIDDLEWARE, DEBUG=True):
        page = Client().get("/metrics").content.decode()

    assert secret not in page
    names = {name for (_, labels) in samples_of(page) for name, _ in labels}
    assert not names & {"sql", "query", "fingerprint", "user", "url", "path", "key"}


def test_names_beyond_the_cap_are_one():
    names = CappedNames(2)

    assert [names.admit(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


def test_metrics_of_django_prometheus_are_on_the_same_page():
    import django_prometheus.middleware  # noqa: F401 - registers its families where it is imported

    with override_settings(
        MIDDLEWARE=["django_prometheus.middleware.PrometheusBeforeMiddleware", *MIDDLEWARE], DEBUG=True
    ):
        Client().get("/nothing")
        page = Client().get("/metrics").content.decode()

    assert samples_of(page)["django_http_requests_before_middlewares_total", ()] >= 1
    assert page.count("# TYPE postgres_query_total counter") + page.count("# TYPE postgres_query counter") == 1


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_page_is_protected_by_its_own_token(path):
    dbopt = {"METRICS": {"TOKENS": [TOKEN]}, "HEALTH": {"TOKENS": ["another"]}}
    with override_settings(MIDDLEWARE=MIDDLEWARE, DBOPT=dbopt):
        stranger = Client().get(path, REMOTE_ADDR="192.0.2.1")
        wrong = Client(headers={"Authorization": "Bearer another"}).get(path)
        right = Client(headers={"Authorization": f"Bearer {TOKEN}", "Host": "10.0.0.9"})
        answers = [right.get(path), right.head(path), right.post(path)]
        asynchronous = async_to_sync(AsyncClient().get)(path, headers={"Authorization": f"Bearer {TOKEN}"})

    assert [(answer.status_code, answer.content) for answer in (stranger, wrong)] == [(404, b"")] * 2
    assert [answer.status_code for answer in answers] == [200, 200, 405]
    assert asynchronous.status_code == 200
    assert answers[0]["Cache-Control"] == "no-store"


def test_openmetrics_is_given_to_those_who_ask_for_it():
    with override_settings(MIDDLEWARE=MIDDLEWARE, DEBUG=True):
        response = Client().get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})

    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


BEFORE_ANY_QUERY = """
import django
django.setup()
from prometheus_client import REGISTRY
assert "postgres_query_total" not in REGISTRY._names_to_collectors, "registered before use"
from django.db import connections
from dbopt.metrics.exposition import exposition
connections.settings["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 2}
page, _ = exposition("")
wrapper = connections["default"]
assert wrapper.connection is None, "connected"
assert wrapper._connection_pools == {}, "made a pool"
from tests.metrics.conftest import samples_of
counted = {key: value for key, value in samples_of(page.decode()).items()
           if key[0].startswith(("postgres_", "neo4j_", "dataloader_")) and not key[0].endswith("_created")}
print(len(counted) > 100, sorted({value for (name, _), value in counted.items() if name != "postgres_pool_max"}))
"""


def test_scrape_before_any_query_opens_nothing_and_shows_zeros():
    ran = subprocess.run(
        [sys.executable, "-c", BEFORE_ANY_QUERY], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert (ran.stdout.strip(), ran.returncode) == ("True [0.0]", 0), ran.stderr
