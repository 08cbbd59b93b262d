"""Nearest neighbours of embeddings, where pgvector is available."""

from django.db import migrations

from dbopt.intelgraph.vector_index import CreateVectorIndex


class Migration(migrations.Migration):

    dependencies = [
        ('intelgraph', '0001_initial'),
    ]

    operations = [
        CreateVectorIndex(
            table='intelgraph_entityembedding',
            column='vector',
            dimensions=384,
            name='idx_embed_hnsw',
        ),
    ]
