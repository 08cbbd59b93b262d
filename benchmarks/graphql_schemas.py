"""One tree of rows, answered by every GraphQL package and by a loop: entities, their relationships, the targets.

Each variant is a function from a document's entity count to the bytes of a response; all give the same JSON value.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.test import RequestFactory

TREE = "{ entities(limit: %d) { id name kind outgoing { id kind weight target { id name kind } } } }"
SMALL = "{ entity(id: %d) { id name kind } }"

SCHEMA = """
DROP TABLE IF EXISTS benchmarks_link, benchmarks_entity;
CREATE TABLE benchmarks_entity (
    id bigserial PRIMARY KEY, name varchar(100) NOT NULL, kind varchar(20) NOT NULL, note text NOT NULL,
    data jsonb NOT NULL, created timestamptz NOT NULL
);
CREATE TABLE benchmarks_link (
    id bigserial PRIMARY KEY, source_id bigint NOT NULL, target_id bigint NOT NULL, kind varchar(20) NOT NULL,
    weight integer NOT NULL, note text NOT NULL, created timestamptz NOT NULL
);
INSERT INTO benchmarks_entity (name, kind, note, data, created)
SELECT 'Entity ' || n, (ARRAY['person', 'company', 'place'])[n % 3 + 1], repeat('x', 200),
       jsonb_build_object('n', n, 'tags', jsonb_build_array('a', 'b')), TIMESTAMPTZ '2024-01-01' + n * INTERVAL '1 h'
FROM generate_series(1, 5000) AS n;
INSERT INTO benchmarks_link (source_id, target_id, kind, weight, note, created)
SELECT n % 1000 + 1, n * 7919 % 5000 + 1, (ARRAY['owns', 'knows'])[n % 2 + 1], n % 100, repeat('y', 100),
       TIMESTAMPTZ '2024-01-01' + n * INTERVAL '1 min'
FROM generate_series(1, 10000) AS n;
INSERT INTO benchmarks_link (source_id, target_id, kind, weight, note, created)
SELECT 2000 + n % 100, n % 5000 + 1, 'many', n % 100, repeat('y', 100), TIMESTAMPTZ '2024-01-01' + n * INTERVAL '1 min'
FROM generate_series(1, 100000) AS n;
CREATE INDEX ON benchmarks_link (source_id, created DESC, id DESC);
ANALYZE benchmarks_entity;
ANALYZE benchmarks_link;
"""


class Entity(models.Model):
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20)
    note = models.TextField()
    data = models.JSONField()
    created = models.DateTimeField()

    class Meta:
        app_label = "benchmarks"

    def __str__(self):
        return self.name


class Link(models.Model):
    source = models.ForeignKey(Entity, on_delete=models.CASCADE, related_name="outgoing")
    target = models.ForeignKey(Entity, on_delete=models.CASCADE, related_name="incoming")
    kind = models.CharField(max_length=20)
    weight = models.IntegerField()
    note = models.TextField()
    created = models.DateTimeField()

    class Meta:
        app_label = "benchmarks"

    def __str__(self):
        return self.kind


def entities(limit):
    return Entity.objects.order_by("id")[:limit]


def loop_variant():
    """What a hurried but good programmer writes: narrow queries, one dictionary a row, orjson."""
    try:
        from orjson import dumps
    except ImportError:
        dumps = _compact

    def answer(limit):
        rows = list(Entity.objects.order_by("id").only("id", "name", "kind")[:limit])
        links: dict[int, list[Link]] = {row.pk: [] for row in rows}
        for link in Link.objects.filter(source__in=links).only("id", "kind", "weight", "source_id", "target_id"):
            links[link.source_id].append(link)
        wanted = {link.target_id for found in links.values() for link in found}
        targets = Entity.objects.only("id", "name", "kind").in_bulk(wanted)
        return dumps({"data": {"entities": [_entity(row, links[row.pk], targets) for row in rows]}})

    return answer


def _entity(row, links, targets):
    return {
        "id": str(row.pk),
        "name": row.name,
        "kind": row.kind,
        "outgoing": [
            {
                "id": str(link.pk),
                "kind": link.kind,
                "weight": link.weight,
                "target": {
                    "id": str(link.target_id),
                    "name": targets[link.target_id].name,
                    "kind": targets[link.target_id].kind,
                },
            }
            for link in links
        ],
    }


def _compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def graphene_schema(resolve, each=lambda node_type: node_type):
    """Make the schema over graphene-django; resolve gives the entities of a limit, each decorates the types."""
    import graphene
    from graphene_django import DjangoObjectType
    from graphene_django.registry import Registry

    registry = Registry()

    def node(model, *names):
        meta = type("Meta", (), {"model": model, "fields": names, "registry": registry})
        return each(type(f"{model.__name__}Node", (DjangoObjectType,), {"Meta": meta}))

    entity = node(Entity, "id", "name", "kind", "outgoing")
    node(Link, "id", "kind", "weight", "target")

    class Query(graphene.ObjectType):
        entities = graphene.List(entity, limit=graphene.Int())
        entity_by_id = graphene.Field(entity, id=graphene.Int(), name="entity")

        def resolve_entities(self, info, limit):
            return resolve(info, limit)

        def resolve_entity_by_id(self, info, id):  # noqa: A002 - the argument's name
            return Entity.objects.get(pk=id)

    return graphene.Schema(query=Query)


def posting(view, text):
    """Return a function that posts a document with an argument to a view, and gives the body."""
    factory = RequestFactory()

    def answer(argument):
        body = json.dumps({"query": text % argument})
        response = view(factory.post("/graphql", body, content_type="application/json"))
        assert response.status_code == 200, response.content[:500]
        return response.content

    return answer


def prefetch_variant(text=TREE):
    """graphene-django as documented, with prefetch_related by hand."""
    from graphene_django.views import GraphQLView

    schema = graphene_schema(lambda info, limit: entities(limit).prefetch_related("outgoing__target"))
    return posting(GraphQLView.as_view(schema=schema), text)


def optimizer_variant():
    """graphene-django with graphene-django-optimizer."""
    import graphene_django_optimizer
    from graphene_django.views import GraphQLView

    schema = graphene_schema(
        lambda info, limit: graphene_django_optimizer.query(Entity.objects.order_by("id"), info)[:limit]
    )
    return posting(GraphQLView.as_view(schema=schema), TREE)


def strawberry_variant():
    """strawberry-django with its optimizer, and its caches of parsed and validated documents."""
    from benchmarks.graphql_strawberry import view

    return posting(view, TREE)


def dbopt_variant(text=TREE):
    """The same types through `optimize` and dbopt's view; resolvers return plain querysets."""
    from dbopt.graphql import GraphQLView, optimize

    schema = optimize(graphene_schema(lambda info, limit: entities(limit)))
    return posting(GraphQLView.as_view(schema=schema), text)


VARIANTS: dict[str, Any] = {
    "loop": loop_variant,
    "dbopt": dbopt_variant,
    "graphene, prefetch": prefetch_variant,
    "graphene, optimizer": optimizer_variant,
    "strawberry-django": strawberry_variant,
}
