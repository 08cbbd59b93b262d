"""The demo's five queries use their indexes by the planner's own choice, and small tables say so when they do not."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Count

from dbopt.intelgraph.models import Tenant
from example_project.demo import indexes, tables

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_pages_of_other_tests(transactional_db):
    """Rolled back rows leave pages, and the planner counts pages."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE intelgraph_tenant CASCADE")


def compared():
    indexes.settle()
    return indexes.compare(Tenant.objects.annotate(size=Count("entities")).order_by("-size").first().pk)


@pytest.mark.parametrize(
    "entities", [1000, pytest.param(5000, marks=pytest.mark.long), pytest.param(20_000, marks=pytest.mark.long)]
)
def test_planner_chooses_each_index_at_every_size(entities):
    call_command("intelgraph_seed", entities=entities, verbosity=0)

    rows = compared()

    assert [row["index"] for row in rows] == [
        "idx_entity_tenant_type_created",
        "idx_entity_tenant_created",
        "idx_entity_uname_trgm",
        "idx_rel_source_conf",
        "idx_rel_props",
    ]
    assert [row["index"] for row in rows if row["index"] not in " ".join(row["after"]["scans"])] == []
    assert [row["used"] for row in rows] == [True] * 5
    assert [row["index"] for row in rows if row["index"] in " ".join(row["before"]["scans"])] == []


def test_tables_of_a_few_rows_are_read_whole_and_the_report_says_so(tmp_path):
    (tmp_path / "entities.csv").write_text("external_id,type,name,confidence,props\na,PERSON,Ada,1,{}\n")
    call_command("intelgraph_load", str(tmp_path), tenant="few", create_tenant=True, verbosity=0)

    rows = compared()

    assert [row["used"] for row in rows] == [False] * 5
    assert [row["after"]["scans"] for row in rows] == [("Seq Scan",)] * 5
    assert list(tables.index_lines(rows))[-1] == (
        "  A table of a few pages is read whole, whatever indexes it has: load more rows to see them used."
    )
