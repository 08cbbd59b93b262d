"""Running an operation in tests."""

from __future__ import annotations

from graphql import build_schema, execute, parse

from dbopt.graphql.execution.core_versions import executed_by
from dbopt.graphql.execution.executor import DboptExecutionContext


def run(schema, text, *, root=None, context=None, resolvers=None, **options):
    """Execute without validating: some tests are about what validation would refuse."""
    if isinstance(schema, str):
        schema = build_schema(schema)
        for coordinate, resolver in (resolvers or {}).items():
            type_name, field_name = coordinate.split(".")
            schema.type_map[type_name].fields[field_name].resolve = resolver
    return execute(
        schema,
        parse(text),
        root_value=root,
        context_value={} if context is None else context,
        **executed_by(DboptExecutionContext),
        **options,
    )


def messages(result):
    return [(error.message, error.path) for error in result.errors or ()]
