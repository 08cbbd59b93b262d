"""Neo4j: connections that survive forks and outages, declared indexes and constraints, projections of models.

Nothing is imported, configured or connected before a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbopt.exports import lazy_exports

if TYPE_CHECKING:
    from dbopt.neo4j.connections import graph as graph
    from dbopt.neo4j.connections import graphs as graphs
    from dbopt.neo4j.projections.declare import NodeProjection as NodeProjection
    from dbopt.neo4j.projections.declare import RelationshipProjection as RelationshipProjection
    from dbopt.neo4j.schema.declare import Exists as Exists
    from dbopt.neo4j.schema.declare import FullText as FullText
    from dbopt.neo4j.schema.declare import GraphSchema as GraphSchema
    from dbopt.neo4j.schema.declare import Key as Key
    from dbopt.neo4j.schema.declare import Node as Node
    from dbopt.neo4j.schema.declare import Point as Point
    from dbopt.neo4j.schema.declare import Range as Range
    from dbopt.neo4j.schema.declare import Relationship as Relationship
    from dbopt.neo4j.schema.declare import Text as Text
    from dbopt.neo4j.schema.declare import Typed as Typed
    from dbopt.neo4j.schema.declare import Unique as Unique
    from dbopt.neo4j.schema.declare import Vector as Vector

_DECLARE = "schema.declare"

__getattr__ = lazy_exports(
    __name__,
    {
        "Exists": _DECLARE,
        "FullText": _DECLARE,
        "GraphSchema": _DECLARE,
        "Key": _DECLARE,
        "Node": _DECLARE,
        "NodeProjection": "projections.declare",
        "Point": _DECLARE,
        "Range": _DECLARE,
        "Relationship": _DECLARE,
        "RelationshipProjection": "projections.declare",
        "Text": _DECLARE,
        "Typed": _DECLARE,
        "Unique": _DECLARE,
        "Vector": _DECLARE,
        "graph": "connections",
        "graphs": "connections",
    },
    extra="neo4j",
)

__all__ = [
    "Exists",
    "FullText",
    "GraphSchema",
    "Key",
    "Node",
    "NodeProjection",
    "Point",
    "Range",
    "Relationship",
    "RelationshipProjection",
    "Text",
    "Typed",
    "Unique",
    "Vector",
    "graph",
    "graphs",
]
