"""Fast, correct and visible databases for Django and GraphQL: PostgreSQL, Redis, Neo4j."""

__version__ = "0.1.0.dev0"
