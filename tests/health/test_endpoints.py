"""The endpoints as clients see them: shapes, codes, access."""

from __future__ import annotations

import json
import threading
import time

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.postgres.signals import get_citext_oids, get_hstore_oids
from django.core.management import call_command
from django.db import connection, connections
from django.test import AsyncClient, Client, override_settings

from dbopt.health.servers import checks
from tests.health.conftest import TOKEN, dbopt_with
from tests.testapp.models import Author

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("neo4j_server")]

PROTECTED = ["/health/database", "/health/slow-queries", "/health/cache-stats"]
PROBES = ["/health/live", "/health/startup", "/health/ready"]


def test_report_has_its_shape(client):
    Author.objects.count()

    response = client.get("/health/database")

    report = response.json()
    assert response.status_code == 200, report
    assert response["Cache-Control"] == "no-store"
    assert response["Content-Type"] == "application/json"
    assert list(report) == [
        "status", "version", "timestamp", "scope", "workers", "checks", "postgres", "cache", "neo4j", "slowQueries",
    ]  # fmt: skip
    assert (report["status"], report["scope"], report["workers"]) == ("pass", "process", 1)
    assert sorted(report["checks"]) == ["cache", "database", "neo4j"]
    assert {check["status"] for check in report["checks"].values()} == {"pass"}
    assert report["postgres"]["server_version"].split(".")[0] == str(connection.pg_version // 10000)
    assert report["postgres"]["aliases"]["default"]["pool"] == report["postgres"]["pool"]
    assert report["neo4j"]["default"]["server_version"].startswith("Neo4j/")
    assert report["neo4j"]["default"]["pool"]["max"] == 50
    assert report["postgres"]["slow"] == {"last_hour": 0, "share": 0.0}
    assert report["slowQueries"] == []


def test_lines_of_the_guide_work_as_written(client):
    with connection.cursor() as cursor, override_settings(DBOPT=dbopt_with(MONITORING={"SLOW_QUERY_MS": 5})):
        cursor.execute("SELECT pg_sleep(0.01)")

    utilization = client.get("/health/database").json()["postgres"]["pool"]["utilization"]
    slow = client.get("/health/slow-queries").json()
    cache = client.get("/health/cache-stats").json()

    # One connection of this process, of those that the server gives to users.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        )
        (most,) = cursor.fetchone()
    assert utilization == round(1 / most, 4)
    assert isinstance(slow, list)
    assert len(slow) == 1
    assert slow[0]["sql"] == "SELECT pg_sleep(?)"
    assert "hitRate" in cache["overall"]


def test_cache_statistics_have_no_hit_rate_without_traffic(client):
    from dbopt.cache.counters import reset_statistics

    reset_statistics()

    report = client.get("/health/cache-stats").json()

    assert report["overall"]["hitRate"] is None
    assert (report["overall"]["hits"], report["overall"]["misses"]) == (0, 0)
    assert (report["scope"], report["window_s"]) == ("process", None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit must be a whole number from 1 to 1000."),
        ("limit=1001", "limit must be a whole number from 1 to 1000."),
        ("limit=-1", "limit must be a whole number from 1 to 1000."),
        ("limit=%D9%A1", "limit must be a whole number from 1 to 1000."),
        ("window=1h", "window must be a whole number from 1 to 3600."),
        ("window=99999999999999999999", "window must be a whole number from 1 to 3600."),
        ("sort=<b>", "sort must be one of total, mean, max, calls."),
    ],
)
def test_wrong_arguments_are_refused_without_repeating_them(query, message, client):
    response = client.get(f"/health/slow-queries?{query}")

    assert (response.status_code, response.json()) == (400, {"error": message})


def test_list_is_cut_and_sorted_as_asked(client):
    with override_settings(DBOPT=dbopt_with(MONITORING={"SLOW_QUERY_MS": 0}, HEALTH={"TOKENS": [TOKEN]})):
        for _ in range(3):
            Author.objects.count()
        Author.objects.exists()
        rows = client.get("/health/slow-queries?limit=1&sort=calls&window=60").json()

    assert [(row["calls"], row["slow"]) for row in rows] == [(3, 3)]
    assert sorted(rows[0]) == [
        "alias", "calls", "errors", "fingerprint", "last_seen", "max_ms", "mean_ms", "operation", "origin", "p95_ms",
        "route", "slow", "sql", "system", "total_ms",
    ]  # fmt: skip


def test_text_is_one_line_a_fact(client):
    response = client.get("/health/ready?format=text")

    lines = response.content.decode().splitlines()
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert lines[0] == "status: pass"
    assert "checks.database.status: pass" in lines


