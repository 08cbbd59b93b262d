from __future__ import annotations

import logging
import threading
import time

import pytest

from dbopt.exceptions import (
    GraphIntegrityError,
    GraphPoolTimeoutError,
    GraphQueryError,
    GraphTimeoutError,
)
from dbopt.neo4j.cypher import read_statement
from dbopt.neo4j.queries import Counters
from tests.neo4j.conftest import heard

pytestmark = pytest.mark.usefixtures("neo4j_server")

SECRET = "value-nobody-may-see"
ENDLESS = "UNWIND range(1, 1000000000) AS x WITH x WHERE x % 7 = $seven RETURN count(x)"


def test_read_returns_all_rows(graph):
    rows = graph.read("UNWIND range(1, 2500) AS n RETURN n, n * $factor AS product", {"factor": 2})

    assert len(rows) == 2500
    assert (rows[-1]["n"], rows[-1]["product"]) == (2500, 5000)
    assert graph.pool_stats().leases == 0


def test_write_tells_what_it_changed(graph):
    summary = graph.write("CREATE (n:ZtThing {a: 1})-[:ZT_KNOWS]->(:ZtThing) RETURN n.a AS a")

    assert summary.counters == Counters(nodes_created=2, relationships_created=1, properties_set=1, labels_added=2)
    assert summary.counters.contains_updates
    assert [row["a"] for row in summary.records] == [1]
    assert summary.database == "neo4j"


def test_write_that_changes_nothing_says_so(graph):
    assert graph.write("MATCH (n:ZtThing) SET n.a = 2").counters == Counters()


def test_read_may_not_write(graph):
    with pytest.raises(GraphQueryError) as raised:
        graph.read("CREATE (n:ZtThing)", name="things")

    assert raised.value.code == "Neo.ClientError.Statement.AccessMode"
    assert str(raised.value).endswith(
        "refused query 'things': a read may not write (Neo.ClientError.Statement.AccessMode). Use write()."
    )
    assert graph.read("MATCH (n:ZtThing) RETURN count(n) AS n")[0]["n"] == 0


def test_syntax_error_shows_what_is_wrong(graph):
    with pytest.raises(GraphQueryError, match=r"refused query [0-9a-f]{16}: Invalid input 'RETRUN'"):
        graph.read("RETRUN 1")


def test_violated_constraint_leaves_the_value_out(graph):
    graph.write("CREATE CONSTRAINT zt_unique FOR (n:ZtThing) REQUIRE n.id IS UNIQUE")
    graph.write("CREATE (n:ZtThing {id: $id})", {"id": SECRET})

    with pytest.raises(GraphIntegrityError) as raised:
        graph.write("CREATE (n:ZtThing {id: $id})", {"id": SECRET}, name="add")

    assert raised.value.code == "Neo.ClientError.Schema.ConstraintValidationFailed"
    assert SECRET not in str(raised.value)
    assert SECRET in str(raised.value.__cause__)


@pytest.mark.parametrize(
    "cypher",
    [
        "RETURN date($value)",
        "RETURN $value + $absent",
        "RETURN 1 / size($value) / 0",
        "MATCH (n:ZtThing) WHERE n.x = $value CALL nothing.like.this() YIELD a RETURN a",
        "RETURN toInteger({a: $value})",
        "UNWIND [1] AS x RETURN $value.y.z",
    ],
)
def test_no_error_shows_a_parameter(graph, cypher, caplog):
    with pytest.raises(GraphQueryError) as raised:
        graph.read(cypher, {"value": SECRET})

    assert SECRET not in str(raised.value)
    assert SECRET not in caplog.text


def test_parameter_of_a_type_that_cannot_be_sent(graph):
    with pytest.raises(GraphQueryError) as raised:
        graph.read("RETURN $a", {"a": object()}, name="strange")

    assert str(raised.value) == (
        "Query 'strange' for Neo4j 'default' has a parameter that the driver cannot send: "
        "use numbers, strings, booleans, dates, lists and maps of these."
    )
    assert graph.read("RETURN 1 AS one")[0]["one"] == 1


