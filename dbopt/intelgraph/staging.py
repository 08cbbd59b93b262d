"""The SQL of loading: staging tables, checks of references, and upserts that touch changed rows only.

Every statement works on the whole file at once. ``%(tenant)s`` is the only parameter of most of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """How one file gets into the database.

    Attributes:
        name: of the temporary table.
        columns: their definitions, in the order of the file's columns.
        unfold: makes a further temporary table, of this name and by this query, out of the first.
        references: selects (line, column) of rows that name an entity which is not there.
        upsert: inserts what is new and updates what differs; returns True for each new row, False for a changed one.
        links: statements after the upsert, each returning one row for each row that it changed.
    """

    name: str
    columns: str
    upsert: str
    unfold: tuple[str, str] | None = None
    references: str = ""
    links: tuple[str, ...] = ()


ENTITIES = Stage(
    "stage_entities",
    "external_id text, type text, name text, confidence float8, props jsonb",
    upsert="""
        INSERT INTO intelgraph_entity
            (tenant_id, external_id, type, name, confidence, props, created_at, updated_at)
        SELECT %(tenant)s, s.external_id, s.type, s.name, s.confidence, s.props, now(), now()
        FROM stage_entities s
        LEFT JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = s.external_id
        WHERE e.id IS NULL
           OR (e.type, e.name, e.confidence, e.props) IS DISTINCT FROM (s.type, s.name, s.confidence, s.props)
        ORDER BY s.line
        ON CONFLICT (tenant_id, external_id) DO UPDATE SET
            type = EXCLUDED.type, name = EXCLUDED.name, confidence = EXCLUDED.confidence, props = EXCLUDED.props,
            updated_at = EXCLUDED.updated_at
        RETURNING (xmax = 0)
    """,
)

RELATIONSHIPS = Stage(
    "stage_relationships",
    "external_id text, source text, target text, type text, confidence float8, weight float8, "
    "valid_from date, valid_to date, props jsonb",
    references="""
        SELECT s.line, named.column_name
        FROM stage_relationships s
        CROSS JOIN LATERAL (VALUES (1, 'source', s.source), (2, 'target', s.target))
            AS named (position, column_name, external_id)
        LEFT JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = named.external_id
        WHERE e.id IS NULL
        ORDER BY s.line, named.position
    """,
    upsert="""
        INSERT INTO intelgraph_relationship
            (tenant_id, external_id, source_id, target_id, type, confidence, weight, valid_from, valid_to, props,
             created_at, updated_at)
        SELECT %(tenant)s, s.external_id, source.id, target.id, s.type, s.confidence, s.weight, s.valid_from,
               s.valid_to, s.props, now(), now()
        FROM stage_relationships s
        JOIN intelgraph_entity source ON source.tenant_id = %(tenant)s AND source.external_id = s.source
        JOIN intelgraph_entity target ON target.tenant_id = %(tenant)s AND target.external_id = s.target
        LEFT JOIN intelgraph_relationship r ON r.tenant_id = %(tenant)s AND r.external_id = s.external_id
        WHERE r.id IS NULL
           OR (r.source_id, r.target_id, r.type, r.confidence, r.weight, r.valid_from, r.valid_to, r.props)
              IS DISTINCT FROM
              (source.id, target.id, s.type, s.confidence, s.weight, s.valid_from, s.valid_to, s.props)
        ORDER BY s.line
        ON CONFLICT (tenant_id, external_id) DO UPDATE SET
            source_id = EXCLUDED.source_id, target_id = EXCLUDED.target_id, type = EXCLUDED.type,
            confidence = EXCLUDED.confidence, weight = EXCLUDED.weight, valid_from = EXCLUDED.valid_from,
            valid_to = EXCLUDED.valid_to, props = EXCLUDED.props, updated_at = EXCLUDED.updated_at
        RETURNING (xmax = 0)
    """,
)

INVESTIGATIONS = Stage(
    "stage_investigations",
    "external_id text, name text, status text, priority smallint, entities text[]",
    # As a table, the lists have statistics; as unnest() they are guessed, and joined in the slowest way.
    unfold=(
        "stage_members",
        """
        SELECT s.line, named.position, s.external_id AS investigation, named.external_id AS entity
        FROM stage_investigations s
        CROSS JOIN LATERAL unnest(s.entities) WITH ORDINALITY AS named (external_id, position)
        """,
    ),
    references="""
        SELECT DISTINCT s.line, 'entities'
        FROM stage_members s
        LEFT JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = s.entity
        WHERE e.id IS NULL
        ORDER BY s.line
    """,
    upsert="""
        INSERT INTO intelgraph_investigation
            (tenant_id, external_id, name, status, priority, created_at, updated_at)
        SELECT %(tenant)s, s.external_id, s.name, s.status, s.priority, now(), now()
        FROM stage_investigations s
        LEFT JOIN intelgraph_investigation i ON i.tenant_id = %(tenant)s AND i.external_id = s.external_id
        WHERE i.id IS NULL OR (i.name, i.status, i.priority) IS DISTINCT FROM (s.name, s.status, s.priority)
        ORDER BY s.line
        ON CONFLICT (tenant_id, external_id) DO UPDATE SET
            name = EXCLUDED.name, status = EXCLUDED.status, priority = EXCLUDED.priority,
            updated_at = EXCLUDED.updated_at
        RETURNING (xmax = 0)
    """,
    links=(
        # The column is the whole list: what it no longer names has left the investigation.
        """
        DELETE FROM intelgraph_investigationentity m
        USING stage_investigations s, intelgraph_investigation i, intelgraph_entity e
        WHERE i.tenant_id = %(tenant)s AND i.external_id = s.external_id
          AND m.investigation_id = i.id AND e.id = m.entity_id
          AND NOT EXISTS (
              SELECT FROM stage_members k WHERE k.investigation = s.external_id AND k.entity = e.external_id
          )
        RETURNING 1
        """,
        """
        INSERT INTO intelgraph_investigationentity (investigation_id, entity_id, added_at)
        SELECT i.id, e.id, now()
        FROM stage_members k
        JOIN intelgraph_investigation i ON i.tenant_id = %(tenant)s AND i.external_id = k.investigation
        JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = k.entity
        LEFT JOIN intelgraph_investigationentity m ON m.investigation_id = i.id AND m.entity_id = e.id
        WHERE m.id IS NULL AND k.line IN (SELECT line FROM stage_investigations)
        ORDER BY k.line, k.position
        ON CONFLICT DO NOTHING
        RETURNING 1
        """,
    ),
)

SOURCES = Stage(
    "stage_sources",
    "entity text, type text, url text, title text",
    references="""
        SELECT s.line, 'entity'
        FROM stage_sources s
        LEFT JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = s.entity
        WHERE e.id IS NULL
        ORDER BY s.line
    """,
    upsert="""
        INSERT INTO intelgraph_source (tenant_id, entity_id, type, url, title, created_at)
        SELECT %(tenant)s, e.id, s.type, s.url, s.title, now()
        FROM stage_sources s
        JOIN intelgraph_entity e ON e.tenant_id = %(tenant)s AND e.external_id = s.entity
        LEFT JOIN intelgraph_source o ON o.entity_id = e.id AND MD5(o.url) = MD5(s.url)
        WHERE o.id IS NULL OR (o.type, o.title) IS DISTINCT FROM (s.type, s.title)
        ORDER BY s.line
        ON CONFLICT (entity_id, (MD5(url))) DO UPDATE SET type = EXCLUDED.type, title = EXCLUDED.title
        RETURNING (xmax = 0)
    """,
)

# By file, in the order of loading: what others name comes first.
STAGES = {
    "entities.csv": ENTITIES,
    "relationships.csv": RELATIONSHIPS,
    "investigations.csv": INVESTIGATIONS,
    "sources.csv": SOURCES,
}