@pytest.mark.parametrize("path", [*PROBES, *PROTECTED])
@pytest.mark.parametrize("slash", ["", "/"])
def test_head_is_answered_and_post_is_not(path, slash):
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {TOKEN}"})

    head, post = client.head(path + slash), client.post(path + slash)

    assert (head.status_code, head.content) == (200, b"")
    assert (post.status_code, post["Allow"]) == (405, "GET, HEAD")
    assert post["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PROBES)
@override_settings(ALLOWED_HOSTS=["shop.example"], SECURE_SSL_REDIRECT=True)
def test_probe_by_the_address_of_a_pod_is_answered(path):
    response = Client().get(path, headers={"Host": "10.1.2.3:8000"})

    assert (response.status_code, response.json()) == (200, {"status": "pass"})


@pytest.mark.parametrize("path", PROBES)
@override_settings(ALLOWED_HOSTS=["shop.example"], SECURE_SSL_REDIRECT=True)
def test_asynchronous_probe_is_answered_too(path):
    response = async_to_sync(AsyncClient().get)(path, headers={"Host": "10.1.2.3:8000"})

    assert (response.status_code, json.loads(response.content)) == (200, {"status": "pass"})


def test_other_addresses_pass_through_the_middleware():
    assert Client().get("/health/unknown").status_code == 404
    assert async_to_sync(AsyncClient().get)("/ready").status_code == 404


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer "},
        {"X-Forwarded-For": "10.0.0.1"},
    ],
)
def test_stranger_learns_nothing(path, headers):
    with override_settings(DBOPT=dbopt_with(HEALTH={"TOKENS": [TOKEN], "NETWORKS": ["10.0.0.0/8"]})):
        response = Client(headers=headers).get(f"{path}?token={TOKEN}", REMOTE_ADDR="192.0.2.1")

    assert (response.status_code, response.content) == (404, b"")


def test_network_and_trusted_proxy_are_admitted():
    health = {"NETWORKS": ["10.0.0.0/8"], "TRUSTED_PROXIES": ["192.0.2.1"]}
    with override_settings(DBOPT=dbopt_with(HEALTH=health)):
        direct = Client().get("/health/slow-queries", REMOTE_ADDR="10.9.8.7")
        behind = Client().get("/health/slow-queries", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "10.9.8.7"})

    assert (direct.status_code, behind.status_code) == (200, 200)


def test_new_and_old_token_both_work_while_they_rotate():
    with override_settings(DBOPT=dbopt_with(HEALTH={"TOKENS": ["old", "new"]})):
        codes = [
            Client(headers={"Authorization": f"Bearer {token}"}).get("/health/cache-stats").status_code
            for token in ("old", "new", "older")
        ]

    assert codes == [200, 200, 404]


@override_settings(DEBUG=True)
def test_under_debug_the_own_machine_needs_no_token():
    assert Client().get("/health/cache-stats", REMOTE_ADDR="127.0.0.1").status_code == 200
    assert Client().get("/health/cache-stats", REMOTE_ADDR="192.0.2.1").status_code == 404


def test_user_needs_the_permission():
    user = get_user_model().objects.create_user("ada", is_staff=True)
    client = Client()
    client.force_login(user)

    assert client.get("/health/cache-stats", REMOTE_ADDR="192.0.2.1").status_code == 403

    permission = Permission.objects.filter(codename="view_monitor").first()
    if permission is None:
        # The permission comes with dbopt's own models; a superuser has it in any case.
        user.is_superuser = True
        user.save()
    else:
        user.user_permissions.add(permission)
    assert client.get("/health/cache-stats", REMOTE_ADDR="192.0.2.1").status_code == 200


def test_ready_shows_its_checks_only_to_those_admitted(client):
    assert list(Client().get("/health/ready").json()) == ["status"]
    assert list(client.get("/health/ready").json()) == ["status", "checks"]


def test_database_that_says_nothing_takes_the_process_out_within_a_second(move_database, black_hole, client):
    move_database(HOST="127.0.0.1", PORT=str(black_hole))

    started = time.monotonic()
    response = client.get("/health/ready")
    took = time.monotonic() - started
    codes = {client.get("/health/ready").status_code for _ in range(199)}
    started_live = time.monotonic()
    live = client.get("/health/live")
    took_live = time.monotonic() - started_live

    assert response.status_code == 503
    assert (response.json()["status"], response.json()["checks"]["database"]["error"]) == ("fail", "timeout")
    assert took < 1
    assert codes == {503}
    assert [thread.name for thread in threading.enumerate()].count("dbopt-health-database") <= 1
    assert (live.status_code, live.json()) == (200, {"status": "pass"})
    assert took_live < 0.1


