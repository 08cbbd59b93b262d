"""Caches of GraphQL, on top of `dbopt.cache`: whole responses, fields, and what loaders load."""
