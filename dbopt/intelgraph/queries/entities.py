"""Reads of entities, their sources and embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib.postgres.search import SearchQuery
from django.db.models import Count, QuerySet

from dbopt.intelgraph.models import Entity, EntityEmbedding, Source
from dbopt.intelgraph.models.entities import NAME_CONFIG, SURE, name_words


def newest(tenant: int, *, kind: str | None = None) -> QuerySet[Entity]:
    """Return a tenant's entities, newest first: idx_entity_tenant_created, idx_entity_tenant_type_created."""
    chosen = Entity.objects.filter(tenant=tenant)
    return (chosen if kind is None else chosen.filter(type=kind)).order_by("-created_at", "-id")


def surest(tenant: int, kind: str) -> QuerySet[Entity]:
    """Return a tenant's entities of a type with a confidence of 0.8 or more, surest first.

    The bound is that of the partial index idx_entity_tenant_type_conf; with a lower one it could not be used.
    """
    return Entity.objects.filter(tenant=tenant, type=kind, confidence__gte=SURE).order_by("-confidence", "-id")


def changed_since(tenant: int, moment: datetime) -> QuerySet[Entity]:
    """Return what changed after a moment, oldest change first: idx_entity_tenant_updated."""
    return Entity.objects.filter(tenant=tenant, updated_at__gt=moment).order_by("updated_at", "id")


def named(tenant: int, name: str) -> QuerySet[Entity]:
    """Return a tenant's entities of a name in any case: idx_entity_tenant_uname."""
    return Entity.objects.filter(tenant=tenant, name__iexact=name)


def name_contains(text: str) -> QuerySet[Entity]:
    """Return entities of all tenants whose name holds a text in any case: idx_entity_uname_trgm."""
    return Entity.objects.filter(name__icontains=text)


def with_props(props: Mapping[str, Any]) -> QuerySet[Entity]:
    """Return entities of all tenants that have all these properties: idx_entity_props.

    A key transform (``props__country="DE"``) could not use the index.
    """
    return Entity.objects.filter(props__contains=dict(props))


def matching(words: str) -> QuerySet[Entity]:
    """Return entities of all tenants whose name has all these words: idx_entity_search."""
    return Entity.objects.alias(words=name_words()).filter(words=SearchQuery(words, config=NAME_CONFIG))


def type_counts(tenant: int) -> QuerySet[Entity, tuple[str, int]]:
    """Return a tenant's number of entities of each type, by type: idx_entity_tenant_type_created alone."""
    counted = Entity.objects.filter(tenant=tenant).order_by("type").values("type").annotate(total=Count("*"))
    return counted.values_list("type", "total")


def most_connected(tenant: int) -> QuerySet[Entity]:
    """Return a tenant's entities, those with the most relationships out of them first. Counts them all."""
    return Entity.objects.filter(tenant=tenant).alias(size=Count("outgoing")).order_by("-size", "-id")


def sources_at(url: str) -> QuerySet[Source]:
    """Return the sources of an address: idx_source_url_hash."""
    return Source.objects.filter(url=url)


def sources_of(entity: int, kind: str) -> QuerySet[Source]:
    """Return an entity's sources of a type, newest first: idx_source_entity_type."""
    return Source.objects.filter(entity=entity, type=kind).order_by("-id")


def newest_sources(tenant: int, kind: str) -> QuerySet[Source]:
    """Return a tenant's sources of a type, newest first: idx_source_tenant_type_created."""
    return Source.objects.filter(tenant=tenant, type=kind).order_by("-created_at", "-id")


def stale_embeddings(model: str) -> QuerySet[EntityEmbedding]:
    """Return the embeddings of a model that must be computed again: idx_embed_stale."""
    return EntityEmbedding.objects.filter(model=model, is_stale=True).order_by("id")
