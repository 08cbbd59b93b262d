"""What the driver's errors become."""

from __future__ import annotations

import pytest
from neo4j.exceptions import ResultFailedError

from dbopt.exceptions import GraphSchemaConflictError
from dbopt.neo4j.errors import Place, translate

PLACE = Place(alias="default", database="neo4j", address="127.0.0.1:7687", query="dbopt.create")


def test_result_that_failed_before_its_transaction_ended_tells_what_the_server_said(graph):
    graph.write("CREATE RANGE INDEX zt_errors FOR (n:ZtErrors) ON (n.id)")
    with pytest.raises(GraphSchemaConflictError) as caught:
        graph.write("CREATE RANGE INDEX zt_errors FOR (n:ZtErrors) ON (n.id)")
    late = ResultFailedError(None, "The result has failed.")
    late.__cause__ = caught.value.__cause__

    translated = translate(late, PLACE)

    assert type(translated) is GraphSchemaConflictError
    assert translated.code == caught.value.code
