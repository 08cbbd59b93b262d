"""Entities, where they were found, and their embeddings."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, HashIndex, OpClass
from django.contrib.postgres.search import SearchVector
from django.core.validators import MaxLengthValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone

from dbopt.intelgraph.models.fields import MAX_NAME, between, new_external_id
from dbopt.intelgraph.models.tenants import Tenant

SURE = 0.8
# "simple" does not stem: names are not words of a language.
NAME_CONFIG = "simple"


def name_words() -> SearchVector:
    """The words of an entity's name: indexed as an expression, so that no row stores or fetches them."""
    return SearchVector("name", config=NAME_CONFIG)


class Entity(models.Model):
    """A person, organisation, account, place: whatever an investigation is about. The type is data."""

    # No index of its own: several below start with it.
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="entities", db_index=False)
    external_id = models.CharField(max_length=200, default=new_external_id)
    type = models.CharField(max_length=64)
    canonical_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - NULL: not resolved yet
    name = models.TextField(validators=[MaxLengthValidator(MAX_NAME)])
    confidence = models.FloatField(default=1.0)
    props = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "entities"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "external_id"], name="uq_entity_tenant_external"),
            models.UniqueConstraint(
                fields=["tenant", "type", "canonical_id"],
                condition=Q(canonical_id__isnull=False),
                name="uq_entity_tenant_type_canon",
            ),
            between("confidence", 0, 1, name="ck_entity_confidence"),
        ]
        indexes = [
            # Newest entities: WHERE tenant_id = ? ORDER BY created_at DESC, id DESC
            models.Index(F("tenant"), F("created_at").desc(), F("id").desc(), name="idx_entity_tenant_created"),
            # Newest of a type: WHERE tenant_id = ? AND type = ? ORDER BY created_at DESC, id DESC
            models.Index(
                F("tenant"), F("type"), F("created_at").desc(), F("id").desc(), name="idx_entity_tenant_type_created"
            ),
            # Surest of a type: WHERE tenant_id = ? AND type = ? AND confidence >= 0.8 ORDER BY confidence DESC, id DESC
            models.Index(
                F("tenant"),
                F("type"),
                F("confidence").desc(),
                F("id").desc(),
                name="idx_entity_tenant_type_conf",
                condition=Q(confidence__gte=SURE),
            ),
            # What changed since: WHERE tenant_id = ? AND updated_at > ? ORDER BY updated_at, id
            models.Index(fields=["tenant", "updated_at", "id"], name="idx_entity_tenant_updated"),
            # Exact name and prefix in any case: WHERE tenant_id = ? AND UPPER(name) = ? / LIKE 'ABC%'
            models.Index(F("tenant"), OpClass(Upper("name"), name="text_pattern_ops"), name="idx_entity_tenant_uname"),
            # Part of a name: WHERE UPPER(name) LIKE '%ABC%'
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="idx_entity_uname_trgm"),
            # Properties: WHERE props @> '{"country": "DE"}'
            GinIndex(fields=["props"], opclasses=["jsonb_path_ops"], name="idx_entity_props"),
            # Words of a name: WHERE to_tsvector('simple', COALESCE(name, '')) @@ plainto_tsquery('simple', ?)
            GinIndex(name_words(), name="idx_entity_search"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.external_id}"


class Source(models.Model):
    """A document or page in which an entity was found."""

    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="sources", db_index=False)
    entity = models.ForeignKey(Entity, models.CASCADE, related_name="sources", db_index=False)
    type = models.CharField(max_length=64)
    url = models.TextField()
    title = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            # An md5 keeps long addresses out of the b-tree, whose entries must fit a third of a page.
            models.UniqueConstraint("entity", models.functions.MD5("url"), name="uq_source_entity_url"),
        ]
        indexes = [
            # Everything found at an address: WHERE url = ?
            HashIndex(fields=["url"], name="idx_source_url_hash"),
            # Sources of an entity by type: WHERE entity_id = ? AND type = ? ORDER BY id DESC
            models.Index(F("entity"), F("type"), F("id").desc(), name="idx_source_entity_type"),
            # Newest of a type: WHERE tenant_id = ? AND type = ? ORDER BY created_at DESC, id DESC
            models.Index(
                F("tenant"), F("type"), F("created_at").desc(), F("id").desc(), name="idx_source_tenant_type_created"
            ),
        ]

    def __str__(self) -> str:
        return f"source {self.pk}"


class EntityEmbedding(models.Model):
    """A vector of an entity's text by one model; the index for nearest neighbours is built where pgvector is."""

    entity = models.ForeignKey(Entity, models.CASCADE, related_name="embeddings", db_index=False)
    model = models.CharField(max_length=100)
    vector = ArrayField(models.FloatField())
    is_stale = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entity", "model"], name="uq_embed_entity_model")]
        indexes = [
            # Work list of the embedding worker: WHERE is_stale AND model = ? ORDER BY id
            models.Index(fields=["model", "id"], name="idx_embed_stale", condition=Q(is_stale=True)),
        ]

    def __str__(self) -> str:
        return f"{self.model} of {self.entity_id}"
