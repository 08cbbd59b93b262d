"""Connections: pages by cursor or by offset, of one list or of many at once, over PostgreSQL and Neo4j."""