def test_other_servers_that_say_nothing_are_a_warning(black_hole, client):
    dbopt = dbopt_with(HEALTH={"TOKENS": [TOKEN]}, NEO4J={"default": {"URI": f"bolt://127.0.0.1:{black_hole}"}})
    caches = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{black_hole}/0"}}
    with override_settings(DBOPT=dbopt, CACHES=caches):
        started = time.monotonic()
        response = client.get("/health/ready")
        took = time.monotonic() - started

    report = response.json()
    assert (response.status_code, report["status"]) == (200, "warn")
    assert {name: check["status"] for name, check in report["checks"].items()} == {
        "database": "pass",
        "cache": "fail",
        "neo4j": "fail",
    }
    assert took < 1


def test_refused_connection_is_named_by_its_class_alone(move_database, client):
    move_database(HOST="127.0.0.1", PORT="1", USER="secret-user")

    response = client.get("/health/database")

    assert response.status_code == 503
    assert response.json()["checks"]["database"]["error"] == "OperationalError"
    assert "secret-user" not in response.content.decode()
    assert response.json()["postgres"]["server_version"] is None


def test_full_pool_keeps_the_process_in_service(move_database, client):
    options = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.1}}
    move_database("pooled", OPTIONS=options)
    wrapper = connections["pooled"]
    wrapper.connect()
    try:
        health = {"TOKENS": [TOKEN], "READY_REQUIRES": ["database", "database.pooled"]}
        with override_settings(DBOPT=dbopt_with(HEALTH=health)):
            ready = client.get("/health/ready")
            report = client.get("/health/database").json()
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections["pooled"]

    assert (ready.status_code, ready.json()["status"]) == (200, "pass")
    pool = report["postgres"]["aliases"]["pooled"]["pool"]
    assert (pool["total"], pool["busy"], pool["max"], pool["utilization"]) == (1, 1, 1, 1.0)


def test_check_takes_nothing_from_the_pool(move_database, client):
    move_database("pooled", OPTIONS={"pool": {"min_size": 1, "max_size": 2}})
    # Asked by django.contrib.postgres for each alias at its first connection.
    get_hstore_oids.cache_clear()
    get_citext_oids.cache_clear()

    report = client.get("/health/database").json()

    assert report["checks"]["database.pooled"]["status"] == "pass"
    pool = report["postgres"]["aliases"]["pooled"]["pool"]
    assert (pool["total"], pool["busy"], pool["max"], pool["utilization"]) == (0, 0, 2, 0.0)
    assert "pooled" not in connections["pooled"]._connection_pools
    del connections["pooled"]


def test_required_name_that_is_no_check_fails(client):
    with override_settings(DBOPT=dbopt_with(HEALTH={"TOKENS": [TOKEN], "READY_REQUIRES": ["databse"]})):
        response = client.get("/health/ready")

    assert response.status_code == 503
    assert response.json()["checks"]["databse"]["error"] == "UnknownCheck"


def test_check_leaves_no_trace_in_the_statistics_and_no_connection(client):
    from dbopt.monitoring import reports

    Client().get("/health/ready")

    assert [row.sql for row in reports.statements()] == []
    # Of this database: others on the same server have test runs of their own.
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'dbopt-health'
    """
    with connection.cursor() as cursor:
        cursor.execute(query)
        for _ in range(100):
            (left,) = cursor.fetchone()
            if not left:
                break
            threading.Event().wait(0.02)
            cursor.execute(query)
    assert left == 0


def test_startup_waits_for_migrations():
    call_command("migrate", "sessions", "zero", verbosity=0)
    try:
        pending = Client().get("/health/startup")
    finally:
        call_command("migrate", "sessions", verbosity=0)

    assert (pending.status_code, pending.json()) == (503, {"status": "fail"})
    with override_settings(DBOPT=dbopt_with(HEALTH={"CHECK_TTL": 0})):
        assert Client().get("/health/startup").status_code == 200


def test_part_that_is_not_configured_is_absent(client):
    local = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with override_settings(CACHES=local, DBOPT={"HEALTH": {"TOKENS": [TOKEN]}}):
        report = client.get("/health/database").json()
        assert sorted(checks()) == ["database"]

    assert "cache" not in report
    assert "neo4j" not in report