def test_query_is_ended_after_its_time(graph):
    with pytest.raises(GraphTimeoutError) as raised:
        graph.read(ENDLESS, {"seven": 0}, timeout=0.3, name="endless")

    assert raised.value.code == "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration"
    assert str(raised.value).startswith("Query 'endless' on Neo4j 'default' (database 'neo4j' at ")
    assert str(raised.value).endswith(" ran longer than its time limit, and was ended.")


def test_the_alias_limits_queries_that_name_no_limit(alias):
    with pytest.raises(GraphTimeoutError):
        alias(QUERY_TIMEOUT=0.3).read(ENDLESS, {"seven": 0})


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_no_time_is_refused_because_the_server_would_take_it_for_no_limit(graph, timeout):
    with pytest.raises(ValueError, match=r"^timeout is .*; it must be more than 0 seconds\.$"):
        graph.read("RETURN 1", timeout=timeout)


def test_name_is_shown_by_the_server_while_the_query_runs(graph):
    rows = graph.read("SHOW TRANSACTIONS YIELD metaData, currentQuery RETURN metaData", name="who-am-i")

    assert {"dbopt": "'who-am-i'"} in [row["metaData"] for row in rows]


def test_listeners_hear_of_each_query_without_its_values(graph):
    with heard() as facts:
        graph.read("RETURN $a AS a", {"a": SECRET}, name="one")
        graph.write("CREATE (n:ZtThing {a: 17})")
        with pytest.raises(GraphQueryError):
            graph.read("RETRUN 1")

    seconds = [fact.pop("seconds") for fact in facts]
    assert all(0 < value < 30 for value in seconds)
    common = {"alias": "default", "database": "neo4j", "slow": facts[0]["slow"]}
    assert facts[0] == common | {
        "access": "read",
        "name": "one",
        "fingerprint": read_statement("RETURN $a AS a").fingerprint,
        "rows": 1,
        "failed": False,
    }
    assert (facts[1]["access"], facts[1]["name"], facts[1]["rows"], facts[1]["failed"]) == ("write", None, 0, False)
    assert facts[1]["fingerprint"] == read_statement("CREATE (n:ZtThing {a: 4})").fingerprint
    assert (facts[2]["failed"], facts[2]["rows"]) == (True, 0)


def test_slow_query_is_logged_without_values(alias, caplog):
    graph = alias(SLOW_QUERY_MS=0)
    with caplog.at_level(logging.WARNING, logger="dbopt.neo4j"):
        graph.read("RETURN $a AS a, 'literal-value' AS b", {"a": SECRET}, name="slow-one")

    (record,) = [record for record in caplog.records if record.name == "dbopt.neo4j.queries"]
    fingerprint = read_statement("RETURN $a AS a, 'x' AS b").fingerprint
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("Slow Cypher on other/neo4j: ")
    assert record.getMessage().endswith(
        f" ms, 1 rows, read, slow-one, fingerprint {fingerprint}: RETURN $a AS a, ? AS b"
    )


def test_fast_query_is_not_logged(alias, caplog):
    alias(SLOW_QUERY_MS=60_000).read("RETURN 1")

    assert [record for record in caplog.records if record.name.startswith("dbopt")] == []


def test_exhausted_pool_fails_in_time_and_is_counted(alias):
    graph = alias(MAX_CONNECTION_POOL_SIZE=1, ACQUISITION_TIMEOUT=0.4, CONNECTION_TIMEOUT=0.3)
    with graph.session() as session:
        session.run("UNWIND range(1, 100000) AS n RETURN n")
        assert graph.pool_stats().leases == 1
        assert graph.pool_stats().in_use == 1
        assert graph.pool_stats().utilization == 1.0

        with pytest.raises(GraphPoolTimeoutError) as raised:
            graph.read("RETURN 1", name="waiting")

    assert str(raised.value).endswith(
        " became free in time for query 'waiting'. Shorten the queries that hold them, or raise "
        "MAX_CONNECTION_POOL_SIZE or ACQUISITION_TIMEOUT."
    )
    stats = graph.pool_stats()
    assert (stats.timeouts, stats.leases, stats.peak, stats.waiters) == (1, 0, 1, 0)
    assert graph.read("RETURN 1 AS one")[0]["one"] == 1


