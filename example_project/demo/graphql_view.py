"""What else the view does: pages of Neo4j, a document refused, an answer kept until a mutation, a document by its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from dbopt.graphql import GraphQLView
from dbopt.intelgraph.queries import entities
from dbopt.intelgraph.schema import schema
from dbopt.tenancy import tenant_context
from example_project.demo.graphql_reads import ask
from example_project.demo.stopwatch import Measured, measure
from example_project.queries import HOSTILE, NEIGHBOURS, NESTED, TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbopt.intelgraph.models import Member

    Ask = Callable[..., bytes]

PROBE = "DEMO-PROBE"
CREATE = "mutation Create($input: NewEntity!) { createEntity(input: $input) { entity { id } } }"
DELETE = "mutation Delete($id: ID!) { deleteEntity(id: $id) { deletedId } }"


def show(member: Member) -> dict[str, Any]:
    """Figures of each; `as_promised` tells whether all answers were what they must be."""
    asked: Ask = partial(ask, GraphQLView.as_view(schema=schema), member)
    with tenant_context(member.tenant_id):
        parts = {
            "neighbours": _neighbours(asked, member.tenant_id),
            "refused": _refused(asked),
            "kept": _kept(asked),
            "persisted": _persisted(asked),
        }
    return {**parts, "as_promised": all(part.pop("as_promised") for part in parts.values())}


def _neighbours(asked: Ask, tenant: int) -> dict[str, Any]:
    hub = entities.most_connected(tenant)[:1].get()

    def page(after: str | None) -> Any:
        return _data(asked(query=NEIGHBOURS, variables={"id": hub.pk, "after": after}))["entity"]["neighbours"]

    first = measure(lambda: page(None))
    second = measure(lambda: page(first.result["pageInfo"]["endCursor"]))
    found = [{row["relationshipId"] for row in measured.result["nodes"]} for measured in (first, second)]
    total = first.result["totalCount"]
    return {
        "total": total,
        "first": _cost(first),
        "second": _cost(second),
        "as_promised": len(found[0] | found[1]) == min(total, 50),  # two pages
    }


def _refused(asked: Ask) -> dict[str, Any]:
    refused = measure(lambda: asked(status=400, query=HOSTILE))
    (error,) = json.loads(refused.result)["errors"]
    return {**_cost(refused), **error["extensions"], "as_promised": refused.statements == 0}


def _kept(asked: Ask) -> dict[str, Any]:
    def types() -> dict[str, int]:
        return {row["type"]: row["count"] for row in _data(asked(query=TYPES))["entityTypes"]}

    cold = measure(types, runs=0)
    warm = measure(types)
    created = _data(asked(query=CREATE, variables={"input": {"type": PROBE, "name": "written by the demo"}}))
    after = measure(types, runs=0)
    asked(query=DELETE, variables={"id": created["createEntity"]["entity"]["id"]})
    is_right = after.result == {**cold.result, PROBE: 1} and types() == cold.result == warm.result
    costs = {"cold": _cost(cold), "warm": _cost(warm), "after_mutation": _cost(after)}
    return {**costs, "new_value_seen": is_right, "as_promised": is_right}


def _persisted(asked: Ask) -> dict[str, Any]:
    digest = hashlib.sha256(NESTED.encode()).hexdigest()
    by_hash = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}}
    with_text = _data(asked(query=NESTED, **by_hash))
    return {
        "text_bytes": len(json.dumps({"query": NESTED})),
        "hash_bytes": len(json.dumps(by_hash)),
        "as_promised": _data(asked(**by_hash)) == with_text,
    }


def _data(answer: bytes) -> Any:
    return json.loads(answer)["data"]


def _cost(measured: Measured[Any]) -> dict[str, Any]:
    return {name: value for name, value in asdict(measured).items() if name != "result"}
