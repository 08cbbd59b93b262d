"""The system check: which index serves which order."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.postgres.indexes import GinIndex, HashIndex
from django.core.checks import registry
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from dbopt.pagination import declarations, declare_order
from dbopt.pagination.checks import check_declared_orders
from tests.testapp.models import Book, Cafe, Stock


@pytest.fixture(autouse=True)
def own_declarations(monkeypatch):
    monkeypatch.setattr(declarations, "_declared", {})


def event(**options):
    """Make a model with the given options."""
    meta = type("Meta", (), {"app_label": "testapp", **options})
    fields = {
        "tenant": models.ForeignKey("self", models.CASCADE),
        "kind": models.CharField(max_length=9),
        "rank": models.IntegerField(db_index=True),
        "score": models.FloatField(null=True),
        "slug": models.SlugField(unique=True),
    }
    with isolate_apps("tests.testapp"):
        return type("Event", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


def index(*names, **options):
    return models.Index(*names, name="one", **options)


def ids(model, *order_by, equality=()):
    declare_order(model, order_by, equality=equality)
    return [message.id for message in check_declared_orders(None)]


def fields(*names, **options):
    return models.Index(fields=names, name="one", **options)


SERVED = [
    ([], ["pk"], []),
    ([], ["-pk"], []),
    ([], ["slug"], []),
    ([], ["-slug", "rank"], []),
    ([fields("rank", "id")], ["rank"], []),
    ([fields("rank", "id")], ["-rank"], []),
    ([fields("-rank", "-id")], ["rank"], []),
    ([fields("rank", "-score", "-id")], ["rank", "-score"], []),
    ([fields("rank", "-score", "-id")], ["-rank", "score"], []),
    ([fields("tenant", "rank", "id")], ["rank"], ["tenant"]),
    ([fields("tenant", "-rank", "-id")], ["rank"], ["tenant_id"]),
    ([fields("kind", "tenant", "rank", "id")], ["rank"], ["tenant", "kind"]),
    ([fields("tenant", "rank", "id")], ["tenant", "rank"], ["tenant"]),
    ([fields("tenant", "rank", "id", "score")], ["rank"], ["tenant"]),
    ([index("rank", F("score").asc(nulls_first=True), "id")], ["rank", F("score").asc(nulls_first=True)], []),
    ([index("rank", F("score").asc(nulls_first=True), "id")], ["-rank", F("score").desc(nulls_last=True)], []),
    ([index(F("score").desc(nulls_last=True), "id")], [F("score").desc(nulls_last=True), "id"], []),
    ([index("rank", "id", Lower("kind"))], ["rank"], []),
    ([fields("rank", "id", include=["score"])], ["rank"], []),
]
UNSERVED = [
    ([], ["pk"], ["rank"]),
    ([], ["kind"], []),
    ([fields("rank")], ["rank"], []),
    ([fields("rank", "id")], ["rank", "-id"], []),
    ([fields("rank", "score", "id")], ["rank", "-score"], []),
    ([fields("score", "rank", "id")], ["rank", "score"], []),
    ([fields("rank", "id")], ["rank"], ["tenant"]),
    ([fields("tenant", "rank", "id")], ["rank"], []),
    ([fields("tenant", "kind", "rank", "id")], ["rank"], ["tenant"]),
    ([index("score", "id")], [F("score").asc(nulls_first=True)], []),
    ([index("rank", Lower("kind"), "id")], ["rank"], []),
    ([fields("rank", "id", condition=Q(rank=1))], ["rank"], []),
    ([models.Index(fields=["kind", "id"], name="one", opclasses=["text_pattern_ops", "int8_ops"])], ["kind"], []),
    ([GinIndex(fields=["rank", "id"], name="one")], ["rank"], []),
    ([HashIndex(fields=["kind"], name="one")], ["kind"], []),
]


@pytest.mark.parametrize(("indexes", "order_by", "equality"), SERVED)
def test_order_with_an_index_is_silent(indexes, order_by, equality):
    assert ids(event(indexes=indexes), *order_by, equality=equality) == []


@pytest.mark.parametrize(("indexes", "order_by", "equality"), UNSERVED)
def test_order_without_its_index_is_told(indexes, order_by, equality):
    assert ids(event(indexes=indexes), *order_by, equality=equality) == ["dbopt.W401"]


@pytest.mark.parametrize(
    "options",
    [
        {"constraints": [models.UniqueConstraint(fields=["tenant", "rank", "id"], name="one")]},
        {"constraints": [models.UniqueConstraint("tenant", "rank", "id", name="one")]},
        {"unique_together": [("tenant", "rank", "id")]},
    ],
)
def test_constraint_has_an_index_too(options):
    assert ids(event(**options), "rank", equality=["tenant"]) == []


@pytest.mark.parametrize(
    "constraint",
    [
        models.UniqueConstraint(fields=["rank", "id"], name="one", condition=Q(rank=1)),
        models.CheckConstraint(condition=Q(rank__gt=0), name="one"),
    ],
)
def test_constraint_over_some_rows_or_none_does_not_count(constraint):
    assert ids(event(constraints=[constraint]), "rank") == ["dbopt.W401"]


def test_message_says_what_to_add():
    declare_order(event(), ("rank", "-score"), equality=["tenant"])

    (message,) = check_declared_orders(None)

    assert message.msg == (
        "No index serves the order in which testapp.Event is paged (rank, -score, -id), filtered by tenant."
    )
    assert message.hint == (
        'Add models.Index(fields=["tenant", "rank", "-score", "-id"], name="event_tenant_rank_score_id") '
        "to its Meta.indexes, or every page sorts all rows that its filters leave."
    )


def test_hint_places_nulls_and_is_itself_enough():
    order_by = ("-rank", F("score").desc(nulls_last=True), "kind")
    declare_order(event(), order_by)

    (message,) = check_declared_orders(None)

    suggested = 'models.Index(F("rank").desc(), F("score").desc(nulls_last=True), "kind", "id", name="event_rank_score_kind_id")'
    assert message.hint.startswith(f"Add {suggested} to its Meta.indexes")
    declarations._declared.clear()
    assert ids(event(indexes=[eval(suggested, {"models": models, "F": F})]), *order_by) == []


def test_keys_of_another_table_have_no_index():
    declare_order(Book, ("author__name", "-pages"))
    declare_order(Cafe, "name")

    found = [(message.id, message.msg) for message in check_declared_orders(None)]

    told = "No index can serve the order in which testapp.{} is paged ({}): {} is no column of its table."
    assert found == [
        ("dbopt.W402", told.format("Book", "author__name, -pages, -id", "'author__name'")),
        ("dbopt.W402", told.format("Cafe", "name, place_ptr", "'name'")),
    ]


def test_key_of_two_columns_has_one_index():
    assert ids(Stock, "pk") == []
    assert ids(Stock, "title") == ["dbopt.W401"]


def test_order_of_the_model_and_of_its_proxy_is_checked():
    model = event(ordering=["kind"])
    meta = type("Meta", (), {"app_label": "testapp", "proxy": True})
    with isolate_apps("tests.testapp"):
        proxy = type("Proxy", (model,), {"__module__": __name__, "Meta": meta})
    declare_order(model)
    declare_order(proxy, "rank")

    assert [message.obj for message in check_declared_orders(None)] == [model, proxy]


def test_same_declaration_is_told_once():
    model = event()

    for order_by in ("kind", ("kind",), ["kind"]):
        declare_order(model, order_by)

    assert len(check_declared_orders(None)) == 1


def test_what_the_check_cannot_know_is_left_to_the_page():
    assert ids(event(), "annotated_by_the_list") == []
    assert ids(event(managed=False), "kind") == []


def test_check_is_registered_and_looks_at_the_given_apps():
    declare_order(Book, "title")

    assert check_declared_orders in registry.registry.get_checks()
    assert len(check_declared_orders([apps.get_app_config("testapp")])) == 1
    assert check_declared_orders([apps.get_app_config("auth")]) == []