def test_waiting_threads_are_counted(alias):
    graph = alias(MAX_CONNECTION_POOL_SIZE=1)
    with graph.session() as session:
        session.run("UNWIND range(1, 100000) AS n RETURN n")
        thread = threading.Thread(target=graph.read, args=("RETURN 1",))
        thread.start()
        while graph.pool_stats().waiters == 0:
            assert thread.is_alive()
            time.sleep(0.01)
        assert graph.pool_stats().waiters == 1
    thread.join(10)

    stats = graph.pool_stats()
    assert (stats.waiters, stats.leases, stats.size, stats.source) == (0, 0, 1, "private")


def test_pool_numbers_fall_back_to_our_own_where_the_driver_hides_its():
    from dbopt.neo4j.leases import Leases

    leases = Leases(5)
    with leases.lease():
        stats = leases.stats("default", object())

    assert (stats.source, stats.leases, stats.open, stats.in_use, stats.utilization) == ("public", 1, None, None, 0.2)


def test_errors_in_a_session_are_those_of_dbopt(graph):
    with pytest.raises(GraphQueryError, match="Invalid input"), graph.session() as session:
        session.run("RETRUN 1").consume()

    assert graph.pool_stats().leases == 0


def test_session_reads_unless_it_is_told_to_write(graph):
    with pytest.raises(GraphQueryError, match="may not write"), graph.session() as session:
        session.run("CREATE (:ZtThing)").consume()
    with graph.session(access="w") as session:
        session.run("CREATE (:ZtThing)").consume()

    assert graph.read("MATCH (n:ZtThing) RETURN count(n) AS n")[0]["n"] == 1


def test_session_refuses_an_unknown_access(graph):
    with pytest.raises(ValueError, match=r'^access is \'rw\'; it must be "r" or "w"\.$'):
        graph.session(access="rw")


def test_explain_runs_nothing_and_finds_scans(graph):
    explained = graph.explain("MATCH (n:ZtThing {a: $a}), (m) SET n.b = 1 RETURN n, m", {"a": 1})

    assert explained.query_type == "rw"
    assert explained.plan.operator == "ProduceResults"
    kinds = [finding.kind for finding in explained.findings]
    assert {"CartesianProduct", "NodeByLabelScan", "AllNodesScan"} <= set(kinds)
    assert (
        "NodeByLabelScan n:ZtThing reads every node of a label: an index on the filtered properties would find them"
        in [finding.text for finding in explained.findings]
    )
    assert all(node.rows is None for node in explained.plan.walk())


def test_explain_finds_nothing_where_an_index_is_used(graph):
    graph.write("CREATE CONSTRAINT zt_unique FOR (n:ZtThing) REQUIRE n.id IS UNIQUE")
    graph.write("CREATE (:ZtThing {id: 1})")

    explained = graph.explain("MATCH (n:ZtThing {id: $id}) RETURN n.id", {"id": 1})

    assert "NodeUniqueIndexSeek" in explained.operators()
    assert explained.findings == ()


def test_profile_counts_real_rows(graph):
    graph.write("UNWIND range(1, 5) AS i CREATE (:ZtThing {a: i})")

    profiled = graph.profile("MATCH (n:ZtThing) WHERE n.a > 2 RETURN n.a")

    assert profiled.plan.rows == 3
    assert sum(node.db_hits for node in profiled.plan.walk()) > 5


def test_profile_refuses_to_write(graph):
    with pytest.raises(GraphQueryError) as raised:
        graph.profile("CREATE (:ZtThing)")

    assert str(raised.value) == "profile runs the query, and this one writes (type 'w'). Use explain."
    assert graph.read("MATCH (n:ZtThing) RETURN count(n) AS n")[0]["n"] == 0


def test_explain_wants_the_bare_query(graph):
    with pytest.raises(GraphQueryError, match="leave that word out"):
        graph.explain("EXPLAIN RETURN 1")


def test_verify_says_who_answers(graph):
    answer = graph.verify()

    assert answer.agent.startswith("Neo4j/")
    assert answer.protocol.startswith(("5.", "6."))
    assert 0 < answer.seconds < 2


def test_integrity_of_names_and_values_in_a_write(graph):
    graph.write("UNWIND $rows AS row CREATE (:ZtThing {a: row[0], b: row[1]})", {"rows": [[1, "ä"], [2, None]]})

    assert [tuple(row) for row in graph.read("MATCH (n:ZtThing) RETURN n.a, n.b ORDER BY n.a")] == [(1, "ä"), (2, None)]
